"""onFailure and finally, the run's verdict and its output (design, sections 3 and 4)."""

from typing import Any

import pytest

from adze.core.model import Phase
from tests.builders import NOW, SIDE, Drive, failed, seconds, step, succeeded, with_sidecar, with_status, workflow

ALL = {"on_failure": step("alarm"), "finally_": [step("tidy"), step("report")]}


def test_finally_starts_when_the_graph_has_ended_and_on_failure_is_not_needed() -> None:
    drive = Drive(workflow(step("a"), step("b", parents=["a"]), **ALL)).until_quiet()
    assert drive.live == {"a"}
    assert set(drive.phases) == {"a", "b"}, "steps of later stages are listed when their time comes"
    assert drive.succeed("a").live == {"b"}
    assert drive.succeed("b").live == {"tidy", "report"}
    assert drive.run.status.progress == "2/4"
    drive.succeed("tidy", "report")
    assert (drive.phase, drive.run.status.progress) == ("Succeeded", "4/4")
    assert "alarm" not in drive.phases


def test_on_failure_comes_after_the_whole_graph_and_before_finally() -> None:
    drive = Drive(workflow(step("a"), step("b"), **ALL)).until_quiet().fail("a")
    assert drive.live == {"b"}
    assert drive.succeed("b").live == {"alarm"}
    assert drive.succeed("alarm").live == {"tidy", "report"}
    drive.succeed("tidy", "report")
    assert (drive.phase, drive.run.status.message) == ("Failed", "a: ExitCode: exit code 1")
    assert list(drive.phases) == ["a", "b", "alarm", "tidy", "report"]


def test_a_step_that_still_has_retries_has_not_failed() -> None:
    drive = Drive(workflow(step("a", retries=1), **ALL)).until_quiet().fail("a")
    assert drive.live == set()
    assert drive.until_wake().succeed("a").live == {"tidy", "report"}


def test_a_failed_on_failure_step_does_not_hold_up_finally() -> None:
    drive = Drive(workflow(step("a"), **ALL)).until_quiet().fail("a").fail("alarm")
    assert drive.live == {"tidy", "report"}
    drive.succeed("tidy", "report")
    assert drive.run.status.message == "a: ExitCode: exit code 1", "the first that went wrong gives the words"


def test_a_failed_finally_step_fails_the_run() -> None:
    drive = Drive(workflow(step("a"), finally_=[step("tidy")])).until_quiet().succeed("a").fail("tidy", exit_code=4)
    assert (drive.phase, drive.run.status.message) == ("Failed", "tidy: ExitCode: exit code 4")


def test_clean_up_steps_retry_and_obey_when() -> None:
    tidy = step("tidy", retries=1, when="run.phase == 'Succeeded'")
    drive = Drive(workflow(step("a"), finally_=[tidy, step("never", when="run.phase == 'Failed'")])).until_quiet()
    drive.succeed("a")
    assert drive.step("never").phase == "Skipped"
    assert drive.fail("tidy").until_wake().succeed("tidy").phase == "Succeeded"


def test_the_next_stage_waits_for_side_containers_of_the_last() -> None:
    drive = Drive(workflow(step("a"), on_failure=step("alarm"))).until_quiet()
    drive.change("a", lambda one: with_status(with_sidecar(failed(one), SIDE), phase="Running"))
    assert drive.step("a").phase == "Failed"
    assert drive.live == set()
    assert drive.wake == NOW + seconds(10)
    assert drive.pass_time(10).live == {"alarm"}


def test_a_run_is_over_only_when_no_container_of_it_can_run() -> None:
    drive = Drive(workflow(step("a"))).until_quiet()
    drive.change("a", lambda one: with_status(with_sidecar(failed(one), SIDE), phase="Running"))
    assert drive.phase == "Running"
    assert drive.pass_time(10).phase == "Failed"


@pytest.mark.parametrize(
    ("a", "b", "cancel", "verdict"),
    [
        ("succeed", "succeed", False, Phase.SUCCEEDED),
        ("succeed", "fail", False, Phase.FAILED),
        ("fail", "fail", False, Phase.FAILED),
        ("succeed", None, True, Phase.CANCELLED),
        ("fail", None, True, Phase.FAILED),
        (None, None, True, Phase.CANCELLED),
        ("succeed", "succeed", True, Phase.SUCCEEDED),
    ],
)
def test_failed_beats_cancelled_beats_succeeded(a: str | None, b: str | None, cancel: bool, verdict: Phase) -> None:
    drive = Drive(workflow(step("a"), step("b"))).until_quiet()
    for name, act in (("a", a), ("b", b)):
        if act:
            getattr(drive, act)(name)
    assert drive.ask(cancel=cancel).phase == verdict


def test_a_terminal_run_has_its_conditions_and_times() -> None:
    drive = Drive(workflow(step("a"))).until_quiet().pass_time(5).succeed("a")
    status = drive.run.status
    assert (status.start_time, status.finish_time) == (NOW, NOW + seconds(5))
    assert [(one.type, one.status, one.reason) for one in status.conditions] == [("Succeeded", "True", "Succeeded")]
    assert [(one.type, one.reason, one.message) for one in drive.notices] == [("Normal", "Succeeded", "1 steps in 5s")]


OUTPUTS = workflow(step("b", parents=["a"]), step("a"), step("c", parents=["b"]), finally_=[step("tidy")])


def outcome(spec: Any, **outputs: dict[str, Any] | None) -> Drive:
    drive = Drive(spec).until_quiet()
    for name, output in outputs.items():
        drive.succeed(name, output=output)
    return drive


def test_by_default_the_outputs_of_the_graph_are_merged_in_topological_order() -> None:
    drive = outcome(OUTPUTS, a={"x": 1, "y": 1}, b={"y": 2}, c=None, tidy={"z": 5})
    assert drive.phase == "Succeeded"
    assert drive.run.status.output == {"x": 1, "y": 2}


def test_without_outputs_there_is_none() -> None:
    assert outcome(workflow(step("a")), a=None).run.status.output is None


def test_an_explicit_output_is_what_it_says() -> None:
    spec = workflow(
        step("a"),
        step("b", when="false"),
        output={"total": "${steps.a.output.sum}", "text": "sum ${steps.a.output.sum}", "b": "${steps.b.phase}", "n": 1},
    )
    assert outcome(spec, a={"sum": 3}).run.status.output == {"total": 3, "text": "sum 3", "b": "Skipped", "n": 1}


def test_an_output_that_cannot_be_made_fails_a_run_that_would_have_succeeded() -> None:
    drive = outcome(workflow(step("a"), output={"total": "${steps.a.output.sum}"}), a={})
    assert (drive.phase, drive.run.status.reason) == ("Failed", "ExpressionError")
    assert (drive.run.status.message or "").startswith("spec.output: steps.a.output.sum: ")
    assert drive.run.status.output is None


def test_the_words_about_a_broken_output_fit_in_the_status() -> None:
    expression = "steps.a.output.sum + '" + "x" * 6000 + "'"
    assert outcome(workflow(step("a"), output={"t": f"${{{expression}}}"}), a={}).phase == "Failed"


def test_a_failed_run_keeps_its_own_reason_and_what_output_there_is() -> None:
    spec = workflow(step("a"), step("b"), output={"a": "${steps.a.output.x}"})
    drive = Drive(spec).until_quiet().succeed("a", output={"x": 1}).fail("b")
    assert (drive.run.status.reason, drive.run.status.output) == ("StepFailed", {"a": 1})
    broken = Drive(workflow(step("a"), output={"a": "${steps.a.output.x}"})).until_quiet().fail("a")
    assert (broken.run.status.reason, broken.run.status.output) == ("StepFailed", None)


@pytest.mark.parametrize(("ttl", "gone"), [("1h", True), ("2h", False), (None, False)])
def test_a_finished_run_expires_after_its_ttl(ttl: str | None, gone: bool) -> None:
    drive = outcome(workflow(step("a"), retention={"ttl": ttl} if ttl else {"succeeded": 5}), a=None)
    assert drive.expired is False
    assert drive.wake == (NOW + seconds({"1h": 3600, "2h": 7200}[ttl]) if ttl else None)
    assert drive.pass_time(3600).expired is gone


def test_the_largest_run_ends_within_what_etcd_takes() -> None:
    """200 steps with an output of 4096 bytes each: etcd takes 1.5 MiB, and a write that is refused never ends a run."""
    names = [f"s{number}" for number in range(200)]
    drive = Drive(workflow(*(step(name) for name in names))).until_quiet()
    for name in names:
        output = {name: "x" * (4096 - len(name) - 8)}
        drive.pods[drive.attempt(name).pod] = succeeded(drive.pod(name), output)
    drive.until_quiet()
    assert drive.phase.final
    assert drive.status_size < 1024 * 1024


def test_retries_with_long_last_words_fit_in_the_status() -> None:
    """Forty steps that fail 21 times with 2 KiB of log each."""
    names = [f"s{number}" for number in range(40)]
    drive = Drive(workflow(*(step(name, retries=20, backoff={"base": "0s"}) for name in names))).until_quiet()
    for _ in range(21):
        for name in names:
            drive.pods[drive.attempt(name).pod] = failed(drive.pod(name), 1, "x" * 2048)
        drive.until_quiet()
    assert drive.phase == "Failed"
    assert drive.status_size < 1024 * 1024


def test_last_words_in_any_script_fit_in_the_status() -> None:
    """All of 200 steps fail, each with the 4096 bytes that the kubelet keeps, four of them to a character."""
    names = [f"s{number}" for number in range(200)]
    drive = Drive(workflow(*(step(name) for name in names))).until_quiet()
    for name in names:
        drive.pods[drive.attempt(name).pod] = failed(drive.pod(name), 1, "🪓" * 1024)
    drive.until_quiet()
    assert drive.phase == "Failed"
    assert drive.status_size < 1024 * 1024
