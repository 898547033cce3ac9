"""Attempts that no object carries out: they end by time, by what somebody has decided, or by an event."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from adze.core import events, kinds
from adze.core.carrier import Outcome
from adze.core.draft import Awaited, Draft
from adze.core.expressions import ExpressionError, Lookup
from adze.core.kinds.wait_for import since
from adze.core.model import Attempt, Event, Phase
from adze.core.revision import Node


@dataclass(frozen=True, slots=True)
class _WithEvent:
    """What a filter sees: an event, and whatever the step sees."""

    event: Mapping[str, Any]
    values: Lookup

    def __getitem__(self, name: str, /) -> Any:
        return self.event[name] if name in self.event else self.values[name]


def look(draft: Draft, node: Node, attempt: Attempt) -> Outcome | None:
    """The end of the wait, or None while it goes on; then the status says why."""
    kind = kinds.of(node.step)
    assert isinstance(kind, kinds.Waits)
    start = attempt.start_time or draft.now
    values = draft.values(node)
    awaited = None
    if node.step.wait_for:
        awaited = Awaited(node.step.wait_for.event, since(node.step, draft.start_time, start))

    def holds(event: Event) -> bool:
        return node.filter is None or node.filter(_WithEvent(events.values_of(event), values)) is True

    try:
        texts = node.texts.render(values)
        come = [event for event in draft.observed.events if awaited and awaited.means(event)]
        view = kinds.View(node.step, texts, draft.run, start, draft.now, come, holds)
        seen = kind.look(view)
    except ExpressionError as error:
        seen = kinds.Done("ExpressionError", str(error))
    if isinstance(seen, kinds.Done):
        return Outcome(seen.reason, seen.message, start=start, finish=draft.now, output=seen.output)
    if awaited:
        draft.awaits.append(awaited)
    status = draft.status(node)
    draft.put(msgspec.structs.replace(status, phase=Phase.RUNNING, reason=seen.reason, message=seen.message))
    if seen.until:
        draft.wake_at(seen.until)
    if node.timeout:
        draft.wake_at(start + node.timeout)
    return None
