"""Attempts, backoff and the budget for losses (design, section 4.2)."""

import pytest

from adze.core.rules.retry import INFRASTRUCTURE_BUDGET
from tests.builders import (
    NOW,
    SIDE,
    Drive,
    disrupted,
    failed,
    lost,
    running,
    seconds,
    step,
    with_sidecar,
    with_status,
    workflow,
)


def drive_of(**fields: object) -> Drive:
    return Drive(workflow(step("a", **fields), step("b", parents=["a"]))).until_quiet()


def test_without_retries_there_is_one_attempt() -> None:
    drive = drive_of().fail("a", exit_code=3, message="no such order")
    assert (drive.step("a").phase, drive.step("a").reason) == ("Failed", "ExitCode")
    assert drive.step("a").message == "exit code 3: no such order"
    assert len(drive.step("a").attempts) == 1
    assert drive.phase == "Failed"


def test_attempts_are_retries_and_one() -> None:
    drive = drive_of(retries=2)
    for number in (1, 2, 3):
        assert drive.attempt("a").number == number
        drive.fail("a").pass_time(3600)
    assert drive.step("a").phase == "Failed"
    assert [attempt.number for attempt in drive.step("a").attempts] == [1, 2, 3]
    assert len({attempt.pod for attempt in drive.step("a").attempts}) == 3
    assert len(drive.created) == 3


def test_a_backoff_is_shown_with_its_end_and_nothing_runs_meanwhile() -> None:
    drive = drive_of(retries=1, backoff={"base": "10s"}).fail("a", exit_code=7)
    status = drive.step("a")
    assert (status.phase, status.reason, status.retry_at) == ("Pending", "Backoff", NOW + seconds(10))
    assert status.message == "attempt 1 of 2 failed: ExitCode: exit code 7"
    assert (drive.run.status.reason, drive.run.status.message) == ("Backoff", f"a: {status.message}")
    assert drive.live == set()
    assert drive.wake == NOW + seconds(10)

    assert drive.pass_time(9.9).live == set()
    assert drive.pass_time(0.1).live == {"a"}
    assert drive.step("a").retry_at is None
    assert drive.step("a").reason == "Starting"


def test_a_success_after_a_failure_is_a_success() -> None:
    drive = drive_of(retries=1).fail("a").until_wake().succeed("a", output={"x": 1}).succeed("b")
    assert drive.phase == "Succeeded"
    assert drive.step("a").output == {"x": 1}
    assert drive.step("a").message is None
    assert [attempt.exit_code for attempt in drive.step("a").attempts] == [1, 0]


def test_the_delays_follow_the_backoff() -> None:
    drive = drive_of(retries=3, backoff={"type": "Linear", "base": "3s"})
    waits = []
    for _ in range(3):
        before = drive.now
        drive.fail("a").until_wake()
        waits.append((drive.now - before).total_seconds())
    assert waits == [3, 6, 9]


def test_a_backoff_of_nothing_starts_the_next_attempt_in_the_same_write() -> None:
    drive = drive_of(retries=1, backoff={"base": "0s"})
    writes = drive.writes
    drive.fail("a")
    assert drive.attempt("a").number == 2
    assert drive.writes == writes + 1


@pytest.mark.parametrize(
    ("retry_when", "exit_code", "again"),
    [
        ("attempt.exitCode != 64", 64, False),
        ("attempt.exitCode != 64", 65, True),
        ("attempt.number < 2", 1, True),
        ("attempt.reason == 'OOMKilled'", 1, False),
        ("attempt.message.contains('exit code 9')", 9, True),
        ("1 / (attempt.exitCode - 5) > 0", 5, False),
    ],
)
def test_retry_when_decides_about_another_attempt(retry_when: str, exit_code: int, again: bool) -> None:
    drive = drive_of(retries=5, retry_when=retry_when).fail("a", exit_code=exit_code)
    assert drive.step("a").phase == ("Pending" if again else "Failed")
    assert drive.step("a").reason == ("Backoff" if again else "ExitCode")


def test_retry_when_does_not_raise_the_limit() -> None:
    drive = drive_of(retries=1, retry_when="true").fail("a").until_wake().fail("a")
    assert drive.step("a").phase == "Failed"


def test_a_broken_retry_when_is_told() -> None:
    drive = drive_of(retries=5, retry_when="1 / (attempt.exitCode - 5) > 0").fail("a", exit_code=5)
    assert "retryWhen: " in (drive.step("a").message or "")


@pytest.mark.parametrize("loss", [lost, lambda one: failed(disrupted(one), 137)])
def test_a_loss_to_infrastructure_uses_up_no_retry(loss: object) -> None:
    drive = drive_of(retries=1)
    for _ in range(3):
        drive.change("a", loss)  # type: ignore[arg-type]
        assert drive.step("a").reason == "Backoff"
        assert "was lost: " in (drive.step("a").message or "")
        assert drive.attempt("a").infrastructure
        drive.until_wake()
    drive.fail("a").until_wake().fail("a")
    assert drive.step("a").phase == "Failed"
    assert [attempt.infrastructure for attempt in drive.step("a").attempts] == [True, True, True, False, False]


def test_losses_have_a_budget_of_their_own() -> None:
    drive = drive_of()
    for _ in range(INFRASTRUCTURE_BUDGET):
        drive.change("a", lost)
        assert drive.step("a").phase == "Pending"
        drive.until_wake()
    drive.change("a", lost)
    assert (drive.step("a").phase, drive.step("a").reason) == ("Failed", "Evicted")
    assert len(drive.created) == drive.attempt("a").number == INFRASTRUCTURE_BUDGET + 1


def test_a_status_keeps_the_newest_attempts_and_counts_them_all() -> None:
    drive = drive_of(retries=12, backoff={"base": "1s", "max": "1s"})
    for number in range(1, 14):
        if number in (2, 8):
            drive.change("a", lost).until_wake()
        drive.fail("a", message="x" * 500)
        if drive.step("a").phase == "Pending":
            drive.until_wake()
    assert (drive.step("a").phase, drive.attempt("a").number, len(drive.created)) == ("Failed", 15, 15)
    assert [attempt.number for attempt in drive.step("a").attempts][-3:] == [13, 14, 15]
    assert drive.step("a").lost == 2
    assert not [one.name for one in drive.pods.values() if one.held], "Pods of forgotten attempts are let go too"


def test_retry_when_is_not_asked_about_a_loss() -> None:
    assert drive_of(retry_when="false").change("a", lost).step("a").phase == "Pending"


def test_the_next_attempt_waits_until_the_old_pod_can_no_longer_run() -> None:
    drive = drive_of(retries=1, backoff={"base": "1s"})
    drive.change("a", lambda one: with_status(with_sidecar(failed(one), SIDE), phase="Running"))
    assert drive.step("a").reason == "Backoff"
    drive.pass_time(5)
    assert drive.live == set(), "a side container of attempt 1 still runs"
    drive.pass_time(6)
    assert drive.attempt("a").number == 2, "its Pod was deleted after ten seconds"


@pytest.mark.parametrize(
    ("schema", "output", "phase"),
    [
        ({"required": ["sum"]}, {"sum": 3}, "Succeeded"),
        ({"required": ["sum"]}, {}, "Failed"),
        ({"required": ["sum"]}, None, "Failed"),
        ({"properties": {"sum": {"type": "integer"}}}, {"sum": "3"}, "Failed"),
        ({"properties": {"sum": {"enum": ["y" * 3000]}}}, {"sum": "x" * 4000}, "Failed"),
    ],
)
def test_an_output_must_match_its_schema(schema: dict[str, object], output: object, phase: str) -> None:
    drive = drive_of(output=schema).succeed("a", output=output)
    assert drive.step("a").phase == phase
    if phase == "Failed":
        assert drive.step("a").reason == "OutputInvalid"
        assert drive.step("a").output is None
        assert (drive.attempt("a").message or "").startswith("output")


def test_an_output_takes_the_defaults_of_its_schema() -> None:
    drive = drive_of(output={"properties": {"n": {"default": 5}}}).succeed("a", output={"m": 1})
    assert drive.step("a").output == {"n": 5, "m": 1}


def test_an_output_that_is_no_json_is_a_failure_like_any_other() -> None:
    drive = drive_of(retries=1).succeed("a", output="hello")
    assert (drive.step("a").reason, drive.attempt("a").exit_code) == ("Backoff", 0)
    assert drive.until_wake().succeed("a", output={"x": 1}).step("a").phase == "Succeeded"


def test_a_retry_is_told_as_a_kubernetes_event() -> None:
    drive = drive_of(retries=1).fail("a")
    assert [(notice.type, notice.reason) for notice in drive.notices] == [("Warning", "StepRetrying")]
    assert drive.notices[0].message == "a: attempt 1 of 2 failed: ExitCode: exit code 1; next attempt in 2s"


def test_a_running_step_in_backoff_is_pending_again() -> None:
    drive = drive_of(retries=1).change("a", running).pass_time(2)
    assert drive.step("a").phase == "Running"
    assert drive.fail("a").step("a").phase == "Pending"


@pytest.mark.parametrize("depth", [100, 500, 900, 940, 960, 980, 990, 1000, 1500, 2000])
def test_an_output_of_any_depth_ends_its_step_and_reaches_the_next(depth: int) -> None:
    reader = step("b", parents=["a"], when="size(steps.a.output) == 1", args=["${steps.a.output}"])
    drive = Drive(workflow(step("a"), reader, output={"all": "${steps.a.output}"})).until_quiet()
    drive.succeed("a", output='{"a":' + "[" * depth + "]" * depth + "}")
    assert drive.step("a").phase in ("Succeeded", "Failed")
    if drive.live:
        drive.succeed("b")
    assert drive.phase in ("Succeeded", "Failed")


def test_an_output_with_a_nul_is_refused() -> None:
    drive = drive_of().succeed("a", output={"x": ["fine", "a\0b"]})
    attempt = drive.step("a").attempts[0]
    wanted = "the output has a NUL character, which expressions can't read: at x[1]"
    assert (attempt.reason, attempt.message) == ("OutputInvalid", wanted)
    assert drive.step("a").output is None


def test_last_words_with_a_nul_are_read_to_their_end() -> None:
    drive = drive_of(retry_when="!attempt.message.endsWith('for good')").fail("a", message="lost\0for good")
    assert (drive.step("a").phase, drive.step("a").message) == ("Failed", "exit code 1: lost\ufffdfor good")
