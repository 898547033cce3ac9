"""Whether a step's parents let it start: `runIf`, and what becomes of a step that they never will."""

from collections.abc import Mapping
from dataclasses import dataclass

from adze.core.model import Phase, RunIf

UNHAPPY = (Phase.FAILED, Phase.CANCELLED)


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a step that never starts."""

    phase: Phase
    reason: str
    message: str


def reach(run_if: RunIf, parents: Mapping[str, Phase]) -> bool | Ending:
    """True if the step may start, False if it has to wait, an Ending if it never starts.

    | runIf        | starts once              | else, once its parents have ended                              |
    |--------------|--------------------------|----------------------------------------------------------------|
    | Succeeded    | none failed, one ran     | Cancelled; Skipped if all were skipped                         |
    | AnySucceeded | one succeeded            | Cancelled if one failed or was cancelled; Skipped if none did  |
    | Failed       | one failed or was cancelled | Skipped                                                     |
    | Always       | all have ended           | –                                                              |
    """
    unhappy = next((name for name, phase in parents.items() if phase in UNHAPPY), None)
    ended = all(phase.final for phase in parents.values())
    if run_if is RunIf.SUCCEEDED and unhappy:
        return _after(unhappy, parents)
    if not ended:
        return False
    if run_if is RunIf.ALWAYS or not parents:
        return True
    if run_if is RunIf.FAILED:
        return True if unhappy else Ending(Phase.SKIPPED, "NoParentFailed", "runIf is Failed, and no parent failed")
    if any(phase is Phase.SUCCEEDED for phase in parents.values()):
        return True
    if unhappy:
        return _after(unhappy, parents)
    return Ending(Phase.SKIPPED, "ParentsSkipped", "all its parents were skipped")


def _after(unhappy: str, parents: Mapping[str, Phase]) -> Ending:
    return Ending(Phase.CANCELLED, "ParentFailed", f"{unhappy} ended {parents[unhappy].value}")
