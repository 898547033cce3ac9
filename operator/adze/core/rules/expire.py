"""Limits: cancel, the run's deadline, an attempt's timeout and start timeout.

An attempt that a limit ends is withdrawn: it's closed in the status first, then its Pod is deleted, and only when a
fresh LIST shows that Pod ended does anything follow (`Draft.over`). A Pod whose claim is withdrawn never starts.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from adze.core import duration, room
from adze.core.draft import Draft, Part
from adze.core.model import Attempt, Phase, StepStatus
from adze.core.revision import FOREVER, Node, Stage
from adze.core.rules import retry
from adze.core.verdict import DEADLINE, EARLY, FULL

AT_ONCE = frozenset({"InvalidImageName"})
"""Waiting reasons that no patience cures."""


def expire(draft: Draft) -> None:
    """End what has run out of time or was cancelled."""
    deadline = (draft.start_time or draft.now) + draft.revision.timeout
    if draft.full:
        _make_room(draft)
    elif draft.ending:
        _end_steps(draft, *draft.ending)
    elif draft.now >= deadline:
        _end_steps(draft, DEADLINE, f"the run's timeout of {draft.revision.spec.timeout} has passed")
    elif not draft.ended(Stage.GRAPH):
        draft.wake_at(deadline)
    for node, status in draft.open():
        _expire_attempt(draft, node, status.attempts[-1])


def _make_room(draft: Draft) -> None:
    """A run that is too large ends as by its deadline; if that doesn't help, handlers end too, or never start."""
    again = draft.observed.refused > 1
    if again:
        for node in draft.revision.nodes.values():
            if node.name not in draft.steps:
                draft.put(StepStatus(name=node.name))
    last = again or (draft.observed.refused and draft.ended(Stage.GRAPH))
    _end_steps(draft, FULL, room.MESSAGE, tuple(Stage) if last else (Stage.GRAPH,))


def _end_steps(draft: Draft, reason: str, message: str, stages: Sequence[Stage] = ()) -> None:
    """Everything but `finally` ends; the deadline is a failure, so onFailure still follows it."""
    for stage in stages or ((Stage.GRAPH, Stage.ON_FAILURE) if reason in EARLY else (Stage.GRAPH,)):
        for node in draft.nodes(stage):
            status = draft.steps[node.name]
            if node.name in draft.fans:
                # The step itself ends once nothing of its items can run any more.
                draft.fans[node.name].ending = reason, message
                for entry in list(draft.fans[node.name].entries.values()):
                    if not entry.phase.final:
                        draft.put(cancelled(entry, reason, message, draft.now))
            elif not status.phase.final:
                draft.put(cancelled(status, reason, message, draft.now))


def cancelled(status: Part, reason: str, message: str, now: datetime) -> Part:
    """The step or item ended early, its open attempt withdrawn."""
    attempts = status.attempts
    if attempt := status.open_attempt:
        attempts = (*attempts[:-1], msgspec.structs.replace(attempt, finish_time=now, reason=reason, message=message))
    return msgspec.structs.replace(
        status, phase=Phase.CANCELLED, reason=reason, message=message, retry_at=None, attempts=attempts
    )


def _expire_attempt(draft: Draft, node: Node, attempt: Attempt) -> None:
    if not attempt.carrier:
        if node.timeout:
            since = attempt.start_time or draft.now
            _limit(draft, node, attempt, since, node.timeout, "Timeout", "the step waited longer than")
        return
    pod = draft.pod(attempt)
    if pod is None:
        _expire_refused(draft, node, attempt)
        return
    if pod.metadata.creation_timestamp is None:
        return
    started = pod.started
    if started:
        if node.timeout:
            _limit(draft, node, attempt, started, node.timeout, "Timeout", "the attempt ran longer than")
        return
    if node.start_timeout >= FOREVER:
        return
    wait = pod.waiting()
    if wait and wait[0] in AT_ONCE:
        _withdraw(draft, node, attempt, *wait)
        return
    why = f" ({wait[0]}: {wait[1]})" if wait else ""
    _limit(
        draft,
        node,
        attempt,
        pod.metadata.creation_timestamp,
        node.start_timeout,
        "StartTimeout",
        f"the container{why} did not start within",
    )


def _expire_refused(draft: Draft, node: Node, attempt: Attempt) -> None:
    """A step of the graph waits for a quota until the run's deadline; what comes after that deadline can't."""
    refusal = draft.observed.refusals.get(attempt.carrier)
    if refusal and node.stage is not Stage.GRAPH:
        why = f"{refusal.reason}: {refusal.message}; the Pod could not be created within"
        _limit(draft, node, attempt, refusal.since, node.start_timeout, "StartTimeout", why)


def _limit(
    draft: Draft, node: Node, attempt: Attempt, since: datetime, limit: timedelta, reason: str, message: str
) -> None:
    if draft.now >= since + limit:
        _withdraw(draft, node, attempt, reason, f"{message} {duration.show(limit)}")
    else:
        draft.wake_at(since + limit)


def _withdraw(draft: Draft, node: Node, attempt: Attempt, reason: str, message: str) -> None:
    retry.close(draft, node, msgspec.structs.replace(attempt, finish_time=draft.now, reason=reason, message=message))
