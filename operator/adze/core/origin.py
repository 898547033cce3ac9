"""What has started a run, and whether it is the one that was meant to be started."""

from datetime import UTC, datetime, timedelta
from enum import Enum

import msgspec

from adze.core import names
from adze.core.model import CronStatus, Run, Trigger, TriggerKind, Workflow

TICK_PATIENCE = timedelta(seconds=10)
"""How long a run waits for its tick to be recorded before it asks again; the record itself wakes it."""
DUPLICATE = "Duplicate"


class Standing(Enum):
    """Whether a run is the run of its tick."""

    ITS = "it is recorded as such"
    WAITS = "the tick isn't recorded yet"
    NOT = "another was, or the tick counts as missed"


def of(run: Run, source: Run | None = None) -> Trigger:
    """What has started a run; `source` is the run that it repeats, if it repeats one.

    The marks of a tick or of a step count only under their run's name: a copy is a run by hand.
    """
    if run.spec.rerun_of:
        return _repeated(run.spec.rerun_of.run, source)
    if parent := _parent(run):
        return parent
    marks, trigger = run.metadata.annotations, run.metadata.labels.trigger
    tick = _moment(marks.scheduled_time)
    name = names.tick_run(run.spec.workflow or "", marks.schedule, marks.time_zone, tick) if tick else None
    if trigger == "cron" and run.metadata.name == name:
        return Trigger(kind=TriggerKind.CRON, schedule=marks.schedule, time_zone=marks.time_zone, time=tick)
    if trigger == "event":
        return Trigger(kind=TriggerKind.EVENT, event=run.metadata.labels.event or None)
    if run.spec.run_at:
        return Trigger(kind=TriggerKind.SCHEDULED, time=run.spec.run_at)
    return Trigger(kind=TriggerKind.DIRECT)


def _repeated(name: str, source: Run | None) -> Trigger:
    """A rerun stands for the moment that its source stood for: the outputs that it keeps do, too."""
    if source is None:
        return Trigger(kind=TriggerKind.RERUN, run=name)
    known = source.status.trigger
    time = (known.time if known else None) or source.metadata.creation_timestamp
    return Trigger(kind=TriggerKind.RERUN, run=name, run_uid=source.metadata.uid, time=time)


def _parent(run: Run) -> Trigger | None:
    """The step that a child run carries out: of the run that controls it, by the labels that its name was made from."""
    labels = run.metadata.labels
    owner = next((one for one in run.metadata.owner_references if one.controller), None)
    if owner is None or not labels.attempt.isdecimal():
        return None
    item = int(labels.item) if labels.item.isdecimal() else None
    if run.metadata.name != names.pod(owner.name, owner.uid, labels.step, int(labels.attempt), item):
        return None
    step = labels.step if item is None else names.part(labels.step, item)
    return Trigger(kind=TriggerKind.STEP, run=owner.name, run_uid=owner.uid, step=step)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def describe(trigger: Trigger) -> str:
    """A tick for people."""
    return f"{trigger.schedule!r} ({trigger.time_zone}) at {names.moment(trigger.time) if trigger.time else '-'}"


def standing(run: Run, trigger: Trigger, workflow: Workflow) -> Standing:
    """Whether a run is the run of its tick, by the Workflow as read after the run was seen.

    A tick's run is created first and recorded then. So a run of that name that comes to be later, by an operator that
    was frozen on its way, after the first one was deleted, finds another UID recorded, or its tick long decided.
    """
    entry = next((entry for entry in workflow.status.cron if _is_of(entry, trigger)), None)
    if entry and any(known.uid == run.metadata.uid for known in entry.runs):
        return Standing.ITS
    if entry and trigger.time and entry.decided_time < trigger.time:
        return Standing.WAITS
    return Standing.NOT


def _is_of(entry: CronStatus, trigger: Trigger) -> bool:
    return (entry.schedule, entry.time_zone) == (trigger.schedule, trigger.time_zone)


def triggered(run: Run, trigger: Trigger) -> Run:
    """The run with its trigger in the status: whatever is written next takes it along."""
    return msgspec.structs.replace(run, status=msgspec.structs.replace(run.status, trigger=trigger))


def hold(run: Run, workflow: Workflow | None, now: datetime) -> tuple[str, str, datetime | None] | None:
    """Reason and message of what keeps a run from its start, and when it ends by itself."""
    if run.spec.suspend:
        return "Suspended", "spec.suspend is true: set it to false to start", None
    if run.spec.run_at and now < run.spec.run_at:
        return "Scheduled", f"starts at {names.moment(run.spec.run_at.astimezone(UTC))}", run.spec.run_at
    if workflow and workflow.spec.suspend:
        return "WorkflowSuspended", f"spec.suspend of Workflow {workflow.metadata.name!r} is true", None
    return None
