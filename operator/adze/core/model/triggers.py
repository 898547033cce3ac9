"""What starts runs of a workflow by itself (`on` of a Workflow), and how that stands."""

from enum import StrEnum
from typing import Annotated, Any

from adze.core.model.base import ATOMIC, FREE, Duration, EventType, Expression, Record, Time, doc

Zone = Annotated[str, doc("Time zone of the schedule, as Europe/Berlin.", min_length=1, max_length=64)]
Schedule = Annotated[
    str,
    doc(
        "Minute, hour, day of month, month, day of week; with a field for seconds in front if there are six. "
        "Or @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually.",
        min_length=1,
        max_length=128,
    ),
]


class Missed(StrEnum):
    """What becomes of ticks for which no operator was there."""

    SKIP = "Skip"
    RUN_LATEST = "RunLatest"
    RUN_ALL = "RunAll"


class CronTrigger(Record, frozen=True, kw_only=True):
    """Starts a run at each tick of a schedule."""

    schedule: Schedule
    time_zone: Zone = "UTC"
    input: Annotated[dict[str, Any], doc("The input of its runs.", **FREE)] | None = None
    missed: Annotated[
        Missed,
        doc(
            "For ticks that pass while no operator is there. Skip: none is made up for. RunLatest: the last one. "
            "RunAll: the last 100."
        ),
    ] = Missed.SKIP
    starting_deadline: (
        Annotated[Duration, doc("How late a tick may still be started. Default: any, where missed makes up for it.")]
        | None
    ) = None
    suspend: Annotated[bool, doc("Start nothing. Ticks that pass meanwhile are not made up for.")] = False


class EventTrigger(Record, frozen=True, kw_only=True):
    """Starts a run for each event that matches."""

    name: EventType
    filter: Annotated[Expression, doc("CEL over event; a run starts only where it gives true.")] | None = None
    input: (
        Annotated[dict[str, Any], doc("The run's input; ${…} holds CEL over event. Default: the event's data.", **FREE)]
        | None
    ) = None


class Triggers(Record, frozen=True, kw_only=True):
    """What starts runs of a workflow by itself."""

    events: Annotated[
        tuple[EventTrigger, ...],
        doc(
            "Events that start runs. Of several that match one event the first counts.",
            **ATOMIC,
            max_length=32,
        ),
    ] = ()
    cron: Annotated[
        tuple[CronTrigger, ...],
        doc(
            "Schedules that start runs.",
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["schedule", "timeZone"]},
            max_length=32,
        ),
    ] = ()


class TickRun(Record, frozen=True, kw_only=True):
    """The run of a tick that has been started."""

    name: Annotated[str, doc("Name of the WorkflowRun.", max_length=253)]
    uid: Annotated[str, doc("Its UID: only this object is the tick's run.", max_length=64)]
    time: Annotated[Time, doc("The tick.")]


class CronStatus(Record, frozen=True, kw_only=True):
    """How a schedule stands."""

    schedule: Schedule
    time_zone: Zone
    decided_time: Annotated[Time, doc("Each tick up to here has its run or is counted as missed.")]
    last_schedule_time: Annotated[Time, doc("The last tick that was started.")] | None = None
    next_run_time: Annotated[Time, doc("The next tick.")] | None = None
    missed: Annotated[int, doc("How many ticks were missed so far.", ge=0)] = 0
    last_missed_time: Annotated[Time, doc("The last tick that was missed.")] | None = None
    reason: Annotated[str, doc("Why nothing is started, one word.", max_length=64)] | None = None
    message: Annotated[str, doc("Why, for people.", max_length=1024)] | None = None
    runs: Annotated[
        tuple[TickRun, ...],
        doc(
            "The last runs, until they are seen to know their tick.",
            **ATOMIC,
            max_length=256,
        ),
    ] = ()


class TriggerKind(StrEnum):
    """What starts a run."""

    DIRECT = "Direct"
    SCHEDULED = "Scheduled"
    CRON = "Cron"
    EVENT = "Event"
    RERUN = "Rerun"
    STEP = "Step"


class Trigger(Record, frozen=True, kw_only=True):
    """What has started a run."""

    kind: Annotated[
        TriggerKind,
        doc(
            "Direct: a person or program created it. Scheduled: it has a runAt. Cron: a tick. Event: an event. "
            "Rerun: it repeats another run. Step: it carries out a step of another run."
        ),
    ]
    schedule: Annotated[str, doc("The schedule.", max_length=128)] | None = None
    time_zone: Annotated[str, doc("Time zone of the schedule.", max_length=64)] | None = None
    time: Annotated[Time, doc("The tick, or runAt; of a rerun, the moment of the run that it repeats.")] | None = None
    event: Annotated[str, doc("Name of the WorkflowEvent, as a label.", max_length=63)] | None = None
    run: Annotated[str, doc("Name of the run that is repeated, or whose step it is.", max_length=253)] | None = None
    run_uid: Annotated[str, doc("UID of that run.", max_length=64)] | None = None
    step: Annotated[str, doc("Name of the step; of an item, step[index].", max_length=48)] | None = None
