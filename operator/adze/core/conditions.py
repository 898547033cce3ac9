"""Conditions as kstatus and `kubectl wait` read them (sigs.k8s.io/cli-utils, pkg/kstatus)."""

from datetime import datetime

from adze.core.model import Condition, Phase


def set_conditions(
    before: tuple[Condition, ...], wanted: dict[str, tuple[str, str, str]], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The wanted conditions (type to status, reason, message); the transition time moves only when status flips."""
    old = {condition.type: condition for condition in before}
    return tuple(
        Condition(
            type=kind,
            status=status,
            reason=reason,
            message=message,
            observed_generation=generation,
            last_transition_time=old[kind].last_transition_time if kind in old and old[kind].status == status else now,
        )
        for kind, (status, reason, message) in wanted.items()
    )


def of_run(phase: Phase, reason: str | None, message: str | None) -> dict[str, tuple[str, str, str]]:
    """Succeeded is the truth; Reconciling while work goes on; Stalled once it has failed for good."""
    why = (reason or phase.value, message or "")
    if not phase.final:
        return {"Succeeded": ("Unknown", *why), "Reconciling": ("True", *why)}
    if phase is Phase.SUCCEEDED:
        return {"Succeeded": ("True", *why)}
    return {"Succeeded": ("False", *why), "Stalled": ("True", *why)}


def of_workflow(problem: str | None, *, suspended: bool = False) -> dict[str, tuple[str, str, str]]:
    """Ready once it's known that runs can be made of it."""
    if problem is None and suspended:
        return {"Ready": ("True", "Suspended", "spec.suspend is true: nothing new starts")}
    if problem is None:
        return {"Ready": ("True", "Accepted", "")}
    return {"Ready": ("False", "Invalid", problem), "Stalled": ("True", "Invalid", problem)}
