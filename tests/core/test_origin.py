"""What has started a run, what keeps one from its start, and which one is a tick's."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from adze.core import manifest, names, planner
from adze.core.model import Attempt, CronStatus, Phase, Run, TickRun, Workflow
from adze.core.model.base import Annotations, Labels
from adze.core.origin import DUPLICATE, TICK_PATIENCE
from adze.core.planner import WORKFLOW_PATIENCE
from adze.core.values import Values
from tests.builders import NOW, POLICY, UID, Drive, revision, run, seconds, step, stored, workflow

ONE = workflow(step("a"))
TICK = datetime(2026, 3, 1, 11, 59, tzinfo=UTC)
NAME = names.tick_run("hello", "* * * * *", "UTC", TICK)


def of_tick(name: str = NAME, **annotations: str) -> Run:
    """A run as a schedule creates it."""
    new = run("hello", name=name)
    marks = {names.SCHEDULE: "* * * * *", names.TIME_ZONE: "UTC", names.SCHEDULED_TIME: names.moment(TICK)}
    metadata = msgspec.structs.replace(
        new.metadata, labels=Labels(trigger="cron"), annotations=msgspec.convert(marks | annotations, Annotations)
    )
    return msgspec.structs.replace(new, metadata=metadata)


def of_event() -> Run:
    """A run as an event creates it."""
    new = run("hello")
    labels = Labels(trigger="event", event="event-1")
    return msgspec.structs.replace(new, metadata=msgspec.structs.replace(new.metadata, labels=labels))


def of_step(item: int | None = None, attempt: int = 1) -> dict[str, Any]:
    """A run as a workflow step of run `top` creates it, as the API server has it."""
    node = revision(step("a", workflow={"name": "hello"})).nodes["a"]
    node = node if item is None else replace(node, index=item)
    parent = run("top", name="top-1")
    name = names.pod("top-1", UID, "a", attempt, item)
    return manifest.build(parent, node, Attempt(number=attempt, run=name), Values(parent, {}, {}), POLICY)


def recorded(decided: datetime, *uids: str, zone: str = "UTC", **spec: Any) -> Workflow:
    """The Workflow with its schedule decided up to a moment, and the tick's run recorded under a UID."""
    runs = tuple(TickRun(name=NAME, uid=uid, time=TICK) for uid in uids)
    entry = CronStatus(schedule="* * * * *", time_zone=zone, decided_time=decided, runs=runs)
    found = stored(workflow(step("a"), **spec))
    return msgspec.structs.replace(found, status=msgspec.structs.replace(found.status, cron=(entry,)))


def begin(subject: Run, found: Workflow | None, now: datetime = NOW) -> planner.Plan:
    return planner.begin(subject, found, now)


def test_a_recorded_run_begins_and_says_what_started_it() -> None:
    subject = of_tick()
    plan = begin(subject, recorded(TICK, subject.metadata.uid))
    assert plan.status is not None
    assert plan.status.workflow_spec is not None
    assert msgspec.to_builtins(plan.status.trigger) == {
        "kind": "Cron",
        "schedule": "* * * * *",
        "timeZone": "UTC",
        "time": "2026-03-01T11:59:00Z",
    }


def test_a_run_whose_tick_isn_t_recorded_waits_without_a_word() -> None:
    plan = begin(of_tick(), recorded(TICK - seconds(60)))
    assert (plan.status, plan.wake) == (None, NOW + TICK_PATIENCE)


@pytest.mark.parametrize(
    "found",
    [recorded(TICK, "another"), recorded(TICK), recorded(NOW), recorded(TICK, zone="Asia/Tokyo"), stored(ONE)],
    ids=["another is recorded", "counts as missed", "long decided", "another schedule", "no schedule"],
)
def test_a_run_that_is_not_its_tick_s_never_begins(found: Workflow) -> None:
    plan = begin(of_tick(), found)
    assert plan.status is not None
    assert (plan.status.phase, plan.status.reason) == ("Cancelled", DUPLICATE)
    assert plan.status.workflow_spec is None
    assert "2026-03-01T11:59:00Z" in (plan.status.message or "")


def test_a_run_that_knows_its_tick_is_not_asked_again() -> None:
    subject = of_tick()
    held = begin(subject, recorded(TICK, subject.metadata.uid, suspend=True))
    assert held.status is not None
    assert held.status.reason == "WorkflowSuspended"
    known = msgspec.structs.replace(subject, status=held.status)
    plan = begin(known, recorded(NOW))
    assert plan.status is not None
    assert plan.status.workflow_spec is not None


@pytest.mark.parametrize(
    "copy",
    [
        of_tick("hello-by-hand"),
        of_tick(**{names.SCHEDULED_TIME: "2026-03-01T11:58:00Z"}),
        of_tick(**{names.SCHEDULED_TIME: "yesterday"}),
        of_tick(**{names.SCHEDULED_TIME: "2026-03-01T11:59:00"}),
        of_tick(**{names.TIME_ZONE: "Asia/Tokyo"}),
    ],
)
def test_a_copy_of_a_tick_s_run_is_a_run_by_hand(copy: Run) -> None:
    plan = begin(copy, recorded(NOW))
    assert plan.status is not None
    assert plan.status.trigger is not None
    assert plan.status.trigger.kind == "Direct"


@pytest.mark.parametrize(
    ("made", "part"), [(of_step(), "a"), (of_step(attempt=12), "a"), (of_step(item=3, attempt=2), "a[3]")]
)
def test_a_child_run_names_its_parent(made: dict[str, Any], part: str) -> None:
    child = msgspec.convert(made, Run)
    assert child.metadata.labels.trigger == "step"
    plan = begin(child, stored(ONE))
    assert plan.status is not None
    parent = {"kind": "Step", "run": "top-1", "runUid": UID, "step": part}
    assert msgspec.to_builtins(plan.status.trigger) == parent
    assert Values(child, {}, {})["run.trigger"] == "Step"


def _changed(made: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {**made, "metadata": {**made["metadata"], **metadata}}


def _owned(**fields: Any) -> dict[str, Any]:
    made = of_step()
    return _changed(made, ownerReferences=[made["metadata"]["ownerReferences"][0] | fields])


@pytest.mark.parametrize(
    "copy",
    [
        _changed(of_step(), ownerReferences=[]),
        _changed(of_step(), name="by-hand"),
        _changed(of_step(), labels={**of_step()["metadata"]["labels"], "adze.dev/step": "b"}),
        _changed(of_step(), labels={"adze.dev/trigger": "step"}),
        _owned(uid="another"),
        _owned(controller=False),
    ],
    ids=["labels alone", "another name", "another step", "owner alone", "another owner", "no controller"],
)
def test_what_looks_like_a_child_run_is_a_run_by_hand(copy: dict[str, Any]) -> None:
    plan = begin(msgspec.convert(copy, Run), stored(ONE))
    assert plan.status is not None
    assert msgspec.to_builtins(plan.status.trigger) == {"kind": "Direct"}


def test_a_run_at_a_moment_waits_for_it() -> None:
    due = NOW + timedelta(hours=1)
    drive = Drive(workflow(step("a"), timeout="10m"), run_at=due).until_quiet()
    assert (drive.phase, drive.run.status.reason, drive.wake) == (Phase.PENDING, "Scheduled", due)
    assert drive.run.status.message == "starts at 2026-03-01T13:00:00Z"
    writes = drive.writes
    drive.pass_time(3599)
    assert (drive.writes, drive.live) == (writes, set())
    drive.until_wake()
    assert drive.run.status.start_time == due
    assert drive.live == {"a"}
    drive.pass_time(599)
    assert drive.phase is Phase.RUNNING, "the timeout counts from the start"


def test_a_run_at_a_moment_can_be_cancelled() -> None:
    drive = Drive(ONE, run_at=NOW + timedelta(hours=1)).until_quiet().ask(cancel=True)
    assert (drive.phase, drive.created) == (Phase.CANCELLED, [])


def test_a_bad_input_is_told_at_once_though_the_run_is_for_later() -> None:
    typed = workflow(step("a"), input={"type": "object", "required": ["x"]})
    drive = Drive(typed, run_at=NOW + timedelta(hours=1)).until_quiet()
    assert drive.run.status.reason == "InvalidInput"


def test_a_moment_that_has_passed_is_now() -> None:
    assert Drive(ONE, run_at=NOW - timedelta(days=1)).until_quiet().live == {"a"}


def test_a_run_for_later_waits_for_its_workflow_until_then() -> None:
    due = NOW + timedelta(hours=1)
    plan = begin(run("hello", run_at=due), None)
    assert plan.wake == due + WORKFLOW_PATIENCE


def test_runs_of_a_suspended_workflow_wait_and_go_on() -> None:
    held = begin(run("hello"), stored(workflow(step("a"), suspend=True)))
    assert held.status is not None
    assert (held.status.phase, held.status.reason) == ("Pending", "WorkflowSuspended")
    waiting = msgspec.structs.replace(run("hello"), status=held.status)
    again = begin(waiting, stored(workflow(step("a"), suspend=True)), NOW + seconds(60))
    assert (again.status, again.wake) == (None, None)
    resumed = begin(waiting, stored(ONE), NOW + seconds(90))
    assert resumed.status is not None
    assert resumed.status.workflow_spec is not None


def test_a_run_is_frozen_without_what_starts_runs() -> None:
    found = workflow(step("a"), on={"cron": [{"schedule": "@daily", "input": {"big": "x" * 1000}}]})
    plan = begin(run("hello"), stored(found))
    assert plan.status == begin(run("hello"), stored(ONE)).status


def test_a_broken_schedule_breaks_no_run_by_hand() -> None:
    found = workflow(step("a"), on={"cron": [{"schedule": "never"}]})
    plan = begin(run("hello"), stored(found))
    assert plan.status is not None
    assert plan.status.workflow_spec is not None


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (of_tick(), {"run.trigger": "Cron", "run.scheduledTime": "2026-03-01T11:59:00Z"}),
        (run("hello"), {"run.trigger": "Direct", "run.scheduledTime": "2026-03-01T12:00:00Z"}),
        (
            run("hello", run_at=datetime.fromisoformat("2026-03-02T01:00:00+01:00")),
            {"run.trigger": "Scheduled", "run.scheduledTime": "2026-03-02T00:00:00Z"},
        ),
        (of_event(), {"run.trigger": "Event", "run.scheduledTime": "2026-03-01T12:00:00Z"}),
    ],
)
def test_expressions_see_trigger_and_moment(subject: Run, expected: dict[str, str]) -> None:
    values = Values(subject, {}, {})
    assert {name: values[name] for name in expected} == expected
