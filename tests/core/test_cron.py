"""What the schedules of a workflow ask for: which ticks are started, which are missed, and what the status says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from adze.core import cron, names
from adze.core.cron import CATCH_UP, COUNTED, GRACE, OPEN_RUNS, Refusal, Sight
from adze.core.model import CronStatus, TickRun, Workflow
from tests.builders import step, stored, workflow

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOTHING = Sight()


def having(*schedules: dict[str, Any], before: Workflow | None = None, **spec: Any) -> Workflow:
    """A Workflow with these schedules, with the status that it had `before`."""
    made = stored(workflow(step("a"), on={"cron": list(schedules)}, **spec), name="report")
    return msgspec.structs.replace(made, status=before.status) if before else made


def minutely(**fields: Any) -> dict[str, Any]:
    return {"schedule": "* * * * *", **fields}


def at(minute: float, second: float = 0) -> datetime:
    """Minutes after noon."""
    return NOON + timedelta(minutes=minute, seconds=second)


def look(
    before: Workflow, now: datetime, sight: Sight = NOTHING, refused: Refusal | None = None
) -> tuple[Workflow, list[str], cron.Record]:
    """The Workflow after a look, the names of the runs that were to be started, and the record."""
    agenda = cron.agenda(before, sight, now)
    start = [tick for tick in agenda.ticks if tick.start]
    results = {tick.run: refused or TickRun(name=tick.run, uid=f"uid-{tick.run}", time=tick.time) for tick in start}
    record = cron.record(before, agenda, results, sight, now)
    status = msgspec.json.decode(msgspec.json.encode(record.status), type=type(record.status))
    return msgspec.structs.replace(before, status=status), [tick.run for tick in start], record


def seen(*schedules: dict[str, Any], now: datetime = NOON, **spec: Any) -> Workflow:
    """The Workflow after it was seen for the first time."""
    after, started, _ = look(having(*schedules, **spec), now)
    assert started == []
    return after


def entry(of: Workflow, index: int = 0) -> CronStatus:
    return of.status.cron[index]


def times(started: list[str]) -> list[str]:
    return [name.split("-")[2] for name in started]


def test_what_was_before_the_first_sight_is_past() -> None:
    after = seen(minutely(missed="RunAll"), now=at(0, 30))
    assert (entry(after).decided_time, entry(after).next_run_time) == (at(0, 30), at(1))
    assert after.status.next_run_time == at(1)


def test_a_tick_starts_its_run_at_its_time() -> None:
    before = seen(minutely())
    _, started, record = look(before, at(0, 59.999))
    assert (started, record.wake) == ([], at(1))
    after, started, record = look(before, at(1))
    assert started == [names.tick_run("report", "* * * * *", "UTC", at(1))]
    assert started[0].startswith("report-20260301-120100-")
    assert record.wake == at(2)
    assert entry(after).last_schedule_time == entry(after).decided_time == at(1)
    assert [run.name for run in entry(after).runs] == started


def test_nothing_is_written_where_nothing_is_due() -> None:
    before = seen(minutely())
    assert look(before, at(0, 30))[0].status == before.status


def test_names_differ_by_workflow_schedule_zone_and_tick_and_fit_a_label() -> None:
    cases = [
        ("report", "* * * * *", "UTC", at(1)),
        ("report", "* * * * *", "UTC", at(2)),
        ("report", "*/1 * * * *", "UTC", at(1)),
        ("report", "* * * * *", "Europe/Berlin", at(1)),
        ("r" * 253, "* * * * *", "UTC", at(1)),
        ("r" * 252 + "s", "* * * * *", "UTC", at(1)),
        ("r" * 39 + ".x" * 20, "* * * * *", "UTC", at(1)),
    ]
    made = [names.tick_run(*case) for case in cases]
    assert len(set(made)) == len(made)
    assert all(len(name) <= 63 and ".-" not in name for name in made)


@pytest.mark.parametrize("missed", ["Skip", "RunLatest", "RunAll"])
def test_what_another_operator_can_start_soon_is_on_time(missed: str) -> None:
    before = seen({"schedule": "*/3 * * * * *", "missed": missed})
    after, started, _ = look(before, NOON + GRACE)
    assert times(started) == ["120003", "120006", "120009"]
    assert entry(after).missed == 0


@pytest.mark.parametrize(
    ("missed", "started", "count"),
    [("Skip", [], 3), ("RunLatest", ["120300"], 2), ("RunAll", ["120100", "120200", "120300"], 0)],
)
def test_ticks_that_nobody_started(missed: str, started: list[str], count: int) -> None:
    after, found, record = look(seen(minutely(missed=missed)), at(3, 30))
    assert times(found) == started
    assert (entry(after).missed, entry(after).decided_time) == (count, at(3))
    assert entry(after).last_missed_time == (at(3) if missed == "Skip" else at(2) if count else None)
    assert [notice.reason for notice in record.notices] == (["TicksMissed"] if count else [])
    assert record.wake == at(4)
    assert look(after, at(3, 31))[1:2] == ([],), "once is enough"


def test_the_latest_is_enough_where_one_is_on_time() -> None:
    _, started, _ = look(seen(minutely(missed="RunLatest")), at(3, 2))
    assert times(started) == ["120300"]


@pytest.mark.parametrize(
    ("missed", "deadline", "started"),
    [
        ("RunAll", "90s", ["120200", "120300"]),
        ("RunLatest", "20s", []),
        ("RunLatest", "40s", ["120300"]),
        ("Skip", "1h", []),
    ],
)
def test_nothing_is_started_after_its_deadline(missed: str, deadline: str, started: list[str]) -> None:
    after, found, _ = look(seen(minutely(missed=missed, startingDeadline=deadline)), at(3, 30))
    assert times(found) == started
    assert entry(after).missed == 3 - len(started)


def test_a_deadline_may_be_shorter_than_what_is_on_time() -> None:
    _, started, _ = look(seen(minutely(startingDeadline="2s")), at(1, 3))
    assert started == []


def test_run_all_makes_up_for_no_more_than_the_last_hundred() -> None:
    after, started, _ = look(seen(minutely(missed="RunAll")), at(300, 30))
    assert len(started) == CATCH_UP
    assert times(started)[-1] == "170000"
    assert entry(after).missed == 300 - CATCH_UP


@pytest.mark.parametrize(("missed", "least"), [("Skip", 0), ("RunLatest", 1), ("RunAll", CATCH_UP)])
def test_years_of_absence_take_no_long_thought(missed: str, least: int) -> None:
    late = NOON + timedelta(days=1000)
    after, started, record = look(seen({"schedule": "*/20 * * * * *", "missed": missed}), late + timedelta(seconds=15))
    assert len(started) == least
    assert entry(after).decided_time == late
    assert 0 < entry(after).missed <= COUNTED
    assert "or more" in record.notices[0].message
    assert entry(after).next_run_time == late + timedelta(seconds=20)


def test_a_clock_that_jumps_ahead_makes_ticks_missed() -> None:
    after, started, _ = look(seen(minutely()), at(60, 30))
    assert (started, entry(after).missed) == ([], 60)


def test_a_clock_that_jumps_back_repeats_nothing() -> None:
    before = look(seen(minutely()), at(30))[0]
    after, started, record = look(before, at(10))
    assert started == []
    assert after.status.cron[0].decided_time == at(30)
    assert record.wake == at(31)
    assert look(after, at(31))[1] == [names.tick_run("report", "* * * * *", "UTC", at(31))]


@pytest.mark.parametrize("how", ["workflow", "schedule"])
def test_what_passes_while_suspended_is_neither_started_nor_missed(how: str) -> None:
    own, whole = ({"suspend": True}, {}) if how == "schedule" else ({}, {"suspend": True})
    before = seen(minutely(missed="RunAll"))
    stopped, started, record = look(having(minutely(missed="RunAll", **own), before=before, **whole), at(5, 30))
    assert (started, record.wake) == ([], None)
    assert entry(stopped).reason == "Suspended"
    assert how in (entry(stopped).message or "")
    assert entry(stopped).next_run_time is stopped.status.next_run_time is None
    again = look(having(minutely(missed="RunAll", **own), before=stopped, **whole), at(7, 30))[0]
    assert again.status == stopped.status, "no write at each tick"
    resumed, started, record = look(having(minutely(missed="RunAll"), before=again), at(9, 30))
    assert (started, record.wake) == ([], at(10))
    assert (entry(resumed).reason, entry(resumed).missed) == (None, 0)
    assert times(look(resumed, at(10))[1]) == ["121000"]


def test_an_edited_schedule_counts_from_when_it_is_seen() -> None:
    before = seen(minutely(missed="RunAll"))
    after, started, _ = look(having({"schedule": "*/2 * * * *", "missed": "RunAll"}, before=before), at(5, 30))
    assert started == []
    assert [one.schedule for one in after.status.cron] == ["*/2 * * * *"]
    assert entry(after).next_run_time == at(6)


def test_other_fields_of_a_schedule_may_be_edited_at_any_time() -> None:
    before = seen(minutely())
    _, started, _ = look(having(minutely(missed="RunAll", input={"x": 1}), before=before), at(2, 30))
    assert times(started) == ["120100", "120200"]


def test_a_schedule_that_was_taken_away_is_remembered_until_its_run_knows() -> None:
    before, (run,), _ = look(seen(minutely()), at(1))
    after, _, record = look(having(before=before), at(1, 1))
    assert [one.runs[0].name for one in after.status.cron] == [run]
    assert record.wake is not None
    assert look(after, at(2, 1), Sight(knowing=frozenset({f"uid-{run}"})))[0].status.cron == ()


def test_runs_that_know_their_tick_are_forgotten() -> None:
    before, (run,), _ = look(seen(minutely()), at(1))
    after = look(before, at(2), Sight(knowing=frozenset({f"uid-{run}"})))[0]
    assert [one.time for one in entry(after).runs] == [at(2)]


def test_no_more_runs_are_started_than_can_be_remembered() -> None:
    before = seen({"schedule": "* * * * * *", "missed": "RunAll"})
    now = NOON
    for _ in range(6):
        now += timedelta(minutes=2)
        before = look(before, now)[0]
    assert len(entry(before).runs) == OPEN_RUNS


def test_many_schedules_share_the_room_and_lose_nothing() -> None:
    schedules = [
        {"schedule": f"*/5 * * * * {day}", "missed": "RunAll"} for day in ("*", "0-6", "SUN-SAT", "0,1,2,3,4,5,6")
    ]
    before = seen(*schedules, minutely(missed="RunAll"))
    now, total = at(6, 40), 0
    for _ in range(4):
        before, started, record = look(before, now, Sight(knowing=uids(before)))
        total += len(started)
        assert sum(len(one.runs) for one in before.status.cron) <= OPEN_RUNS
    assert total == 4 * 80 + 6
    assert not record.behind


def uids(of: Workflow) -> frozenset[str]:
    return frozenset(run.uid for one in of.status.cron for run in one.runs)


def test_a_run_that_is_there_already_is_its_ticks_however_late() -> None:
    name = names.tick_run("report", "* * * * *", "UTC", at(1))
    after, started, _ = look(seen(minutely()), at(3, 30), Sight(waiting={name: "uid"}))
    assert started == [name]
    assert (entry(after).missed, entry(after).last_schedule_time) == (2, at(1))


def test_a_refused_run_keeps_its_tick() -> None:
    before = seen(minutely(missed="RunAll"))
    refused = Refusal("exceeded quota")
    after, started, record = look(before, at(1), refused=refused)
    assert len(started) == 1
    assert (entry(after).decided_time, entry(after).missed) == (NOON, 0)
    assert (entry(after).reason, record.notices[0].reason) == ("RunRefused", "RunRefused")
    assert "exceeded quota" in (entry(after).message or "")
    repeated = look(after, at(1, 5), refused=refused)
    assert repeated[2].notices == (), "told once"
    healed, started, _ = look(after, at(1, 30))
    assert times(started) == ["120100"]
    assert (entry(healed).reason, entry(healed).message) == (None, None)


def test_a_name_that_is_another_s_makes_the_tick_a_missed_one() -> None:
    after, _, record = look(seen(minutely()), at(1), refused=Refusal("there is another run of this name", lasts=True))
    assert (entry(after).decided_time, entry(after).missed) == (at(1), 1)
    assert {notice.reason for notice in record.notices} == {"RunRefused", "TicksMissed"}


def test_several_schedules_have_one_next_run() -> None:
    after = seen(
        minutely(suspend=True), {"schedule": "0 13 * * *"}, {"schedule": "0 13 * * *", "timeZone": "Asia/Tokyo"}
    )
    assert after.status.next_run_time == NOON + timedelta(hours=1)
    assert [one.next_run_time for one in after.status.cron] == [
        None,
        NOON + timedelta(hours=1),
        NOON + timedelta(hours=16),
    ]


@pytest.mark.parametrize(
    ("trigger", "field", "words"),
    [
        ({"schedule": "61 * * * *"}, "schedule", "bad minute"),
        ({"schedule": "@daily", "timeZone": "Mars/Phobos"}, "timeZone", "no time zone"),
        ({"schedule": "@daily", "startingDeadline": "9999999h"}, "startingDeadline", "ten years"),
        ({"schedule": "@daily", "input": {"x": "text"}}, "input", "x"),
    ],
)
def test_a_bad_schedule_is_told_and_stops_no_other(trigger: dict[str, Any], field: str, words: str) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    made = having(minutely(), trigger, input=schema)
    from adze.core.revision import compile_workflow

    (problem,) = cron.problems(made.spec, compile_workflow(made.definition).input)
    assert problem.field == f"spec.on.cron[1].{field}"
    assert words in problem.message
    assert len(look(made, NOON)[0].status.cron) == (2 if field == "input" else 1)
