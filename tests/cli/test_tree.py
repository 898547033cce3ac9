"""A run as a tree, and as lines of a log. Each run here has been through the planner: no field is made up."""

from collections.abc import Iterable
from typing import Any

import click
import msgspec
import pytest

from adze.cli import describe, tree
from adze.cli.news import news
from adze.cli.table import aligned
from adze.cli.watch import fitting
from tests.builders import Drive, lost, seconds, step, unschedulable, workflow


def plain(drive: Drive) -> dict[str, Any]:
    """The run as the API server has it."""
    run: dict[str, Any] = msgspec.to_builtins(drive.run)
    return run


def shown(drive: Drive, later: float = 0, **how: Any) -> list[str]:
    """The tree, some seconds later."""
    return unstyled(aligned(tree.rows(plain(drive), drive.now + seconds(later), **how)))


def unstyled(lines: Iterable[str]) -> list[str]:
    """Lines as they are where there are no colours."""
    return [click.unstyle(line) for line in lines]


def test_steps_stand_below_their_run_with_what_they_wait_for() -> None:
    drive = Drive(workflow(step("fetch"), step("left", parents=["fetch"]), step("join", parents=["fetch", "left"])))
    drive.until_quiet().start("fetch").pass_time(3)
    assert shown(drive, later=60) == [
        "STEP       PHASE     ATTEMPTS   TIME   WHY",
        "hello-1    Running   0/3        1m3s",
        "├─ fetch   Running   1          1m3s",
        "├─ left    Pending                     after fetch",
        "└─ join    Pending                     after fetch, left",
    ]


def test_only_parents_that_have_not_ended_are_waited_for() -> None:
    drive = Drive(workflow(step("a"), step("b"), step("join", parents=["a", "b"]))).until_quiet()
    drive.start("b").succeed("a")
    assert shown(drive)[4].endswith("after b")


def test_a_backoff_shows_the_attempts_and_when_the_next_one_comes() -> None:
    drive = Drive(workflow(step("charge", retries=3, backoff={"base": "8s"}))).until_quiet()
    drive.start("charge").pass_time(2).fail("charge", exit_code=7, message="no money")
    why = "Backoff: again in 5s: attempt 1 of 4 failed: ExitCode: exit code 7: no money"
    assert shown(drive, later=3)[2] == f"└─ charge   Pending   1/4        3s     {why}"
    assert "again now" in shown(drive, later=9)[2]
    drive.until_wake().start("charge").pass_time(2)
    assert [line.split()[:4] for line in shown(drive)[2:]] == [
        ["└─", "charge", "Running", "2/4"],
        ["├─", "attempt", "1", "Failed"],
        ["└─", "attempt", "2", "Running"],
    ]


def test_a_lost_attempt_is_counted_apart() -> None:
    drive = Drive(workflow(step("a"))).until_quiet().start("a").change("a", lost)
    assert "0 +1 lost" in shown(drive)[2]
    assert shown(drive)[3].split()[:4] == ["└─", "attempt", "1", "Lost"]
    drive.until_wake().start("a").succeed("a")
    assert "1 +1 lost" in shown(drive)[2]


def test_items_that_failed_or_are_in_flight_have_rows() -> None:
    fetch = step("fetch", forEach="input.urls", maxParallel=12, failurePolicy="Continue")
    drive = Drive(workflow(fetch), input={"urls": list(range(20))}).until_quiet()
    drive.start("fetch[0]").pass_time(2).fail("fetch[0]", exit_code=7, message="no route").succeed("fetch[1]")
    lines = shown(drive)
    assert lines[3].split()[:4] == ["├─", "fetch[0]", "Failed", "1"]
    assert lines[3].endswith("ExitCode: exit code 7: no route")
    assert [line.split()[1] for line in lines[4:-1]] == [f"fetch[{index}]" for index in range(2, 11)]
    assert lines[-1].split() == ["└─", "3", "more"]


def test_why_a_pod_waits_is_told() -> None:
    drive = Drive(workflow(step("a"))).until_quiet().change("a", unschedulable).pass_time(3)
    assert shown(drive)[2].endswith("Unschedulable: 0/3 nodes are available: 3 Insufficient memory.")


def test_handlers_are_named_and_the_run_tells_why_it_failed() -> None:
    spec = workflow(step("a"), step("b", parents=["a"]), on_failure=step("alert"), finally_=[step("tidy")])
    drive = Drive(spec).until_quiet().fail("a", exit_code=2).succeed("alert").succeed("tidy")
    names = [line.split("  ")[0] for line in shown(drive)]
    assert names == ["STEP", "hello-1", "├─ a", "├─ b", "├─ onFailure: alert", "└─ finally: tidy"]
    assert "StepFailed: a: ExitCode: exit code 2" in shown(drive)[1]
    assert shown(drive)[3].split()[2:] == ["Cancelled", "ParentFailed:", "a", "ended", "Failed"]


def test_a_run_that_nobody_looks_at_says_so_after_a_while() -> None:
    drive = Drive(workflow(step("a")))
    assert "operator" not in shown(drive, later=2)[1]
    assert "does it serve this namespace?" in shown(drive, later=60)[1]


def test_a_wish_shows_until_the_operator_has_taken_it() -> None:
    drive = Drive(workflow(step("a"))).until_quiet().start("a")
    run = plain(drive)
    run["spec"]["suspend"] = True
    assert tree.why_run(run, drive.now) == "asked to suspend"


def test_a_newer_operators_words_are_shown_as_they_are() -> None:
    run = plain(Drive(workflow(step("a"))).until_quiet())
    run["status"] |= {"phase": "Queued", "reason": "ConcurrencyLimit", "message": "user-7 has 5 of 5", "novel": [1]}
    assert aligned(tree.rows(run, Drive(workflow(step("a"))).now))[1].split()[1:3] == ["Queued", "0/1"]


def test_a_small_terminal_shows_what_goes_on() -> None:
    steps = [step(f"s{number:02}", parents=[f"s{number - 1:02}"] if number else []) for number in range(30)]
    drive = Drive(workflow(*steps)).until_quiet().succeed("s00", "s01", "s02").start("s03").pass_time(3)
    lines = unstyled(fitting(plain(drive), drive.now, 40, 10))
    assert [line.split()[0] for line in lines] == ["STEP", "hello-1", "└─"]
    assert "s03" in lines[2]
    assert len(fitting(plain(drive), drive.now, 40, 50)) == 32


def test_a_wide_graph_is_cut_with_a_count() -> None:
    drive = Drive(workflow(*(step(f"s{number}") for number in range(30)))).until_quiet()
    drive.start(*(f"s{number}" for number in range(30))).pass_time(3)
    lines = unstyled(fitting(plain(drive), drive.now, 40, 10))
    assert len(lines) == 10
    assert lines[-1] == "… and 23 more"
    assert max(map(len, lines)) <= 40


def test_news_are_told_once_with_the_reason() -> None:
    drive = Drive(workflow(step("a", retries=1, backoff={"base": "1s"}), step("b", parents=["a"])))
    told: list[list[str]] = []
    before = None
    moves = (
        lambda: drive.until_quiet(),
        lambda: drive.start("a").pass_time(2),
        lambda: drive.pass_time(60),
        lambda: drive.fail("a", exit_code=3),
        lambda: drive.until_wake(),
        lambda: drive.succeed("a"),
        lambda: drive.succeed("b"),
    )
    for move in moves:
        move()
        run = plain(drive)
        told += [[cell.text for cell in row[1:]] for row in news(before, run, drive.now)]
        before = run
    backoff = "Backoff: again in 1s: attempt 1 of 2 failed: ExitCode: exit code 3"
    assert told == [
        ["a", "Pending", "Starting"],
        ["hello-1", "Running", ""],
        ["a", "Running", "attempt 1 on node-1"],
        ["a", "Pending", backoff],
        ["a", "Pending", "Starting"],
        ["a", "Succeeded", "in 1s"],
        ["b", "Pending", "Starting"],
        ["b", "Succeeded", "in 0s"],
        ["hello-1", "Succeeded", "in 1m3s"],
    ]


@pytest.mark.parametrize(
    ("span", "text"),
    [(0, "0s"), (0.4, "0s"), (59.6, "1m"), (3599, "59m59s"), (3700, "1h1m"), (90000, "1d1h"), (-5, "0s")],
)
def test_a_span_has_two_units_at_most(span: float, text: str) -> None:
    assert tree.short(seconds(span)) == text


def test_a_description_leaves_out_what_there_is_not() -> None:
    drive = Drive(workflow(step("a")), input={"n": 1}).until_quiet().succeed("a", output={"m": 2})
    lines = unstyled(describe.run_lines(plain(drive), drive.now))
    assert 'Input:      {"n": 1}' in lines
    assert 'Output:     {"m": 2}' in lines
    assert "Workflow:   its own" in lines[2]
    assert not [line for line in lines if line.startswith(("Reason:", "Asked:"))]


@pytest.mark.parametrize(
    ("trigger", "line"),
    [
        ({"kind": "Direct"}, "Direct"),
        ({"kind": "Scheduled", "time": "2030-01-01T00:00:00Z"}, "Scheduled: at 2030-01-01T00:00:00Z"),
        (
            {"kind": "Cron", "schedule": "@daily", "timeZone": "UTC", "time": "2026-03-01T00:00:00Z"},
            "Cron: @daily (UTC), at 2026-03-01T00:00:00Z",
        ),
        ({"kind": "Event", "event": "signup-1"}, "Event: signup-1"),
        ({"kind": "Step", "run": "top-1", "runUid": "u", "step": "a[3]"}, "Step: a[3] of run top-1"),
        ({"kind": "Rerun", "run": "r", "runUid": "u"}, "Rerun"),
    ],
)
def test_a_description_says_what_started_the_run(trigger: dict[str, str], line: str) -> None:
    drive = Drive(workflow(step("a"))).until_quiet()
    shown = plain(drive)
    shown["status"]["trigger"] = trigger
    assert f"Trigger:    {line}" in unstyled(describe.run_lines(shown, drive.now))


def test_a_description_shows_outputs_or_where_they_are() -> None:
    rows = describe.outputs(
        [
            {"name": "small", "output": {"m": 2}},
            {"name": "long", "output": {"m": "x" * 200}},
            {"name": "none"},
            {"name": "large", "outputPage": {"name": "run-large-1", "bytes": 70000}},
            {"name": "each", "items": {"total": 2, "outputs": {"0": {"n": 1}}}},
            {"name": "many", "items": {"total": 9, "pages": ["p-0", "p-1"], "paged": 900}},
        ]
    )
    assert [tuple(cell.text for cell in row) for row in rows] == [
        ("small", '{"m": 2}'),
        ("long", '{"m": "' + "x" * 152 + "…"),
        ("large", "70000 bytes in ConfigMap run-large-1"),
        ("each", '{"0": {"n": 1}}'),
        ("many", "900 bytes of its items in 2 ConfigMaps from p-0 on"),
    ]


def test_words_of_others_do_not_rule_the_terminal() -> None:
    drive = Drive(workflow(step("a"))).until_quiet().fail("a", message="\x1b[2Jboo\x07\nnext\x9b1m")
    lines = [*shown(drive), *unstyled(describe.run_lines(plain(drive), drive.now))]
    assert [line for line in lines if "boo" in line]
    assert not [line for line in lines if any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in line)]


def test_events_come_oldest_first_and_only_the_last() -> None:
    drive = Drive(workflow(step("a")))
    events = [
        {
            "metadata": {"creationTimestamp": (drive.now - seconds(age)).isoformat()},
            "type": "Normal",
            "reason": f"R{age}",
            "message": "m",
        }
        for age in range(12)
    ]
    lines = unstyled(describe.event_lines(events, drive.now))
    assert [line.split()[2] for line in lines] == ["REASON", *(f"R{age}" for age in range(9, -1, -1))]
