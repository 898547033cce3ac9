"""How a run ends, or would end now, by how its steps did: Failed > Cancelled > Succeeded."""

from collections.abc import Iterable

from adze.core.model import Phase, StepStatus

CANCELLED = "Cancelled"
SUPERSEDED = "Superseded"
EARLY = frozenset({CANCELLED, SUPERSEDED})
"""Reasons of steps that ended because their run was to end early."""
DEADLINE = "DeadlineExceeded"
FULL = "RunTooLarge"
"""Reason of a run, and of its steps, that ended because its status can't be written any more."""


def failed(status: StepStatus) -> bool:
    """Whether a step makes its run fail: it failed, or the run's deadline or size ended it."""
    return status.phase is Phase.FAILED or (status.phase is Phase.CANCELLED and status.reason in (DEADLINE, FULL))


def of_steps(statuses: Iterable[StepStatus]) -> tuple[Phase, str | None, str | None]:
    """Phase, reason and message; the first step that went wrong gives the words."""
    statuses = list(statuses)
    if full := next((status for status in statuses if status.reason == FULL), None):
        return Phase.FAILED, FULL, full.message
    first = next((status for status in statuses if failed(status)), None)
    if first:
        if first.reason == DEADLINE:
            return Phase.FAILED, DEADLINE, first.message
        return Phase.FAILED, "StepFailed", f"{first.name}: {first.reason}: {first.message or ''}"
    early = next((status for status in statuses if status.phase is Phase.CANCELLED and status.reason in EARLY), None)
    if early:
        return Phase.CANCELLED, early.reason, early.message
    return Phase.SUCCEEDED, None, None
