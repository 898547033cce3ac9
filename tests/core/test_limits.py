"""Timeouts of attempts and of the run (design, sections 3 and 5)."""

import pytest

from adze.core import names
from adze.core.observed import Refusal
from tests.builders import NOW, UID, Drive, lost, opened, running, seconds, step, unschedulable, waiting, workflow

NO_NODE = "0/3 nodes are available: 3 Insufficient memory."


def drive_of(**fields: object) -> Drive:
    return Drive(workflow(step("a", **fields), step("b", parents=["a"]))).until_quiet()


def test_an_attempt_that_runs_too_long_is_withdrawn_and_its_pod_deleted() -> None:
    drive = drive_of(timeout="30s").start("a").pass_time(2)
    assert drive.wake == NOW + seconds(30)
    assert drive.pass_time(27.9).live == {"a"}
    drive.pass_time(0.1)
    status = drive.step("a")
    assert (status.phase, status.reason) == ("Failed", "Timeout")
    assert status.message == "the attempt ran longer than 30s"
    assert status.attempts[0].finish_time == NOW + seconds(30)
    assert drive.pods == {}
    assert drive.phase == "Failed"


def test_the_timeout_counts_from_the_start_of_the_container() -> None:
    drive = drive_of(timeout="30s").pass_time(20).start("a")
    assert drive.pass_time(29).live == {"a"}
    assert drive.pass_time(1).step("a").reason == "Timeout"


def test_each_attempt_has_the_whole_timeout_and_a_timeout_uses_up_a_retry() -> None:
    drive = drive_of(timeout="30s", retries=1, backoff={"base": "1s"}).start("a").pass_time(30)
    assert (drive.step("a").phase, drive.step("a").reason) == ("Pending", "Backoff")
    drive.pass_time(1).start("a").pass_time(29)
    assert (drive.step("a").phase, drive.attempt("a").number) == ("Running", 2)
    assert drive.pass_time(1).step("a").phase == "Failed"


def test_an_end_that_is_already_there_wins_over_the_timeout() -> None:
    drive = drive_of(timeout="30s").start("a")
    drive.now += seconds(60)
    assert drive.succeed("a").step("a").phase == "Succeeded"


def test_the_next_attempt_waits_for_the_end_of_a_timed_out_pod() -> None:
    drive = drive_of(timeout="30s", retries=1, backoff={"base": "1s"}).start("a")
    drive.node_answers = False
    drive.pass_time(30).pass_time(600)
    assert drive.step("a").reason == "Backoff"
    assert [one.deleting for one in drive.pods.values()] == [True]
    drive.change("a", lambda one: lost(one, "NodeLost"))
    assert drive.attempt("a").number == 2


def test_a_container_that_does_not_start_in_time_is_withdrawn() -> None:
    drive = drive_of(start_timeout="1m").change("a", lambda one: waiting(one, "ImagePullBackOff", "no such image"))
    assert drive.wake is not None
    drive.pass_time(60)
    assert (drive.step("a").phase, drive.step("a").reason) == ("Failed", "StartTimeout")
    assert drive.step("a").message == ("the container (ImagePullBackOff: no such image) did not start within 1m")
    assert drive.pods == {}


def test_an_unschedulable_pod_has_ten_minutes_by_default() -> None:
    drive = drive_of().change("a", lambda one: unschedulable(opened(one)))
    assert drive.pass_time(599).live == {"a"}
    assert drive.pass_time(1).step("a").message == f"the container (Unschedulable: {NO_NODE}) did not start within 10m"


def test_a_container_that_has_started_is_past_its_start_timeout() -> None:
    assert drive_of(start_timeout="5s").start("a").pass_time(3600).live == {"a"}


def test_an_impossible_image_name_fails_at_once_whatever_the_retries() -> None:
    drive = drive_of(retries=5).change("a", lambda one: waiting(one, "InvalidImageName", "cannot parse"))
    assert (drive.step("a").phase, drive.step("a").reason) == ("Failed", "InvalidImageName")
    assert len(drive.step("a").attempts) == 1
    assert drive.phase == "Failed"


def test_the_runs_deadline_ends_all_that_is_left_of_the_graph() -> None:
    spec = workflow(
        step("done"), step("runs"), step("retries", retries=9, backoff={"base": "1h"}), step("late", parents=["runs"]),
        timeout="10m",
    )  # fmt: skip
    drive = Drive(spec).until_quiet().succeed("done").start("runs").fail("retries").pass_time(599)
    assert drive.phase == "Running"
    drive.pass_time(1)
    assert drive.phases == {"done": "Succeeded", "runs": "Cancelled", "retries": "Cancelled", "late": "Cancelled"}
    assert {drive.step(name).reason for name in ("runs", "retries", "late")} == {"DeadlineExceeded"}
    assert (drive.phase, drive.run.status.reason) == ("Failed", "DeadlineExceeded")
    assert drive.run.status.message == "the run's timeout of 10m has passed"
    assert drive.run.status.finish_time == NOW + seconds(600)


def test_the_deadline_is_waited_for_though_nothing_else_happens() -> None:
    drive = Drive(workflow(step("a", start_timeout="2h"), timeout="1h")).until_quiet()
    assert drive.wake == NOW + seconds(3600)


def test_a_run_past_its_deadline_is_not_over_while_a_pod_may_run() -> None:
    drive = Drive(workflow(step("a"), timeout="1h")).until_quiet().start("a")
    drive.node_answers = False
    drive.pass_time(3600)
    assert drive.step("a").phase == "Cancelled"
    assert (drive.phase, drive.run.status.finish_time) == ("Running", None)
    drive.change("a", lambda one: lost(one, "NodeLost"))
    assert drive.phase == "Failed"


def test_a_success_that_is_there_at_the_deadline_counts() -> None:
    drive = Drive(workflow(step("a"), timeout="1h")).until_quiet().start("a")
    drive.now += seconds(3600)
    assert drive.succeed("a").phase == "Succeeded"


def test_clean_up_outlives_the_deadline_but_not_for_ever() -> None:
    spec = workflow(step("a"), on_failure=step("alarm"), finally_=[step("tidy")], timeout="1h")
    drive = Drive(spec).until_quiet().start("a").pass_time(3600)
    assert drive.live == {"alarm"}
    drive.start("alarm").pass_time(300)
    assert drive.step("alarm").reason == "Timeout"
    assert drive.live == {"tidy"}
    drive.start("tidy").pass_time(299).succeed("tidy")
    assert (drive.phase, drive.run.status.reason) == ("Failed", "DeadlineExceeded")


@pytest.mark.parametrize("timeout", ["30s", None])
def test_a_run_always_knows_when_to_look_again(timeout: str | None) -> None:
    drive = drive_of(timeout=timeout)
    assert drive.wake is not None
    drive.change("a", running)
    assert drive.wake is not None


def test_a_handler_that_a_quota_keeps_away_ends_all_the_same() -> None:
    spec = workflow(step("a"), on_failure=step("alarm", start_timeout="1m"))
    drive = Drive(spec).until_quiet()
    name = names.pod("hello-1", UID, "alarm", 1)
    drive.refusals[name] = Refusal("QuotaExceeded", "pods=1", False, NOW, seconds(60), NOW + seconds(3600))
    drive.fail("a")
    assert drive.phases["alarm"] == "Pending"
    drive.pass_time(60)
    assert (drive.step("alarm").phase, drive.step("alarm").reason) == ("Failed", "StartTimeout")
    assert "QuotaExceeded" in (drive.step("alarm").message or "")
    assert drive.phase == "Failed"
