"""Attempts that no object carries out: they end by time, or by what somebody has decided."""

import msgspec

from adze.core import kinds
from adze.core.carrier import Outcome
from adze.core.draft import Draft
from adze.core.expressions import ExpressionError
from adze.core.model import Attempt, Phase
from adze.core.revision import Node


def look(draft: Draft, node: Node, attempt: Attempt) -> Outcome | None:
    """The end of the wait, or None while it goes on; then the status says why."""
    kind = kinds.of(node.step)
    assert isinstance(kind, kinds.Waits)
    start = attempt.start_time or draft.now
    try:
        seen = kind.look(node.step, node.texts.render(draft.values(node)), draft.run, start, draft.now)
    except ExpressionError as error:
        seen = kinds.Done("ExpressionError", str(error))
    if isinstance(seen, kinds.Done):
        return Outcome(seen.reason, seen.message, start=start, finish=draft.now, output=seen.output)
    status = draft.status(node)
    draft.put(msgspec.structs.replace(status, phase=Phase.RUNNING, reason=seen.reason, message=seen.message))
    if seen.until:
        draft.wake_at(seen.until)
    if node.timeout:
        draft.wake_at(start + node.timeout)
    return None
