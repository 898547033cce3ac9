"""S25: a rerun takes over from a run that has ended exactly what needn't run again, and then stands on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adze.core.model import ItemsStatus, Phase, RerunOf, Run, RunSpec, StepStatus
from adze.core.revision import Stage
from tests.sim import large
from tests.sim.api import replace
from tests.sim.items import indexes
from tests.sim.violation import Violation

if TYPE_CHECKING:
    from tests.sim.check import Checker
    from tests.sim.world import World

AGAIN = "-again"


def ask(world: World, bits: int) -> bool:
    """A user repeats a run, mostly one that has ended."""
    runs = [run for run in world.api.runs.values() if run.metadata.name.count(AGAIN) < 2]
    runs = [run for run in runs if run.metadata.name + AGAIN not in world.api.runs]
    if bits % 8:
        runs = [run for run in runs if run.status.phase.final and run.status.workflow_spec]
    if not runs:
        return False
    bits //= 8
    run = runs[bits % len(runs)]
    starts = (None, "Failed", "Failed", "nope", *(step.name for step in run.status.steps))
    start = starts[bits // 16 % len(starts)]
    world.goals["rerun asked for"] += 1
    world.trace.world(f"a user repeats from {start}:", run.metadata.name)
    spec = RunSpec(workflow=run.spec.workflow, rerun_of=RerunOf(run=run.metadata.name, from_=start))
    world.api.create_run(run.metadata.name + AGAIN, spec)
    return True


def began(checker: Checker, run: Run) -> dict[str, StepStatus]:
    """What a rerun took over as it began: its steps as if they had stood so before."""
    trigger, wanted = run.status.trigger, run.spec.rerun_of
    assert trigger is not None and wanted is not None
    account = checker.accounts.get(trigger.run_uid or "")
    if account is None or account.ended is None:
        raise Violation("S25", f"{run.metadata.name} repeats a run that has not ended")
    source = account.run
    given = source.status.input if source.spec.rerun_of else source.spec.input
    if (run.status.workflow_spec, run.status.input) != (source.status.workflow_spec, given):
        raise Violation("S25", f"{run.metadata.name} has another workflow or input than its source")
    assert account.revision is not None
    parents = {node.name: node.step.parents for node in account.revision.stage(Stage.GRAPH)}
    checker.goals["rerun begun"] += 1

    def runs_again(name: str) -> bool:
        unhappy = account.steps[name].phase in (Phase.FAILED, Phase.CANCELLED)
        return unhappy or _follows(name)

    def _follows(name: str) -> bool:
        return wanted.from_ in (None, name) or any(map(runs_again, parents[name]))

    before = {}
    for after in [status for status in run.status.steps if status.name in parents]:
        known = account.steps[after.name]
        if not runs_again(after.name):
            if (after.phase, after.output, after.attempts) != (known.phase, known.output, ()):
                raise Violation("S25", f"step {after.name} was {known} and is kept as {after}")
            checker.goals["step kept"] += 1
            if known.output_page and checker.api:
                large.kept(checker, run, after, known.output_page)
            before[after.name] = after
            if after.items and known.items:
                _same(checker, run, after.items, known.items, indexes(known.items.succeeded + _also(known.items)))
        elif known.items and not _follows(after.name):
            if after.items is None or after.items.succeeded != known.items.succeeded:
                raise Violation("S25", f"items {known.items} of {after.name} are kept as {after.items}")
            checker.goals["items kept"] += bool(known.items.succeeded)
            _same(checker, run, after.items, known.items, indexes(known.items.succeeded))
            before[after.name] = replace(after, phase=Phase.RUNNING, items=replace(after.items, active=()))
        elif after.phase.final and not after.attempts and after.phase is Phase.SUCCEEDED and not after.items:
            raise Violation("S25", f"step {after.name} was to run again and is kept")
    return before


def _also(items: ItemsStatus) -> str:
    return "".join(f",{text}" for text in (items.failed, items.cancelled) if text)


def _same(checker: Checker, run: Run, after: ItemsStatus, known: ItemsStatus, kept: set[int]) -> None:
    api = checker.api
    assert api is not None
    if any(api.page_owners.get(name) != run.metadata.uid for name in after.pages):
        raise Violation("S25", f"{run.metadata.name} refers to pages that aren't its own: {after.pages}")
    checker.goals["pages copied"] += bool(after.pages)
    every = api.gone_pages | api.pages
    then = _outputs(known, every, kept)
    if _outputs(after, every, kept) != then or (after.total, after.digest) != (known.total, known.digest):
        raise Violation("S25", f"{run.metadata.name} keeps other outputs than {then}")


def _outputs(items: ItemsStatus, pages: dict[str, dict[str, Any]], kept: set[int]) -> dict[int, Any]:
    found = {}
    for outputs in (*(pages[name] for name in items.pages), items.outputs or {}):
        found |= {int(index): output for index, output in outputs.items() if int(index) in kept}
    return found
