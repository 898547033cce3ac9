"""Why a run waits is always in its status, and nothing is written before it is worth a write."""

from functools import partial
from typing import Any

import pytest

from adze.core.observed import Refusal
from adze.core.pods import ContainerState, Waiting
from tests.builders import (
    NOW,
    Drive,
    deleting,
    opened,
    running,
    seconds,
    step,
    succeeded,
    unschedulable,
    waiting,
    with_sidecar,
    workflow,
)

NO_NODE = "0/3 nodes are available: 3 Insufficient memory."


def drive_of(*steps: Any) -> Drive:
    return Drive(workflow(*(steps or (step("a"),)))).until_quiet()


def refused(reason: str = "QuotaExceeded", *, lasting: bool = False, pause: float = 5) -> Refusal:
    return Refusal(reason, "exceeded quota: pods=10", lasting, NOW, seconds(pause), NOW + seconds(pause))


def test_a_step_that_ends_soon_costs_no_write_for_having_run() -> None:
    drive = drive_of()
    writes = drive.writes
    drive.start("a")
    assert drive.writes == writes
    assert drive.wake == NOW + seconds(2)
    drive.pass_time(1.9).succeed("a")
    assert drive.writes == writes + 1
    assert drive.attempt("a").start_time is not None


def test_a_step_that_runs_longer_is_shown_to_run() -> None:
    drive = drive_of().start("a").pass_time(2)
    assert drive.step("a").phase == "Running"
    assert (drive.attempt("a").node, drive.attempt("a").start_time) == ("node-1", NOW)
    writes = drive.writes
    drive.pass_time(100)
    assert drive.writes == writes, "once is enough"


def test_news_go_along_with_a_write_that_is_due() -> None:
    drive = drive_of(step("a"), step("b")).start("a")
    writes = drive.writes
    drive.succeed("b")
    assert drive.step("a").phase == "Running"
    assert drive.writes == writes + 1


@pytest.mark.parametrize(
    ("what", "reason", "message"),
    [
        (lambda one: unschedulable(opened(one)), "Unschedulable", NO_NODE),
        (lambda one: waiting(one, "ImagePullBackOff", "no such image"), "ImagePullBackOff", "no such image"),
        (
            lambda one: waiting(one, "CreateContainerConfigError", "no secret"),
            "CreateContainerConfigError",
            "no secret",
        ),
    ],
)
def test_a_step_says_why_it_waits_once_that_lasts_two_seconds(what: Any, reason: str, message: str) -> None:
    drive = drive_of()
    writes = drive.writes
    drive.change("a", what)
    assert drive.writes == writes
    assert drive.wake == NOW + seconds(2)
    drive.pass_time(2)
    assert (drive.step("a").reason, drive.step("a").message) == (reason, message)
    assert (drive.run.status.reason, drive.run.status.message) == (reason, f"a: {message}")
    assert {one.reason for one in drive.run.status.conditions} == {reason}
    assert drive.writes == writes + 1


def test_a_flapping_image_pull_is_written_once() -> None:
    drive = drive_of().change("a", lambda one: waiting(one, "ErrImagePull", "not found")).pass_time(2)
    writes = drive.writes
    for reason in ("ImagePullBackOff", "ErrImagePull", "ImagePullBackOff"):
        drive.change("a", partial(waiting, reason=reason, message="back-off 20s"))
    assert drive.writes == writes


def test_a_reason_goes_when_the_wait_is_over() -> None:
    drive = drive_of().change("a", lambda one: unschedulable(opened(one))).pass_time(2)
    drive.start("a").pass_time(2)
    assert (drive.step("a").reason, drive.step("a").message) == (None, None)
    assert drive.run.status.reason is None


def test_a_step_that_is_no_longer_unschedulable_does_not_say_so_while_its_image_is_pulled() -> None:
    drive = drive_of().change("a", lambda one: unschedulable(opened(one))).pass_time(2)
    assert drive.step("a").reason == "Unschedulable"
    drive.change("a", lambda one: waiting(one, "ContainerCreating")).pass_time(60)
    assert drive.step("a").reason != "Unschedulable"


def test_a_refused_create_is_shown_and_tried_again() -> None:
    drive = drive_of()
    name = drive.attempt("a").pod
    drive.pods.clear()
    drive.created.clear()
    drive.refusals[name] = refused()
    drive.until_quiet()
    assert (drive.step("a").reason, drive.step("a").message) == ("QuotaExceeded", "exceeded quota: pods=10")
    assert drive.run.status.reason == "QuotaExceeded"
    assert drive.created == []
    assert drive.wake == NOW + seconds(5)

    drive.now += seconds(5)
    drive.refusals.clear()
    drive.until_quiet()
    assert drive.created == [name]


def test_a_quota_that_is_free_again_is_no_longer_blamed() -> None:
    drive = drive_of()
    name = drive.attempt("a").pod
    taken = drive.pods.pop(name)
    drive.refusals[name] = refused()
    drive.until_quiet()
    drive.refusals.clear()
    drive.pods[name] = waiting(opened(taken), "ContainerCreating")
    drive.pass_time(60)
    assert drive.step("a").reason != "QuotaExceeded"


def test_a_lasting_refusal_fails_the_step_without_another_attempt() -> None:
    drive = drive_of(step("a", retries=5))
    drive.pods.clear()
    drive.refusals[drive.attempt("a").pod] = refused("PodRejected", lasting=True)
    drive.until_quiet()
    assert (drive.step("a").phase, drive.step("a").reason) == ("Failed", "PodRejected")
    assert len(drive.step("a").attempts) == 1
    assert drive.phase == "Failed"


def test_a_pod_on_a_silent_node_says_so() -> None:
    drive = drive_of().start("a").pass_time(2).change("a", deleting)
    assert drive.step("a").phase == "Running"
    assert drive.pass_time(5).step("a").reason == "Terminating"


def test_endless_words_of_a_side_container_fit_in_the_status() -> None:
    state = ContainerState(waiting=Waiting(reason="R" * 100, message="x" * 9000))
    drive = drive_of().change("a", lambda one: with_sidecar(running(one), state)).pass_time(2)
    assert (drive.step("a").message or "")[:5] == "xxxxx"


def test_a_new_generation_is_noted_at_once() -> None:
    drive = drive_of().start("a").ask()
    assert drive.run.status.observed_generation == 2


def test_the_same_sight_twice_is_no_news() -> None:
    drive = drive_of(step("a"), step("b", parents=["a"])).start("a").pass_time(2)
    writes = drive.writes
    for _ in range(5):
        drive.until_quiet()
    assert drive.writes == writes


def test_a_pod_that_vanished_is_lost_only_after_a_list_has_said_so() -> None:
    drive = drive_of(step("a", retries=1)).start("a").pass_time(2)
    name = drive.attempt("a").pod
    gone = drive.pods.pop(name)
    drive.unseen = {name: succeeded(gone, {"x": 1}, drive.now)}
    assert drive.until_quiet().step("a").phase == "Succeeded", "it was only unseen"

    drive = drive_of(step("a", retries=1)).start("a").pass_time(2)
    name = drive.attempt("a").pod
    del drive.pods[name]
    drive.vanished.add(name)
    drive.until_quiet()
    assert (drive.step("a").attempts[0].reason, drive.step("a").reason) == ("PodLost", "Backoff")
    assert drive.until_wake().attempt("a").number == 2


def test_a_pod_that_vanished_before_it_was_seen_to_run_is_lost_too() -> None:
    drive = drive_of()
    name = drive.attempt("a").pod
    del drive.pods[name]
    drive.vanished.add(name)
    drive.until_quiet()
    assert (drive.step("a").phase, drive.step("a").reason) == ("Failed", "PodLost")
    assert drive.created == [name], "it was not created again"
