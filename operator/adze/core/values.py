"""What expressions see of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from adze.core import names, origin, verdict
from adze.core.model import Attempt, Phase, Run, StepStatus


@dataclass(frozen=True, slots=True)
class Values:
    """Looks up the variables that expressions are compiled against; asked only for those that they read."""

    run: Run
    input: Mapping[str, Any]
    steps: Mapping[str, StepStatus]

    def __getitem__(self, name: str, /) -> Any:
        root, _, rest = name.partition(".")
        if root == "input":
            return self.input[rest] if rest else self.input
        if root == "run":
            about = self.outcome() if rest in ("phase", "error") else self.identity()
            return about[rest]
        step, _, member = rest.partition(".")
        name = step.replace("_", "-")
        # Only an onFailure step that was not needed has no status.
        status = self.steps.get(name) or StepStatus(name=name, phase=Phase.SKIPPED)
        return {"output": status.output or {}, "phase": status.phase.value, "error": error(status)}[member]

    def identity(self) -> dict[str, str]:
        """The root `run`: who it is, what has started it, and the moment that it stands for."""
        trigger = self.run.status.trigger or origin.of(self.run)
        moment = trigger.time or self.run.metadata.creation_timestamp
        return {
            "name": self.run.metadata.name,
            "namespace": self.run.metadata.namespace,
            "uid": self.run.metadata.uid,
            "workflow": self.run.spec.workflow or "",
            "trigger": trigger.kind.value,
            "scheduledTime": names.moment(moment.astimezone(UTC)) if moment else "",
        }

    def outcome(self) -> dict[str, str]:
        """The root `run` for onFailure and finally steps: how it would end now."""
        phase, reason, message = verdict.of_steps(self.steps.values())
        return {"phase": phase.value, "error": (message or reason or "") if phase is Phase.FAILED else ""}


def error(status: StepStatus) -> str:
    """Why a step failed, as one text; empty when it didn't."""
    if status.phase is not Phase.FAILED:
        return ""
    return f"{status.reason}: {status.message}" if status.message else status.reason or ""


def attempt_values(attempt: Attempt) -> dict[str, Any]:
    """The root `attempt`. An attempt without an exit code has -1."""
    return {
        "attempt.number": attempt.number,
        "attempt.exitCode": -1 if attempt.exit_code is None else attempt.exit_code,
        "attempt.reason": attempt.reason or "",
        "attempt.message": attempt.message or "",
    }
