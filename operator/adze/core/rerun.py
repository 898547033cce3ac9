"""What a rerun takes over from the run that it repeats: docs/adr/0027-reruns.md.

The source has ended, so nothing of it changes any more. A step either keeps what it handed over or starts afresh; of a
failed forEach step the items that succeeded are kept.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from adze.core import intervals
from adze.core.model import ItemsStatus, Phase, Run, StepStatus
from adze.core.revision import Node, Revision, Stage
from adze.core.verdict import FULL

FAILED = "Failed"
"""What `from` names, besides a step."""
UNHAPPY = (Phase.FAILED, Phase.CANCELLED)


def refusal(run: Run, source: Run | None) -> str | None:
    """Why `run` can't repeat `source`, the run of the name that it gives; None if it can."""
    wanted = run.spec.rerun_of
    assert wanted is not None
    if source is None:
        return f"spec.rerunOf.run: there is no run {wanted.run!r} in namespace {run.metadata.namespace!r}"
    status = source.status
    if not status.phase.final:
        return f"spec.rerunOf.run: run {wanted.run!r} has not ended ({status.phase}): wait for its end, or cancel it"
    if status.workflow_spec is None:
        return f"spec.rerunOf.run: run {wanted.run!r} never began ({status.reason}): create a new run"
    if run.spec.workflow != source.spec.workflow:
        needed = f"be {source.spec.workflow!r}" if source.spec.workflow else "be left out"
        return f"spec.workflow must {needed}, as in run {wanted.run!r}"
    if wanted.from_ == FAILED and not any(step.phase in UNHAPPY for step in status.steps):
        return f"spec.rerunOf.from: no step of run {wanted.run!r} failed or was cancelled"
    if wanted.from_ is not None and any(step.reason == FULL for step in status.steps):
        return f"spec.rerunOf.from: run {wanted.run!r} grew too large and lost outputs: repeat it from its start"
    if wanted.from_ not in (None, FAILED, *_places(status.workflow_spec)):
        return f"spec.rerunOf.from: run {wanted.run!r} has no step {wanted.from_!r} in steps or finally"
    return None


def _places(spec: Mapping[str, Any]) -> Iterator[str]:
    """The steps from which a rerun may start."""
    for stage in (Stage.GRAPH, Stage.FINALLY):
        yield from (step["name"] for step in spec.get(stage.value, ()))


def given(source: Run) -> dict[str, Any] | None:
    """The input of a run that is repeated; it may be a rerun itself."""
    return source.status.input if source.spec.rerun_of else source.spec.input


def steps(source: Run, revision: Revision, start: str | None) -> tuple[StepStatus, ...]:
    """The steps of the graph as the rerun begins with them, in the order of the spec.

    Again run `start` (all steps, where it is None), what has failed or was cancelled, and whatever comes after those.
    """
    known = {step.name: step for step in source.status.steps}
    kept: dict[str, StepStatus] = {}
    for name in revision.order:
        before, node = known[name], revision.nodes[name]
        fresh = start in (None, name) or any(not _keeps(kept[parent]) for parent in node.step.parents)
        kept[name] = StepStatus(name=name) if fresh else _taken_over(before, node, source.metadata.name)
    return tuple(kept[node.name] for node in revision.stage(Stage.GRAPH))


def _keeps(status: StepStatus) -> bool:
    return status.phase.final


def _taken_over(before: StepStatus, node: Node, source: str) -> StepStatus:
    if before.phase in UNHAPPY:
        items = _succeeded(before.items, node) if before.items else None
        return StepStatus(name=before.name, phase=Phase.RUNNING if items else Phase.PENDING, items=items)
    items = before.items
    if items:
        failures = tuple(msgspec.structs.replace(entry, attempts=()) for entry in items.failures)
        items = msgspec.structs.replace(items, failures=failures)
    reason, message = before.reason, before.message
    if before.phase is Phase.SUCCEEDED:
        reason, message = "Kept", f"handed over in run {source}"
    return StepStatus(
        name=before.name,
        phase=before.phase,
        reason=reason,
        message=message,
        output=before.output,
        output_page=before.output_page,
        items=items,
    )


def _succeeded(items: ItemsStatus, node: Node) -> ItemsStatus | None:
    """The items that needn't run again; None if the list itself may be another, as it depends on the run."""
    if any(variable.startswith("run.") for variable in node.iterated):
        return None
    outputs = kept_outputs(items.outputs or {}, items.succeeded)
    return ItemsStatus(
        total=items.total,
        digest=items.digest,
        succeeded=items.succeeded,
        outputs=outputs or None,
        pages=items.pages,
    )


def kept_outputs(outputs: Mapping[str, Any], succeeded: str) -> dict[str, Any]:
    """The outputs by index of the items that succeeded: without the errors in the others' places."""
    return {index: output for index, output in outputs.items() if intervals.holds(succeeded, int(index))}
