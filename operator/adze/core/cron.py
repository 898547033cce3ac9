"""What the schedules of a workflow ask for: which ticks to start, which are missed, when to look again.

Every schedule has a watermark in the Workflow's status, `decidedTime`: each tick up to it has its run or is counted as
missed. It begins at the moment when the schedule was first seen and never goes back.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice, takewhile

import msgspec

from adze.core import duration, names, schedule
from adze.core.draft import MESSAGE_LIMIT, Notice, cut
from adze.core.model import CronStatus, CronTrigger, Missed, TickRun, Workflow, WorkflowSpec, WorkflowStatus
from adze.core.pieces import Problem
from adze.core.schedule import Schedule
from adze.core.schema import Mismatch, Validator, unfit

GRACE = timedelta(seconds=10)
"""A tick that is started within this of its time is on time: as long as another replica takes to take over."""
CATCH_UP = 100
"""Ticks that RunAll makes up for."""
COUNTED = 1000
"""Ticks that are told apart when many have passed; of more it's only known that there were at least as many."""
ENTRIES = 64
"""Schedules in the status, with those that were taken away."""
OPEN_RUNS = 256
"""Runs of a workflow that may be on their way from their creation to knowing their tick: the status must hold them."""
TIDY = timedelta(minutes=1)
"""Pause before the last traces of a schedule that was taken away are looked at again."""

SUSPENDED = "Suspended"
REFUSED = "RunRefused"


@dataclass(frozen=True, slots=True)
class Tick:
    """A moment of a schedule, and the name of the run that it has or would have."""

    trigger: CronTrigger
    time: datetime
    run: str
    start: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the run of a tick can't be created, if that is known. One that lasts makes the tick a missed one."""

    message: str | None
    lasts: bool = False


@dataclass(frozen=True, slots=True)
class Agenda:
    """What is due. `ticks` are in order for each schedule; `overflow` holds the schedules with more than are listed."""

    ticks: tuple[Tick, ...] = ()
    overflow: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Record:
    """The Workflow's status after a look, what to tell people, when to look again; `behind`: a tick is still due."""

    status: WorkflowStatus
    notices: tuple[Notice, ...] = ()
    wake: datetime | None = None
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a workflow's runs: UIDs of those that know their tick, and by name of those that don't yet."""

    knowing: frozenset[str] = frozenset()
    waiting: Mapping[str, str] = field(default_factory=dict)


def triggers(spec: WorkflowSpec) -> Iterator[tuple[CronTrigger, Schedule]]:
    """The schedules of a workflow that make sense."""
    for trigger in spec.on.cron if spec.on else ():
        try:
            duration.parse(trigger.starting_deadline or "0s")
            yield trigger, schedule.parse(trigger.schedule, trigger.time_zone)
        except ValueError:
            continue


def problems(spec: WorkflowSpec, input_schema: Validator | None) -> list[Problem]:
    """What is wrong with the schedules of a workflow."""
    found: list[Problem] = []
    for index, trigger in enumerate(spec.on.cron if spec.on else ()):
        place = f"spec.on.cron[{index}]"
        try:
            schedule.parse(trigger.schedule, trigger.time_zone)
        except schedule.UnknownZone as error:
            found.append(Problem(f"{place}.timeZone", str(error)))
        except schedule.InvalidSchedule as error:
            found.append(Problem(f"{place}.schedule", str(error)))
        try:
            duration.parse(trigger.starting_deadline or "0s")
        except ValueError as error:
            found.append(Problem(f"{place}.startingDeadline", str(error)))
        try:
            if problem := unfit(trigger.input):
                found.append(Problem(f"{place}.input", problem))
            elif input_schema:
                input_schema.check(trigger.input or {}, f"{place}.input")
        except Mismatch as mismatch:
            found.append(Problem(f"{place}.input", str(mismatch).removeprefix(f"{place}.input: ")))
    return found


def agenda(workflow: Workflow, sight: Sight, now: datetime) -> Agenda:
    """The ticks that have come since the last look, each with whether it is to be started."""
    known = _known(workflow)
    ticks: list[Tick] = []
    overflow: set[tuple[str, str]] = set()
    room = OPEN_RUNS - sum(len(entry.runs) for entry in known.values())
    for trigger, times in triggers(workflow.spec):
        before = known.get(_key(trigger))
        if before is None or before.reason == SUSPENDED or _suspended(workflow, trigger):
            continue
        due = _between(times, before.decided_time, now, COUNTED + 1)
        if len(due) > COUNTED:
            overflow.add(_key(trigger))
            due = _between(times, _latest(times, before.decided_time, now), now, COUNTED)
        chosen = _chosen(trigger, due, now)
        for time in due:
            name = names.tick_run(workflow.metadata.name, trigger.schedule, trigger.time_zone, time)
            # A run that is there already was on its way when an operator went.
            start = time in chosen or name in sight.waiting
            room -= start
            if room < 0:
                break
            ticks.append(Tick(trigger, time, name, start))
    return Agenda(tuple(ticks), frozenset(overflow))


def _between(times: Schedule, start: datetime, end: datetime, most: int) -> list[datetime]:
    """The first ticks after `start`, up to and with `end`."""

    def ticks() -> Iterator[datetime]:
        moment: datetime | None = start
        while moment and (moment := times.after(moment)):
            yield moment

    return list(islice(takewhile(lambda tick: tick <= end, ticks()), most))


def _latest(times: Schedule, start: datetime, end: datetime) -> datetime:
    """A moment after which there are about as many ticks as RunAll makes up for, and not fewer."""
    early, late = start, end
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) / 2
        if len(_between(times, middle, end, CATCH_UP + 1)) > CATCH_UP:
            early = middle
        else:
            late = middle
    return early


def _chosen(trigger: CronTrigger, due: list[datetime], now: datetime) -> set[datetime]:
    """Which of the ticks are started: those on time, and those that `missed` makes up for."""
    deadline = duration.parse(trigger.starting_deadline) if trigger.starting_deadline else None
    on_time = {tick for tick in due if now - tick <= (GRACE if deadline is None else min(GRACE, deadline))}
    older = [tick for tick in due if tick not in on_time and (deadline is None or now - tick <= deadline)]
    if trigger.missed is Missed.RUN_ALL:
        return on_time | set(older[-CATCH_UP:])
    if trigger.missed is Missed.RUN_LATEST and not on_time:
        return set(older[-1:])
    return on_time


def record(
    workflow: Workflow,
    agenda: Agenda,
    results: Mapping[str, TickRun | Refusal],
    sight: Sight,
    now: datetime,
) -> Record:
    """What became of an agenda. `results` holds, by name, the runs of the ticks that were to be started."""
    known = _known(workflow)
    entries: list[CronStatus] = []
    notices: list[Notice] = []
    for trigger, times in triggers(workflow.spec):
        before = known.pop(_key(trigger), None)
        entry = _entry(workflow, trigger, before, now)
        ticks = [tick for tick in agenda.ticks if tick.trigger is trigger]
        if ticks:
            entry, said = _walk(entry, ticks, results, _key(trigger) in agenda.overflow)
            notices += said
        following = None if _suspended(workflow, trigger) else times.after(entry.decided_time)
        entries.append(_pruned(msgspec.structs.replace(entry, next_run_time=following), sight))
    # A schedule that was taken away is remembered while a run of it may still ask.
    leaving = [_pruned(msgspec.structs.replace(entry, next_run_time=None), sight) for entry in known.values()]
    leaving = [entry for entry in leaving if entry.runs]
    following = min((entry.next_run_time for entry in entries if entry.next_run_time), default=None)
    status = msgspec.structs.replace(workflow.status, next_run_time=following, cron=(*entries, *leaving)[:ENTRIES])
    wakes = [entry.next_run_time for entry in entries] + [now + TIDY if leaving else None]
    wake = min((moment for moment in wakes if moment and moment > now), default=None)
    return Record(status, tuple(notices), wake, behind=bool(following and following <= now))


def _entry(workflow: Workflow, trigger: CronTrigger, before: CronStatus | None, now: datetime) -> CronStatus:
    """How a schedule stands before its ticks: seen for the first time, suspended, resumed or as before."""
    start = CronStatus(schedule=trigger.schedule, time_zone=trigger.time_zone, decided_time=now)
    if _suspended(workflow, trigger):
        message = f"suspend of {'the schedule' if trigger.suspend else 'the workflow'} is true"
        stopped = before if before and before.reason == SUSPENDED else _forward(before or start, now)
        return msgspec.structs.replace(stopped, reason=SUSPENDED, message=message)
    if before and before.reason == SUSPENDED:
        return msgspec.structs.replace(_forward(before, now), reason=None, message=None)
    return before or start


def _forward(entry: CronStatus, now: datetime) -> CronStatus:
    return msgspec.structs.replace(entry, decided_time=max(entry.decided_time, now))


def _walk(
    entry: CronStatus, ticks: list[Tick], results: Mapping[str, TickRun | Refusal], overflow: bool
) -> tuple[CronStatus, list[Notice]]:
    """The schedule after its ticks, up to the first that is to be tried again."""
    runs = list(entry.runs)
    missed: list[datetime] = []
    notices: list[Notice] = []
    decided, last, why = entry.decided_time, entry.last_schedule_time, None
    for tick in ticks:
        result = results.get(tick.run) if tick.start else None
        if isinstance(result, Refusal):
            why = cut(f"run {tick.run}: {result.message}", MESSAGE_LIMIT) if result.message else entry.message
            if entry.message != why:
                notices.append(Notice("Warning", REFUSED, f"{_shown(entry)}: {why}"))
            if not result.lasts:
                break
        if isinstance(result, TickRun):
            why = None
            runs.append(result)
            last = tick.time
        else:
            missed.append(tick.time)
        decided = tick.time
    if missed:
        count = f"{len(missed)}{' or more' if overflow else ''} tick{'s' if len(missed) > 1 else ''}"
        notices.append(
            Notice("Warning", "TicksMissed", f"{_shown(entry)}: {count} missed, the last at {names.moment(missed[-1])}")
        )
    after = msgspec.structs.replace(
        entry,
        decided_time=decided,
        last_schedule_time=last,
        missed=entry.missed + len(missed),
        last_missed_time=missed[-1] if missed else entry.last_missed_time,
        reason=REFUSED if why else None,
        message=why,
        runs=tuple(runs),
    )
    return after, notices


def _pruned(entry: CronStatus, sight: Sight) -> CronStatus:
    runs = tuple(run for run in entry.runs if run.uid not in sight.knowing)
    return entry if runs == entry.runs else msgspec.structs.replace(entry, runs=runs)


def _suspended(workflow: Workflow, trigger: CronTrigger) -> bool:
    return workflow.spec.suspend or trigger.suspend


def _key(item: CronTrigger | CronStatus) -> tuple[str, str]:
    return item.schedule, item.time_zone


def _known(workflow: Workflow) -> dict[tuple[str, str], CronStatus]:
    return {_key(entry): entry for entry in workflow.status.cron}


def _shown(entry: CronStatus) -> str:
    return f"schedule {entry.schedule!r} ({entry.time_zone})"
