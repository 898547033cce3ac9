"""Schedules start runs by themselves: each tick exactly one, whatever happens to the operator."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.kube import IMAGE, Kube, Object, run, run_of, shell, workflow
from tests.e2e.test_operator import kill, operators, until_ready
from tests.installation import Installation, scale

EVERY_2_S = "*/2 * * * * *"


def on_schedule(name: str, schedule: str, spec: dict[str, Any] | None = None, **fields: Any) -> Object:
    """A Workflow of one short step with a schedule."""
    trigger = {"schedule": schedule, **fields}
    return workflow(name, {"name": "a", "image": IMAGE}, on={"cron": [trigger]}, **(spec or {}))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def runs_of(kube: Kube, name: str) -> list[Object]:
    """The runs of a Workflow, oldest tick first."""
    runs = [item for item in kube.list("workflowruns", "adze.dev/trigger=cron") if item["spec"]["workflow"] == name]
    return sorted(runs, key=lambda item: item["metadata"]["name"])


def tick(item: Object) -> datetime:
    return moment(item["metadata"]["annotations"]["adze.dev/scheduled-time"])


def started(kube: Kube, name: str, least: int, timeout: float = 60) -> list[Object]:
    """The runs of a Workflow once there are so many; their number is looked at by the schedule's own count."""
    end = time.monotonic() + timeout
    while len(runs := runs_of(kube, name)) < least:
        assert time.monotonic() < end, f"{len(runs)} runs; {kube.must('get', 'workflow', name, '-o', 'yaml')}"
        time.sleep(0.5)
    return runs


def stopped(kube: Kube, name: str) -> Object:
    """The status of the Workflow's only schedule after it was suspended: no more ticks come."""
    kube.patch("workflow", name, suspend=True)
    seen = kube.until(
        "suspended", "workflow", name, lambda item: item["status"]["cron"][0].get("reason") == "Suspended"
    )
    schedule: Object = seen["status"]["cron"][0]
    return schedule


def accounted(kube: Kube, name: str) -> tuple[list[datetime], int]:
    """The ticks with runs and the number of missed ones of a suspended workflow. Together they leave out no tick."""
    schedule = stopped(kube, name)
    ticks = [tick(item) for item in runs_of(kube, name)]
    missed = schedule.get("missed", 0)
    assert len(set(ticks)) == len(ticks)
    span = max(ticks[-1], moment(schedule.get("lastMissedTime", "2000-01-01T00:00:00Z"))) - ticks[0]
    assert len(ticks) + missed == span // timedelta(seconds=2) + 1, (ticks, schedule)
    return ticks, missed


def test_each_tick_starts_a_run_that_knows_it(kube: Kube) -> None:
    applied = datetime.now(UTC)
    kube.apply(on_schedule("clock", EVERY_2_S, timeZone="Asia/Tokyo", input={"who": "me"}))
    runs = started(kube, "clock", 5)
    ticks, missed = accounted(kube, "clock")
    assert missed == 0
    assert ticks[0] > applied
    lateness = []
    for item in runs:
        expected = rf"clock-{tick(item):%Y%m%d-%H%M%S}-[0-9a-f]{{6}}"
        assert re.fullmatch(expected, item["metadata"]["name"])
        assert item["spec"]["input"] == {"who": "me"}
        status = kube.ended(item["metadata"]["name"])
        assert status["phase"] == "Succeeded"
        assert status["trigger"] == {
            "kind": "Cron",
            "schedule": EVERY_2_S,
            "timeZone": "Asia/Tokyo",
            "time": item["metadata"]["annotations"]["adze.dev/scheduled-time"],
        }
        lateness.append((moment(status["startTime"]) - tick(item)).total_seconds())
    print("start after tick, s:", sorted(lateness))
    wide = kube.must("get", "workflowruns", "-o", "wide")
    assert "TRIGGER" in wide
    assert "Cron" in wide


def test_a_schedule_says_when_it_ran_and_when_it_will(kube: Kube) -> None:
    kube.apply(on_schedule("yearly", "0 9 24 12 *", timeZone="Europe/Berlin"))
    status = kube.until("seen", "workflow", "yearly", lambda item: "nextRunTime" in item.get("status", {}))["status"]
    following = moment(status["nextRunTime"])
    assert (following.month, following.day, following.hour) == (12, 24, 8)
    assert following > datetime.now(UTC)
    assert status["cron"][0]["nextRunTime"] == status["nextRunTime"]
    assert status["nextRunTime"] in kube.must("get", "workflow", "yearly", "-o", "wide")


def test_an_operator_killed_again_and_again_loses_and_doubles_no_tick(kube: Kube) -> None:
    kube.apply(on_schedule("clock", EVERY_2_S))
    started(kube, "clock", 2)
    for _ in range(3):
        for pod in operators(kube.adze):
            kill(kube.adze, pod["metadata"]["name"])
        until_ready(kube.adze)
        started(kube, "clock", len(runs_of(kube, "clock")) + 2)
    ticks, missed = accounted(kube, "clock")
    print(f"{len(ticks)} runs, {missed} missed")
    for item in runs_of(kube, "clock"):
        assert kube.ended(item["metadata"]["name"])["phase"] == "Succeeded"


def test_an_operator_that_was_away_makes_up_for_what_it_was_told_to(adze: Installation, kube: Kube) -> None:
    policies = ("Skip", "RunLatest", "RunAll")
    for missed in policies:
        kube.apply(on_schedule(missed.lower(), EVERY_2_S, missed=missed))
    for missed in policies:
        started(kube, missed.lower(), 1)
    scale(adze, 0)
    down = datetime.now(UTC)
    while datetime.now(UTC) < down + timedelta(seconds=24):
        time.sleep(0.5)
    scale(adze, 1)
    up = datetime.now(UTC)
    for missed in policies:
        kube.until(
            "caught up",
            "workflow",
            missed.lower(),
            lambda item: moment(item["status"]["cron"][0]["decidedTime"]) > up,
        )
    counts = {missed: accounted(kube, missed.lower()) for missed in policies}
    print({missed: (len(ticks), gone) for missed, (ticks, gone) in counts.items()})
    assert counts["Skip"][1] >= 4
    assert counts["RunLatest"][1] >= 4
    assert counts["RunAll"][1] == 0
    events = json.loads(kube.must("get", "events", "-o", "json"))["items"]
    told = {event["involvedObject"]["name"] for event in events if event["reason"] == "TicksMissed"}
    assert told == {"skip", "runlatest"}


def test_a_suspended_schedule_starts_nothing_and_makes_up_for_nothing(kube: Kube) -> None:
    kube.apply(on_schedule("clock", EVERY_2_S, missed="RunAll"))
    started(kube, "clock", 1)
    stopped(kube, "clock")
    before = len(runs_of(kube, "clock"))
    ready = kube.get("workflow", "clock")["status"]["conditions"][0]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "True", "Suspended")
    halted = datetime.now(UTC)
    while datetime.now(UTC) < halted + timedelta(seconds=6):
        time.sleep(0.5)
    assert len(runs_of(kube, "clock")) == before
    kube.patch("workflow", "clock", suspend=False)
    runs = started(kube, "clock", before + 1)
    assert tick(runs[before]) > halted + timedelta(seconds=6)


def test_what_is_wrong_with_a_schedule_is_told(kube: Kube) -> None:
    bad = [{"schedule": "61 * * * *"}, {"schedule": "@daily", "timeZone": "Mars/Phobos"}]
    kube.apply(workflow("bad", {"name": "a", "image": IMAGE}, on={"cron": bad}))
    seen = kube.until("reviewed", "workflow", "bad", lambda item: bool(item.get("status", {}).get("conditions")))
    ready = seen["status"]["conditions"][0]
    assert (ready["status"], ready["reason"]) == ("False", "Invalid")
    assert "spec.on.cron[0].schedule: '61 * * * *': bad minute" in ready["message"]
    assert "spec.on.cron[1].timeZone: 'Mars/Phobos' is no time zone" in ready["message"]


def test_what_can_be_refused_at_apply_is(kube: Kube) -> None:
    twice = [{"schedule": "@daily"}, {"schedule": "@daily", "timeZone": "UTC"}]
    assert "Duplicate value" in kube.refused(workflow("w", {"name": "a", "image": IMAGE}, on={"cron": twice}))
    assert "missed" in kube.refused(on_schedule("w", "@daily", missed="Sometimes"))
    assert "has no triggers" in kube.refused(run("r", shell("true", name="a"), on={"cron": [{"schedule": "@daily"}]}))
    bare = "apiVersion: adze.dev/v1alpha1\nkind: Workflow\nmetadata: {name: w}\nspec:\n  on: {cron: []}\n  steps: []\n"
    done = kube.kubectl("apply", "-f", "-", stdin=bare)
    assert done.returncode != 0
    assert 'unknown field "spec.true"' in done.stderr


def test_a_run_at_a_moment(kube: Kube) -> None:
    kube.apply(workflow("later", {"name": "a", "image": IMAGE}))
    due = (datetime.now(UTC) + timedelta(seconds=8)).replace(microsecond=0)
    text = f"{due:%Y-%m-%dT%H:%M:%SZ}"
    kube.apply(run_of("soon", "later", runAt=text), run_of("never", "later", runAt="2199-01-01T00:00:00+02:00"))
    for name in ("soon", "never"):
        kube.until("Scheduled", "workflowrun", name, lambda item: item.get("status", {}).get("reason") == "Scheduled")
    refused = kube.kubectl("patch", "workflowrun", "soon", "--type=merge", "-p", '{"spec":{"runAt":null}}')
    assert "runAt must not change" in refused.stderr
    kube.patch("workflowrun", "never", cancel=True)
    assert kube.ended("never")["phase"] == "Cancelled"
    status = kube.ended("soon", timeout=120)
    assert status["phase"] == "Succeeded", status
    assert moment(status["startTime"]) >= due
    print("start after runAt, s:", (moment(status["startTime"]) - due).total_seconds())
    assert status["trigger"] == {"kind": "Scheduled", "time": text}
    assert "runAt" in kube.refused(run_of("odd", "later", runAt="tomorrow"))


@pytest.fixture
def two(adze: Installation) -> Any:
    """An installation with two replicas."""
    scale(adze, 2)
    yield adze
    scale(adze, 1)


def test_of_many_runs_with_a_key_one_does_the_work(two: Installation, kube: Kube) -> None:
    kube.apply(workflow("charge", {"name": "a", **shell("sleep 2")}))
    kube.apply(*(run_of(f"r{number}", "charge", idempotencyKey="order-7") for number in range(12)))
    ends = {f"r{number}": kube.ended(f"r{number}") for number in range(12)}
    (worker,) = [name for name, status in ends.items() if status["phase"] == "Succeeded"]
    others = [status for name, status in ends.items() if name != worker]
    assert {(status["phase"], status["reason"], status["duplicateOf"]) for status in others} == {
        ("Cancelled", "Duplicate", worker)
    }
    assert len(kube.list("pods")) == 1
    kube.apply(run_of("after", "charge", idempotencyKey="order-7"), run_of("other", "charge", idempotencyKey="order-8"))
    assert kube.ended("after")["phase"] == kube.ended("other")["phase"] == "Succeeded"


def test_a_key_with_a_window_is_taken_beyond_the_end_of_its_run(kube: Kube) -> None:
    kube.apply(workflow("charge", {"name": "a", "image": IMAGE}))
    kube.apply(run_of("first", "charge", idempotencyKey="k", idempotencyWindow="25s"))
    taken = moment(kube.ended("first")["keyTime"])
    kube.must("delete", "workflowrun", "first")
    kube.apply(run_of("second", "charge", idempotencyKey="k", idempotencyWindow="25s"))
    status = kube.ended("second")
    assert (status["reason"], status["duplicateOf"]) == ("Duplicate", "first")
    while datetime.now(UTC) < taken + timedelta(seconds=26):
        time.sleep(0.5)
    kube.apply(run_of("third", "charge", idempotencyKey="k"))
    assert kube.ended("third")["phase"] == "Succeeded"
    assert "needs an idempotencyKey" in kube.refused(run_of("fourth", "charge", idempotencyWindow="1m"))


def test_runs_of_a_suspended_workflow_wait(kube: Kube) -> None:
    kube.apply(workflow("w", {"name": "a", "image": IMAGE}, suspend=True), run_of("r", "w"))
    waiting = kube.until("held", "workflowrun", "r", lambda item: item.get("status", {}).get("reason") is not None)
    assert (waiting["status"]["phase"], waiting["status"]["reason"]) == ("Pending", "WorkflowSuspended")
    assert "Suspended" in kube.must("get", "workflow", "w")
    kube.patch("workflow", "w", suspend=False)
    status = kube.ended("r")
    assert status["phase"] == "Succeeded"
    assert status["trigger"] == {"kind": "Direct"}
