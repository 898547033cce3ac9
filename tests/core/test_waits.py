"""Steps that wait without a Pod: sleep and approval."""

from typing import Any

import pytest

from adze.core.model import Approval, Decision
from tests.builders import NOW, Drive, bare_step, run, seconds, step, workflow
from tests.core.dialogue import reconcile
from tests.core.test_revision_problems import problems


def nap(name: str = "nap", duration: str = "10m", **fields: Any) -> Any:
    return bare_step(name, sleep={"duration": duration}, **fields)


def ask(**fields: Any) -> Any:
    approval = {"message": "Deploy ${input.version}?", **({"approvers": fields.pop("approvers", [])})}
    return bare_step("ask", approval=approval, **fields)


def asked(*extra: Any, **fields: Any) -> Drive:
    return Drive(workflow(ask(**fields), *extra), input={"version": "1.4"}).until_quiet()


def decision(by: str, what: str = "Approved", message: str = "", of: str = "ask") -> Approval:
    return Approval(step=of, by=by, decision=Decision(what), message=message)


def test_a_sleep_ends_by_itself_and_has_no_pod() -> None:
    drive = Drive(workflow(nap(), step("b", parents=["nap"]))).until_quiet()
    assert (drive.step("nap").phase, drive.step("nap").reason) == ("Running", "Sleeping")
    assert drive.step("nap").message == "until 2026-03-01T12:10:00Z"
    assert drive.wake == NOW + seconds(600)
    assert drive.pass_time(599).phases == {"nap": "Running", "b": "Pending"}
    assert drive.pass_time(1).phases["nap"] == "Succeeded"
    attempt = drive.attempt("nap")
    assert (attempt.number, attempt.pod, attempt.start_time, attempt.finish_time) == (1, "", NOW, NOW + seconds(600))
    assert drive.created == [drive.attempt("b").pod]


def test_a_sleep_costs_two_writes() -> None:
    drive = Drive(workflow(nap())).until_quiet()
    writes = drive.writes
    drive.pass_time(100)
    assert drive.writes == writes, "nothing is written while time goes by"
    assert drive.until_wake().phase == "Succeeded"
    assert drive.writes == writes + 1


def test_how_long_may_be_computed() -> None:
    drive = Drive(workflow(nap(duration="${input.wait}")), input={"wait": "90s"}).until_quiet()
    assert drive.wake == NOW + seconds(90)


@pytest.mark.parametrize(("given", "reason"), [("soon", "InvalidDuration"), (None, "ExpressionError")])
def test_a_sleep_that_can_not_be_understood_fails(given: str | None, reason: str) -> None:
    what = {"wait": given} if given else {}
    drive = Drive(workflow(nap(duration="${input.wait}")), input=what).until_quiet()
    assert (drive.phase, drive.step("nap").reason) == ("Failed", reason)


def test_zero_seconds_are_over_at_once() -> None:
    drive = Drive(workflow(nap(duration="0s"), step("b", parents=["nap"]))).until_quiet()
    assert drive.live == {"b"}


def test_a_cancel_ends_a_wait_at_once() -> None:
    drive = Drive(workflow(nap())).until_quiet().ask(cancel=True)
    assert (drive.phase, drive.phases) == ("Cancelled", {"nap": "Cancelled"})
    assert drive.attempt("nap").reason == "Cancelled"


def test_a_wait_in_finally_keeps_the_run_going() -> None:
    drive = Drive(workflow(step("a"), finally_=[nap("cool-down", "10m")])).until_quiet().succeed("a")
    assert drive.phases["cool-down"] == "Running"
    assert drive.pass_time(600).phase == "Succeeded"


def test_defaults_are_for_steps_that_run_something() -> None:
    given = {"retries": 3, "timeout": "1s", "image": "i", "env": [{"name": "A", "value": "b"}], "resources": {}}
    drive = Drive(workflow(nap(), defaults=given)).until_quiet().pass_time(60)
    assert drive.phases == {"nap": "Running"}


def test_an_approval_is_waited_for() -> None:
    drive = asked(step("b", parents=["ask"], env=[{"name": "WHO", "value": "${steps.ask.output.by}"}]))
    assert (drive.step("ask").reason, drive.step("ask").message) == ("WaitingForApproval", "Deploy 1.4?")
    assert drive.run.status.reason == "WaitingForApproval"
    drive.pass_time(3600)
    drive.ask(approvals=(decision("ada", message="tested"),))
    assert drive.step("ask").phase == "Succeeded"
    assert drive.step("ask").message == "approved by ada: tested"
    assert drive.step("ask").output == {"by": "ada", "message": "tested"}
    assert drive.attempt("ask").finish_time == NOW + seconds(3600)
    assert drive.live == {"b"}


def test_a_denial_is_final() -> None:
    drive = asked().ask(approvals=(decision("ada", "Denied", "not on a Friday"),))
    assert (drive.phase, drive.step("ask").reason) == ("Failed", "Denied")
    assert drive.step("ask").message == "denied by ada: not on a Friday"


def test_the_first_decision_of_an_approver_counts() -> None:
    drive = asked(approvers=["ada", "bob"]).ask(approvals=(decision("eve"),))
    assert drive.step("ask").phase == "Running"
    assert drive.step("ask").message == "Deploy 1.4? Approvers: ada, bob. Doesn't count: eve."
    drive.ask(approvals=(decision("eve"), decision("bob", "Denied"), decision("ada")))
    assert drive.step("ask").reason == "Denied"


def test_a_decision_about_another_step_is_none() -> None:
    assert asked().ask(approvals=(decision("ada", of="other"),)).step("ask").phase == "Running"


def test_the_first_look_knows_when_the_wait_ends() -> None:
    for one, end in ((nap(), 600), (ask(timeout="1h"), 3600)):
        talk = reconcile(run(workflow(one), input={"version": "1"}))
        while talk.result is None:
            talk.accept()
        assert talk.result.wake == NOW + seconds(end)


def test_nobody_decides_in_time() -> None:
    drive = asked(timeout="1h").pass_time(3600)
    assert (drive.phase, drive.step("ask").reason) == ("Failed", "Timeout")
    assert drive.step("ask").message == "the step waited longer than 1h"


@pytest.mark.parametrize(
    ("one", "wanted"),
    [
        (nap(duration="ten"), "spec.steps[nap].sleep.duration: 'ten' is not a duration such as 90s or 1h30m"),
        (nap(retries=1), "spec.steps[nap].retries: a step with sleep can't have it"),
        (nap(env=[{"name": "A", "value": "b"}]), "spec.steps[nap].env: a step with sleep can't have it"),
        (nap(pod={"spec": {}}), "spec.steps[nap].pod: a step with sleep can't have it"),
        (ask(start_timeout="1m"), "spec.steps[ask].startTimeout: a step with approval can't have it"),
        (ask(output={"type": "nonsense"}), "spec.steps[ask].output: not a JSON Schema"),
        (nap(duration="${input.x +}"), "spec.steps[nap].sleep.duration:1:12"),
    ],
)
def test_what_a_wait_can_not_have(one: Any, wanted: str) -> None:
    assert [found for found in problems(workflow(one)) if found.startswith(wanted)], problems(workflow(one))
