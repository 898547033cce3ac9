"""What follows a failed attempt: another one after a backoff, or the step's failure."""

import msgspec

from adze.core import duration, names
from adze.core.backoff import delay
from adze.core.draft import Draft
from adze.core.expressions import ExpressionError
from adze.core.model import Attempt, Backoff, ItemStatus, Phase
from adze.core.revision import Node
from adze.core.values import attempt_values

INFRASTRUCTURE_BUDGET = 10
"""Attempts of a step that may be lost to eviction, preemption or nodes before it fails."""
INFRASTRUCTURE_BACKOFF = Backoff(base="1s", max="1m")
LASTING = frozenset({"PodRejected", "JobRejected", "RunRejected", "Forbidden", "NameCollision", "InvalidImageName"})
"""Failures that another attempt would repeat."""


def close(draft: Draft, node: Node, ended: Attempt) -> None:
    """Record the failed attempt `ended` in place of the open one, and decide what comes next."""
    status = draft.status(node)
    if node.step.large_output and ended.carrier:
        draft.spent.append(names.output(ended.carrier))
    attempts = (*status.attempts[:-1], ended)
    lost = status.lost + ended.infrastructure
    failures = ended.number - lost
    status = msgspec.structs.replace(status, attempts=attempts, lost=lost, phase=Phase.PENDING)
    allowed = (node.step.retries or 0) + 1
    refused = _final_reason(node, ended)
    again = lost <= INFRASTRUCTURE_BUDGET if ended.infrastructure else failures < allowed
    if refused is None and again:
        backoff = INFRASTRUCTURE_BACKOFF if ended.infrastructure else node.backoff
        _retry(draft, status, ended, backoff, lost if ended.infrastructure else failures, allowed)
    else:
        fail(draft, status, ended.reason or "Failed", refused or ended.message or "")


def _final_reason(node: Node, ended: Attempt) -> str | None:
    """Why no further attempt can help, or None."""
    if ended.reason in LASTING:
        return ended.message or ended.reason
    if node.retry_when is None or ended.infrastructure:
        return None
    try:
        again = node.retry_when(attempt_values(ended))
    except ExpressionError as error:
        return f"retryWhen: {error}"
    if again is True:
        return None
    return ended.message or ""


def _retry(draft: Draft, status: ItemStatus, ended: Attempt, backoff: Backoff, count: int, allowed: int) -> None:
    wait = delay(backoff, count, ended.carrier)
    finish = ended.finish_time or draft.now
    what = f"attempt {ended.number} was lost" if ended.infrastructure else f"attempt {ended.number} of {allowed} failed"
    message = f"{what}: {ended.reason}: {ended.message}"
    draft.put(
        msgspec.structs.replace(status, reason="Backoff", message=message, retry_at=max(finish, draft.now) + wait)
    )
    draft.tell(status, "StepRetrying", f"{message}; next attempt in {duration.show(wait)}")


def fail(draft: Draft, status: ItemStatus, reason: str, message: str) -> None:
    """The step, or the item, has failed for good."""
    draft.put(
        msgspec.structs.replace(status, phase=Phase.FAILED, reason=reason, message=message or None, retry_at=None)
    )
    draft.tell(status, "StepFailed", f"{reason}: {message}")
