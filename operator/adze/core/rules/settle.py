"""Record the attempts that have ended, from their Pods or from the lack of one."""

import msgspec

from adze.core import room
from adze.core.carrier import Outcome
from adze.core.draft import Draft
from adze.core.model import Attempt, Phase
from adze.core.revision import Node
from adze.core.rules import closing, handover, retry, waits
from adze.core.schema import Mismatch, unfit
from adze.core.verdict import FULL


def settle(draft: Draft) -> None:
    """Every open attempt with an outcome is closed: the outcome is in the status before its Pod is let go."""
    for node, status in draft.open():
        attempt = status.attempts[-1]
        pod = draft.pod(attempt)
        if not attempt.carrier:
            settle_wait(draft, node, attempt)
        elif pod is None:
            _settle_missing(draft, node, attempt)
        elif outcome := pod.outcome():
            _settle_outcome(draft, node, attempt, pod.node, outcome)


def settle_wait(draft: Draft, node: Node, attempt: Attempt) -> None:
    """Close a wait that has ended."""
    if outcome := waits.look(draft, node, attempt):
        _settle_outcome(draft, node, attempt, None, outcome)


def _settle_outcome(draft: Draft, node: Node, attempt: Attempt, place: str | None, outcome: Outcome) -> None:
    outcome, page = handover.handed_over(draft, node, attempt, outcome)
    output = outcome.output
    reason, message = closing.noted(draft, node, outcome)
    # A NUL in the last words of a container would cut them in retryWhen and wherever else they are read.
    message = message and message.replace("\0", "\ufffd")
    if reason is None and (problem := unfit(output)):
        reason, message = "OutputInvalid", f"the output {problem}"
    if reason is None and node.output:
        try:
            output = node.output.check(output or {}, "output")
        except Mismatch as mismatch:
            reason, message = "OutputInvalid", str(mismatch)
    kept = handover.keep(draft, node, output, page) if reason is None else {}
    if isinstance(kept, str):
        reason, message = (FULL, room.MESSAGE) if draft.full else ("OutputTooLarge", kept)
    ended = msgspec.structs.replace(
        attempt,
        node=place,
        start_time=outcome.start or attempt.start_time,
        finish_time=outcome.finish or draft.now,
        exit_code=outcome.exit_code,
        reason=reason,
        message=message,
        infrastructure=outcome.infrastructure,
    )
    if reason is not None or isinstance(kept, str):
        retry.close(draft, node, ended)
        return
    status = draft.status(node)
    draft.put(
        msgspec.structs.replace(
            status,
            phase=Phase.SUCCEEDED,
            reason=None,
            message=message,
            attempts=(*status.attempts[:-1], ended),
            **kept,
        )
    )


def _settle_missing(draft: Draft, node: Node, attempt: Attempt) -> None:
    """No object: not created yet, refused by the API server, or taken away by force."""
    refusal = draft.observed.refusals.get(attempt.carrier)
    refused = refusal is not None and refusal.lasting
    if not (refused or attempt.carrier in draft.observed.vanished or attempt.start_time):
        return
    if not draft.observed.fresh:
        # Another process may have created it, or see it still.
        draft.needs_pods = True
    elif refusal is not None and refused:
        _close(draft, node, attempt, refusal.reason, refusal.message)
    else:
        _close(
            draft, node, attempt, "PodLost", f"{attempt.carrier} was removed by force before its outcome was recorded"
        )


def _close(draft: Draft, node: Node, attempt: Attempt, reason: str, message: str) -> None:
    retry.close(draft, node, msgspec.structs.replace(attempt, finish_time=draft.now, reason=reason, message=message))
