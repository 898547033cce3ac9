"""Steps that wait without a Pod: for time to go by, and for somebody's decision."""

import json

import pytest

from tests.e2e.kube import Kube, Object, run, shell, steps

ASK = {"name": "ask", "approval": {"message": "Deploy ${input.version}?"}}
USE = {
    "name": "deploy",
    "parents": ["ask"],
    **shell('echo "{\\"who\\": \\"$WHO\\"}" > $ADZE_OUTPUT'),
    "env": [{"name": "WHO", "value": "${steps.ask.output.by}"}],
}


def test_a_sleep_costs_no_pod(kube: Kube) -> None:
    kube.apply(run("r", {"name": "nap", "sleep": {"duration": "${input.nap}"}}, spec={"input": {"nap": "3s"}}))
    waiting = kube.step("r", "nap", lambda step: step.get("reason") == "Sleeping", 20)
    assert waiting["phase"] == "Running"
    assert waiting["message"].startswith("until 20")
    status = kube.ended("r", timeout=30)
    assert status["phase"] == "Succeeded"
    (attempt,) = steps(status)["nap"]["attempts"]
    assert "pod" not in attempt
    assert kube.list("pods") == []


def test_a_cancel_ends_a_sleep(kube: Kube) -> None:
    kube.apply(run("r", {"name": "nap", "sleep": {"duration": "1h"}}))
    kube.step("r", "nap", lambda step: step.get("reason") == "Sleeping", 20)
    kube.patch("workflowrun", "r", cancel=True)
    assert kube.ended("r", timeout=20)["phase"] == "Cancelled"


def asking(kube: Kube, **fields: object) -> None:
    """A run that waits for an approval."""
    step: Object = {**ASK, "approval": {**ASK["approval"], **fields}}  # type: ignore[dict-item]
    kube.apply(run("r", step, USE, spec={"input": {"version": "1.4"}}))
    waiting = kube.step("r", "ask", lambda step: step.get("reason") == "WaitingForApproval", 20)
    assert waiting["message"].startswith("Deploy 1.4?")


def me(kube: Kube) -> str:
    """The user name behind the kubeconfig."""
    name: str = json.loads(kube.must("auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"]
    return name


def decided(by: str, decision: str = "Approved", **fields: str) -> Object:
    """An entry of spec.approvals."""
    return {"step": "ask", "by": by, "decision": decision, **fields}


def test_an_approval_is_recorded_with_its_author(kube: Kube) -> None:
    asking(kube)
    kube.patch("workflowrun", "r", approvals=[decided(me(kube), message="tested")])
    status = kube.ended("r")
    assert status["phase"] == "Succeeded"
    ask = steps(status)["ask"]
    assert ask["message"] == f"approved by {me(kube)}: tested"
    assert ask["output"] == {"by": me(kube), "message": "tested"}
    assert ask["attempts"][0]["finishTime"]
    assert steps(status)["deploy"]["output"] == {"who": me(kube)}


def test_a_denial_fails_the_step(kube: Kube) -> None:
    asking(kube)
    kube.patch("workflowrun", "r", approvals=[decided(me(kube), "Denied", message="not on a Friday")])
    status = kube.ended("r")
    assert (status["phase"], steps(status)["ask"]["reason"]) == ("Failed", "Denied")
    assert "not on a Friday" in status["message"]
    assert steps(status)["deploy"]["phase"] == "Cancelled"


def patched(kube: Kube, *approvals: Object, user: str | None = None) -> tuple[int, str]:
    """Return code and words of kubectl when somebody decides."""
    as_user = [f"--as={user}"] if user else []
    body = json.dumps({"spec": {"approvals": list(approvals)}})
    done = kube.kubectl("patch", "workflowrun", "r", "--type=merge", "-p", body, *as_user)
    return done.returncode, done.stderr


def test_nobody_decides_in_another_s_name(kube: Kube) -> None:
    asking(kube)
    code, words = patched(kube, decided("mallory"))
    assert code, "taken"
    assert f"by must be you, {me(kube)}" in words


def test_who_may_create_runs_may_not_thereby_approve_them(kube: Kube) -> None:
    asking(kube)
    kube.must("create", "rolebinding", "eve", "--clusterrole=edit", "--user=eve")
    code, words = patched(kube, decided("eve"), user="eve")
    assert code, "taken"
    assert "you may not approve here" in words
    kube.must("create", "rolebinding", "eve-approves", "--clusterrole=adze-approve", "--user=eve")

    def approved(_: Object) -> bool:
        return patched(kube, decided("eve"), user="eve")[0] == 0

    kube.until("approved by eve, once her new role is known", "workflowrun", "r", approved, 20)
    assert steps(kube.ended("r"))["ask"]["output"] == {"by": "eve", "message": ""}


def test_a_decision_is_for_good(kube: Kube) -> None:
    asking(kube, approvers=["somebody-else"])
    mine = decided(me(kube))
    assert patched(kube, mine)[0] == 0
    seen = kube.step("r", "ask", lambda step: "Doesn't count" in step.get("message", ""), 20)
    assert me(kube) in seen["message"]
    assert "must not change" in patched(kube, {**mine, "decision": "Denied"})[1]
    assert "must not be removed" in patched(kube)[1]


def test_a_run_is_not_born_approved(kube: Kube) -> None:
    spec = {"input": {"version": "1"}, "approvals": [decided(me(kube))]}
    assert "can't be approved when it is created" in kube.refused(run("r", ASK, spec=spec))


def test_nobody_decides_in_time(kube: Kube) -> None:
    kube.apply(run("r", {**ASK, "timeout": "2s"}, spec={"input": {"version": "1"}}))
    step = steps(kube.ended("r", timeout=30))["ask"]
    assert (step["phase"], step["reason"]) == ("Failed", "Timeout")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sleep": {"duration": "5 minutes"}}, "spec.steps[a].sleep.duration: '5 minutes' is not a duration"),
        ({"sleep": {"duration": "1s"}, "retries": 2}, "spec.steps[a].retries: a step with sleep can't have it"),
    ],
)
def test_a_wait_that_makes_no_sense(kube: Kube, fields: Object, message: str) -> None:
    kube.apply(run("r", {"name": "a", **fields}))
    status = kube.ended("r", timeout=15)
    assert status["reason"] == "InvalidWorkflow"
    assert message in status["message"]


def event(name: str, kind: str, **data: object) -> Object:
    """A WorkflowEvent."""
    return {
        "apiVersion": "adze.dev/v1alpha1",
        "kind": "WorkflowEvent",
        "metadata": {"name": name},
        "spec": {"source": "/test", "id": name, "type": kind, "data": data},
    }


PAID = {"event": "order:paid", "filter": "event.data.order == input.order"}


def test_an_event_resumes_a_run(kube: Kube) -> None:
    use = {
        "name": "ship",
        "parents": ["paid"],
        **shell('echo "{\\"sum\\": $SUM}" > $ADZE_OUTPUT'),
        "env": [{"name": "SUM", "value": "${steps.paid.output.data.sum}"}],
    }
    kube.apply(run("r", {"name": "paid", "waitFor": PAID}, use, spec={"input": {"order": "o-1"}}))
    kube.step("r", "paid", lambda step: step.get("reason") == "WaitingForEvent", 20)
    kube.apply(event("e1", "order:paid", order="o-2", sum=1), event("e2", "order:sent", order="o-1", sum=2))
    kube.apply(event("e3", "order:paid", order="o-1", sum=3))
    status = kube.ended("r")
    assert status["phase"] == "Succeeded"
    assert steps(status)["ship"]["output"] == {"sum": 3}
    assert steps(status)["paid"]["output"]["id"] == "e3"
    assert "pod" not in steps(status)["paid"]["attempts"][0]


def test_an_event_that_came_before_the_step_counts(kube: Kube) -> None:
    first = {"name": "first", **shell("sleep 4")}
    paid = {"name": "paid", "parents": ["first"], "waitFor": PAID, "timeout": "20s"}
    kube.apply(run("r", first, paid, spec={"input": {"order": "o-1"}}))
    kube.step("r", "first", lambda step: step["phase"] == "Running")
    kube.apply(event("e", "order:paid", order="o-1"))
    assert kube.ended("r")["phase"] == "Succeeded"


def test_an_event_that_does_not_come(kube: Kube) -> None:
    kube.apply(run("r", {"name": "paid", "waitFor": PAID, "timeout": "2s"}, spec={"input": {"order": "o-1"}}))
    assert steps(kube.ended("r", timeout=30))["paid"]["reason"] == "Timeout"
