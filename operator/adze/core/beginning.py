"""The first plan of a run, with what must be read and written around it: its Workflow, its key, what a rerun keeps.

Pages of outputs that a rerun keeps are copied: they are its own, and the run that it repeats may be deleted. A copy's
name follows from its content and the rerun's UID, and it is written before the status that names it. So a pass that is
repeated makes the same copies.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from adze.core import keys, manifest, names, outputs, planner, rerun
from adze.core.calls import Call, CreatePage, Failure, Problem, ReadPage, ReadRun, ReadWorkflow
from adze.core.model import OutputPage, Run, StepStatus, Workflow
from adze.core.pages import unwritten
from adze.core.planner import Plan

AT_A_TIME = 16
"""Pages in memory: the outputs of a wide run take megabytes."""


def begin(run: Run, now: datetime) -> Generator[Sequence[Call], Sequence[Any], Plan | None]:
    """The first plan of a run; None if it can't be told now."""
    namespace, spec = run.metadata.namespace, run.spec
    asked: list[ReadWorkflow | ReadRun] = []
    if spec.workflow is not None:
        asked.append(ReadWorkflow(namespace, spec.workflow))
    if spec.rerun_of:
        asked.append(ReadRun(namespace, spec.rerun_of.run, ""))
    answers = (yield asked) if asked else ()
    if any(isinstance(answer, Problem) and answer.failure is not Failure.NOT_FOUND for answer in answers):
        return None
    found = {type(answer): answer for answer in answers}
    plan = yield from keys.settle(run, planner.begin(run, found.get(Workflow), now, found.get(Run)), now)
    if plan is None or plan.status is None or plan.status.workflow_spec is None:
        return plan
    return (yield from keep_pages(run, plan, now))


def keep_pages(run: Run, plan: Plan, now: datetime) -> Generator[Sequence[Call], Sequence[Any], Plan | None]:
    """The plan of a run that would begin, once the pages that it keeps are its own; None if that can't be now."""
    assert plan.status is not None
    steps: list[StepStatus] = []
    for step in plan.status.steps:
        copied: StepStatus | Problem = step
        if step.output_page:
            copied = yield from _copy_output(run, step, step.output_page)
        elif step.items and step.items.pages:
            copied = yield from _copy(run, step)
        if isinstance(copied, Problem):
            if copied.failure is not Failure.NOT_FOUND:
                return None
            return planner.refuse_rerun(run, f"outputs of step {step.name} are lost: {copied.message}", now)
        steps.append(copied)
    return replace(plan, status=msgspec.structs.replace(plan.status, steps=tuple(steps)))


def _copy(run: Run, step: StepStatus) -> Generator[Sequence[Call], Sequence[Any], StepStatus | Problem]:
    items = step.items
    assert items is not None
    pages: list[str] = []
    size = 0
    for start in range(0, len(items.pages), AT_A_TIME):
        found = yield [ReadPage(run.metadata.namespace, name) for name in items.pages[start : start + AT_A_TIME]]
        if problem := next((answer for answer in found if isinstance(answer, Problem)), None):
            return problem
        if not step.phase.final:
            found = [rerun.kept_outputs(outputs, items.succeeded) for outputs in found]
        made = {_name(run, step, text): text for outputs in found if outputs and (text := _json(outputs))}
        answers = (yield [CreatePage(manifest.page(run, *page)) for page in made.items()]) if made else ()
        if problem := _refused(answers):
            return problem
        pages += made
        size += sum(map(len, map(str.encode, made.values())))
    return msgspec.structs.replace(step, items=msgspec.structs.replace(items, pages=tuple(pages), paged=size))


def _copy_output(
    run: Run, step: StepStatus, page: OutputPage
) -> Generator[Sequence[Call], Sequence[Any], StepStatus | Problem]:
    (found,) = yield [ReadPage(run.metadata.namespace, page.name, page.sha256)]
    if isinstance(found, Problem):
        return found
    own = outputs.own(run, step.name, found)
    answers = yield [CreatePage(manifest.page(run, own.name, _json(found)))]
    return _refused(answers) or msgspec.structs.replace(step, output_page=own)


def _refused(answers: Sequence[Any]) -> Problem | None:
    """What kept one of the pages from being created, as a problem that may pass."""
    problem = unwritten(answers)
    return problem and replace(problem, failure=Failure.UNKNOWN)


def _json(content: Any) -> str:
    return msgspec.json.encode(content).decode()


def _name(run: Run, step: StepStatus, text: str) -> str:
    return names.page(run.metadata.name, run.metadata.uid, step.name, text)
