"""From a schedule's ticks to runs: a generator of calls, as `protocol` is for runs. Read that one first.

Each tick has exactly one run or is counted as missed, whatever crashes in between and however many operators work:

1. The run is created under a name made from workflow, schedule and tick. Of two that create it one gets AlreadyExists.
2. Its UID goes into the Workflow's status together with the watermark, by compare-and-swap.
3. Only then the run begins: it reads the Workflow first (`origin.standing`) and looks for its UID there.

A run that is created again after the first one was deleted finds another UID, or none, and never begins.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from adze.core import cron, names, origin
from adze.core.calls import (
    CreateRun,
    Failure,
    Problem,
    ReadRun,
    ReadWorkflow,
    SayOfWorkflow,
    ScheduleCall,
    WriteWorkflow,
)
from adze.core.cron import Refusal, Sight, Tick
from adze.core.model import API_VERSION, Run, TickRun, TriggerKind, Workflow

REFUSED_AGAIN = timedelta(seconds=5)
"""Pause before a run that the API server refused is created again."""
FORGOTTEN = timedelta(minutes=1)
"""Age at which the run of a tick that isn't known here is asked for: it may have been deleted."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a workflow's schedules leaves behind: when to look again, and the runs that may begin now.

    `again` asks for another look because something is not settled: soon, and later each time in a row
    (`backoff.again`).
    """

    wake: datetime | None = None
    runs: tuple[Run, ...] = ()
    again: bool = False


Steps = Generator[Sequence[ScheduleCall], Sequence[Any], Look]


def reconcile(workflow: Workflow, sight: Sight, now: datetime) -> Steps:
    """One look at the schedules of a workflow as it was last seen."""
    agenda = cron.agenda(workflow, sight, now)
    start = [tick for tick in agenda.ticks if tick.start]
    answers = (yield [CreateRun(manifest(workflow, tick)) for tick in start]) if start else ()
    runs: dict[str, Run | Refusal] = {}
    for tick, answer in zip(start, answers, strict=True):
        runs[tick.run] = answer if isinstance(answer, Run) else _refusal(answer)
    existing = [tick for tick, answer in zip(start, answers, strict=True) if _exists(answer)]
    if existing:
        found = yield [ReadRun(workflow.metadata.namespace, tick.run, "") for tick in existing]
        runs |= {tick.run: _adopted(workflow, answer) for tick, answer in zip(existing, found, strict=True)}
    results = {tick.run: _result(tick, runs[tick.run]) for tick in start}
    open_ = [result for result in results.values() if isinstance(result, Refusal) and not result.lasts]
    refused = now + REFUSED_AGAIN if any(result.message for result in open_) else None
    record = cron.record(workflow, agenda, results, sight, now)
    if record.status != workflow.status:
        sight = yield from _known_again(workflow, sight, now)
        record = cron.record(workflow, agenda, results, sight, now)
        (answer,) = yield [WriteWorkflow(workflow, record.status)]
        if isinstance(answer, Problem):
            # Another wrote, or the Workflow is gone: what is there now decides, not the watch.
            (newer,) = yield [ReadWorkflow(*workflow.key)]
            if answer.failure is Failure.CONFLICT and not isinstance(newer, Problem):
                return Look(now)
            lasting = answer.failure in (Failure.REFUSED, Failure.LATER)
            return Look(now + REFUSED_AGAIN) if lasting else Look(again=True)
        if record.notices:
            yield [SayOfWorkflow(workflow, notice) for notice in record.notices]
    wake = min((moment for moment in (record.wake, refused) if moment), default=None)
    unsettled = record.behind and not (refused and all(result.message for result in open_))
    return Look(wake, tuple(run for run in runs.values() if isinstance(run, Run)), again=unsettled)


def manifest(workflow: Workflow, tick: Tick) -> dict[str, Any]:
    """The run of a tick."""
    trigger = tick.trigger
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkflowRun",
        "metadata": {
            "name": tick.run,
            "namespace": workflow.metadata.namespace,
            "labels": {names.TRIGGER: "cron", names.WORKFLOW: names.label(workflow.metadata.name)},
            "annotations": {
                names.SCHEDULE: trigger.schedule,
                names.TIME_ZONE: trigger.time_zone,
                names.SCHEDULED_TIME: names.moment(tick.time),
            },
        },
        "spec": {"workflow": workflow.metadata.name} | ({"input": trigger.input} if trigger.input else {}),
    }


def _exists(answer: Any) -> bool:
    return isinstance(answer, Problem) and answer.failure is Failure.EXISTS


def _result(tick: Tick, run: Run | Refusal) -> TickRun | Refusal:
    return TickRun(name=tick.run, uid=run.metadata.uid, time=tick.time) if isinstance(run, Run) else run


def _refusal(problem: Problem) -> Refusal:
    return Refusal(problem.message if problem.failure in (Failure.REFUSED, Failure.LATER) else None)


def _adopted(workflow: Workflow, answer: Any) -> Run | Refusal:
    """The run that is there under a tick's name, if it's the tick's."""
    if isinstance(answer, Problem):
        return _refusal(answer)
    run: Run = answer
    if run.spec.workflow == workflow.metadata.name and origin.of(run).kind is TriggerKind.CRON:
        return run
    return Refusal("there is another run of this name", lasts=True)


def _known_again(
    workflow: Workflow, sight: Sight, now: datetime
) -> Generator[Sequence[ScheduleCall], Sequence[Any], Sight]:
    """The sight, with the recorded runs that were deleted, or know their tick, though no watch has told it."""
    known = sight.knowing | set(sight.waiting.values())
    strange = [
        run
        for entry in workflow.status.cron
        for run in entry.runs
        if run.uid not in known and now - run.time > FORGOTTEN
    ]
    if not strange:
        return sight
    answers = yield [ReadRun(workflow.metadata.namespace, run.name, run.uid) for run in strange]
    settled = {run.uid for run, answer in zip(strange, answers, strict=True) if _settled(run.uid, answer)}
    return Sight(sight.knowing | settled, sight.waiting)


def _settled(uid: str, answer: Any) -> bool:
    if isinstance(answer, Problem):
        return answer.failure is Failure.NOT_FOUND
    run: Run = answer
    return run.metadata.uid != uid or run.status.trigger is not None
