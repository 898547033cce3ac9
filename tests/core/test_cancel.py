"""Cancel and suspend (design, section 4.5)."""

import pytest

from adze.core import names
from adze.core.model import Phase
from tests.builders import NOW, UID, Drive, lost, named, opened, pod, released, running, seconds, step, workflow

CHAIN = workflow(step("a", retries=2), step("b", parents=["a"]))


def test_cancel_of_a_claimed_step_whose_pod_is_not_there_yet() -> None:
    drive = Drive(CHAIN).until_quiet()
    drive.pods.clear()
    drive.ask(cancel=True)
    assert drive.phases == {"a": "Cancelled", "b": "Cancelled"}
    assert drive.attempt("a").reason == "Cancelled"
    assert drive.phase == "Cancelled"
    assert len(drive.created) == 1, "a withdrawn attempt is not created again"


@pytest.mark.parametrize("how_far", [lambda one: one, opened, running])
def test_cancel_of_a_step_whose_pod_exists(how_far: object) -> None:
    drive = Drive(CHAIN).until_quiet().change("a", how_far).ask(cancel=True)  # type: ignore[arg-type]
    assert drive.phases == {"a": "Cancelled", "b": "Cancelled"}
    assert (drive.step("a").reason, drive.step("a").message) == ("Cancelled", "the run was cancelled")
    assert drive.pods == {}
    assert (drive.phase, drive.run.status.reason) == ("Cancelled", "Cancelled")
    assert drive.run.status.finish_time == NOW


def test_cancel_of_a_step_in_backoff() -> None:
    drive = Drive(CHAIN).until_quiet().fail("a").ask(cancel=True)
    assert (drive.step("a").phase, drive.step("a").retry_at) == ("Cancelled", None)
    assert drive.attempt("a").reason == "ExitCode", "what has ended stays as it ended"
    assert drive.phase == "Cancelled"


def test_a_run_is_not_cancelled_before_its_pods_are_gone() -> None:
    drive = Drive(CHAIN).until_quiet().start("a")
    drive.node_answers = False
    drive.ask(cancel=True)
    assert (drive.phase, drive.run.status.reason) == ("Running", "Cancelling")
    assert drive.pods[drive.attempt("a").pod].deleting
    drive.change("a", lost)
    assert drive.phase == "Cancelled"


def test_a_pod_that_nobody_knew_of_is_found_before_the_end() -> None:
    drive = Drive(CHAIN).until_quiet()
    hidden = drive.pods.pop(drive.attempt("a").pod)
    drive.unseen = named([running(opened(hidden))])
    drive.node_answers = False
    drive.ask(cancel=True)
    assert drive.phase == "Running"
    assert [one.deleting for one in drive.pods.values()] == [True]


def test_cancel_is_final() -> None:
    drive = Drive(CHAIN).until_quiet().ask(cancel=True)
    before = drive.run.status
    drive.ask(cancel=True, suspend=True).pass_time(10**6)
    assert drive.run.status == before


def test_finally_runs_after_a_cancel_and_on_failure_does_not() -> None:
    spec = workflow(step("a"), step("x"), on_failure=step("alarm"), finally_=[step("tidy")])
    drive = Drive(spec).until_quiet().fail("x").ask(cancel=True)
    assert drive.live == {"tidy"}
    assert "alarm" not in drive.phases
    drive.succeed("tidy")
    assert (drive.phase, drive.phases["tidy"]) == ("Failed", "Succeeded"), "Failed > Cancelled"


def test_finally_waits_until_the_cancelled_pods_are_gone() -> None:
    drive = Drive(workflow(step("a"), finally_=[step("tidy")])).until_quiet().start("a")
    drive.node_answers = False
    drive.ask(cancel=True)
    assert drive.live == set()
    drive.change("a", lost)
    assert drive.live == {"tidy"}
    assert drive.succeed("tidy").phase == "Cancelled"


def test_cancel_ends_a_running_on_failure_step() -> None:
    spec = workflow(step("a"), on_failure=step("alarm"), finally_=[step("tidy")])
    drive = Drive(spec).until_quiet().fail("a").start("alarm").ask(cancel=True)
    assert drive.step("alarm").phase == "Cancelled"
    assert drive.live == {"tidy"}
    assert drive.succeed("tidy").phase == "Failed"


def test_a_cancel_that_comes_after_the_graph_changes_nothing() -> None:
    spec = workflow(step("a"), finally_=[step("tidy")])
    drive = Drive(spec).until_quiet().succeed("a").start("tidy").ask(cancel=True)
    assert drive.live == {"tidy"}
    assert drive.succeed("tidy").phase == "Succeeded"


def test_what_has_succeeded_stays_so() -> None:
    drive = Drive(CHAIN).until_quiet().succeed("a", output={"x": 1}).ask(cancel=True)
    assert drive.phases == {"a": "Succeeded", "b": "Cancelled"}
    assert drive.run.status.output == {"x": 1}


def test_suspend_starts_nothing_new_and_lets_go_on_what_runs() -> None:
    drive = Drive(CHAIN).until_quiet().start("a").ask(suspend=True)
    assert (drive.run.status.reason, drive.run.status.message) == (
        "Suspended",
        "spec.suspend is true: nothing new is started",
    )
    assert drive.live == {"a"}
    drive.succeed("a")
    assert drive.phases == {"a": "Succeeded", "b": "Pending"}
    assert drive.live == set()
    drive.ask(suspend=False)
    assert drive.live == {"b"}
    assert drive.succeed("b").phase == "Succeeded"


def test_suspend_holds_back_a_retry() -> None:
    drive = Drive(CHAIN).until_quiet().fail("a").ask(suspend=True).pass_time(3600)
    assert drive.live == set()
    assert drive.ask(suspend=False).attempt("a").number == 2


def test_suspend_skips_nothing() -> None:
    drive = Drive(workflow(step("a"), step("b", parents=["a"], when="false"))).until_quiet().ask(suspend=True)
    drive.succeed("a")
    assert drive.step("b").phase == "Pending"
    assert drive.ask(suspend=False).phase == "Succeeded"


def test_the_deadline_counts_while_a_run_is_suspended() -> None:
    drive = Drive(workflow(step("a"), step("b", parents=["a"]), timeout="1h")).until_quiet()
    drive.ask(suspend=True).succeed("a").pass_time(3600)
    assert (drive.phase, drive.run.status.reason) == (Phase.FAILED, "DeadlineExceeded")


@pytest.mark.parametrize("first", [{"suspend": True}, {"cancel": True}])
def test_a_cancelled_run_ends_though_it_is_suspended(first: dict[str, bool]) -> None:
    drive = Drive(workflow(step("a"), finally_=[step("tidy")])).until_quiet().start("a")
    drive.ask(**first).ask(cancel=True, suspend=True)
    assert drive.live == {"tidy"}
    assert drive.succeed("tidy").phase == "Cancelled"


def test_a_pod_of_another_owner_is_left_alone() -> None:
    drive = Drive(workflow(step("a"))).until_quiet()
    name = names.pod("hello-1", UID, "a", 1)
    drive.pods[name] = released(running(opened(pod(name, owner="somebody"))))
    drive.ask(cancel=True)
    assert not drive.pods[name].deleting
    assert drive.phase == "Cancelled"
    assert drive.now == NOW + seconds(0)
