"""What expressions see of a run."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from adze.core import intervals, names, origin, verdict
from adze.core.expressions import ExpressionError
from adze.core.model import Attempt, ItemsStatus, ItemStatus, OutputPage, Phase, Run, StepStatus


class PagesNeeded(Exception):
    """An expression reads outputs that are in pages which must be read first."""

    def __init__(self, digests: Mapping[str, str | None]) -> None:
        super().__init__(f"pages of outputs are needed: {', '.join(digests)}")
        self.digests = digests
        """By the pages' names; None for those of items' outputs, whose names follow from the content."""


@dataclass(frozen=True, slots=True)
class Values:
    """Looks up the variables that expressions are compiled against; asked only for those that they read.

    `lists` names the forEach steps, `pages` holds outputs of theirs, and large ones. `item` is index and value, for
    what belongs to one item of such a step.
    """

    run: Run
    input: Mapping[str, Any]
    steps: Mapping[str, StepStatus]
    lists: Collection[str] = ()
    pages: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    item: tuple[int, Any] | None = None

    def __getitem__(self, name: str, /) -> Any:
        root, _, rest = name.partition(".")
        if root == "input":
            return self.input[rest] if rest else self.input
        if root in ("item", "index") and self.item:
            return self.item[root == "item"]
        if root == "run":
            about = self.outcome() if rest in ("phase", "error") else self.identity()
            return about[rest]
        step, _, member = rest.partition(".")
        name = step.replace("_", "-")
        if member == "output":
            return self.output(name)
        # Only an onFailure step that was not needed has no status.
        status = self.steps.get(name) or StepStatus(name=name, phase=Phase.SKIPPED)
        return {"phase": status.phase.value, "error": error(status)}[member]

    def output(self, step: str) -> Any:
        """What a step handed over: an object, or the list of its items' in their order."""
        status = self.steps.get(step)
        if step in self.lists:
            return gathered(status.items, self.pages) if status and status.items else []
        if status and status.output_page:
            return paged(status.output_page, self.pages)
        return (status.output if status else None) or {}

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


def paged(page: OutputPage, pages: Mapping[str, Mapping[str, Any] | None]) -> Mapping[str, Any]:
    """A large output. PagesNeeded if its page is missing, ExpressionError if it's gone or another."""
    if page.name not in pages:
        raise PagesNeeded({page.name: page.sha256})
    found = pages[page.name]
    if found is None:
        raise ExpressionError(f"the ConfigMap {page.name} with the step's output was deleted or replaced")
    return found


def gathered(items: ItemsStatus, pages: Mapping[str, Mapping[str, Any] | None]) -> list[Any]:
    """The items' outputs in their order; whatever didn't succeed keeps its place with its error.

    PagesNeeded if pages are missing, ExpressionError if one is gone for good.
    """
    if missing := [name for name in items.pages if name not in pages]:
        raise PagesNeeded(dict.fromkeys(missing))
    outputs: list[Any] = [{}] * items.total
    for index in intervals.members(items.failed):
        outputs[index] = {"error": "Failed"}
    for index in intervals.members(items.cancelled):
        outputs[index] = {"error": "Cancelled"}
    for found in (*(pages[name] for name in items.pages), items.outputs or {}):
        if found is None:
            raise ExpressionError("a ConfigMap with outputs of the step's items was deleted")
        for place, output in found.items():
            outputs[int(place)] = output
    return outputs


def error(status: ItemStatus) -> str:
    """Why a step or item failed, as one text; empty when it didn't."""
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
