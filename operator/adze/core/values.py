"""What expressions see of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adze.core.model import Attempt, Run, StepStatus


@dataclass(frozen=True, slots=True)
class Values:
    """Looks up the variables that expressions are compiled against; asked only for those that they read."""

    run: Run
    input: Mapping[str, Any]
    steps: Mapping[str, StepStatus]

    def __contains__(self, name: str, /) -> bool:
        try:
            self[name]
        except KeyError:
            return False
        return True

    def __getitem__(self, name: str, /) -> Any:
        root, _, rest = name.partition(".")
        if root == "input":
            return self.input[rest] if rest else self.input
        if root == "run":
            return run_values(self.run)[rest]
        step, _, member = rest.partition(".")
        status = self.steps[step.replace("_", "-")]
        return {"output": status.output or {}, "phase": status.phase.value, "error": error(status)}[member]


def run_values(run: Run) -> dict[str, str]:
    """The root `run`."""
    return {
        "name": run.metadata.name,
        "namespace": run.metadata.namespace,
        "uid": run.metadata.uid,
        "workflow": run.spec.workflow or "",
    }


def error(status: StepStatus) -> str:
    """Why a step failed, as one text; empty when it didn't."""
    if status.phase.value != "Failed":
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
