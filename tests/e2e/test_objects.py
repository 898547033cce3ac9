"""The objects that carry steps out: Jobs and child runs, and what is left on a Pod."""

import json

from tests.e2e.kube import IMAGE, Kube, Object, run, shell, steps, workflow


def job(command: str, **spec: object) -> Object:
    """The fields of a step that runs a Job."""
    container = {"name": "work", "image": IMAGE, "command": ["sh", "-c", command]}
    return {"job": {"spec": {"backoffLimit": 0, **spec, "template": {"spec": {"containers": [container]}}}}}


def call(name: str, **given: object) -> Object:
    """The fields of a step that runs another Workflow."""
    return {"workflow": {"name": name, "input": given}}


def test_a_job_is_one_attempt(kube: Kube) -> None:
    work = job('test -s /adze/context.json && echo "$JOB_COMPLETION_INDEX ${input.word}"', completions=2, parallelism=2)
    work["job"]["spec"]["completionMode"] = "Indexed"
    kube.apply(run("r", {"name": "a", **work}, spec={"input": {"word": "hi"}}))
    status = kube.ended("r", timeout=90)
    assert status["phase"] == "Succeeded", status
    step = steps(status)["a"]
    assert step["output"] == {"succeeded": 2, "failed": 0}
    (attempt,) = step["attempts"]
    made = kube.get("job", attempt["job"])
    assert "adze.dev/outcome" not in made["metadata"].get("finalizers", [])
    assert made["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert "0 hi" in kube.must("logs", "-l", "batch.kubernetes.io/job-completion-index=0")


def test_a_job_that_fails_is_tried_again(kube: Kube) -> None:
    kube.apply(run("r", {"name": "a", **job('[ "$ADZE_ATTEMPT" = 2 ]'), "retries": 1, "backoff": {"base": "1s"}}))
    status = kube.ended("r", timeout=120)
    assert status["phase"] == "Succeeded", status
    first, second = steps(status)["a"]["attempts"]
    assert first["reason"] == "JobFailed"
    assert "BackoffLimitExceeded" in first["message"]
    assert first["job"] != second["job"]


def test_a_cancel_takes_a_job_and_its_pods_away(kube: Kube) -> None:
    kube.apply(run("r", {"name": "a", **job("trap 'exit 0' TERM; sleep 600 & wait")}))
    kube.step("r", "a", lambda step: step["phase"] == "Running")
    kube.patch("workflowrun", "r", cancel=True)
    assert kube.ended("r")["phase"] == "Cancelled"
    assert kube.list("jobs") == []
    assert [pod for pod in kube.list("pods") if pod["status"]["phase"] == "Running"] == []


def test_a_queued_job_waits_for_its_queue(kube: Kube) -> None:
    """There is no Kueue here: the test admits the Job as Kueue does."""
    queued = job("true")
    queued["job"]["metadata"] = {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}
    kube.apply(run("r", {"name": "a", **queued}))
    waiting = kube.step("r", "a", lambda step: step.get("reason") == "Queued", 20)
    assert "gpus" in waiting["message"]
    made = kube.get("job", waiting["attempts"][0]["job"])
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert made["spec"]["suspend"] is True
    kube.patch("job", made["metadata"]["name"], suspend=False)
    assert kube.ended("r")["phase"] == "Succeeded"


def test_a_job_asks_for_no_more_than_a_step_may(kube: Kube) -> None:
    bad = job("true")
    bad["job"]["spec"]["template"]["spec"]["hostNetwork"] = True
    kube.apply(workflow("bad", {"name": "a", **bad}))
    kube.must("wait", "--for=condition=Ready=False", "workflow/bad", "--timeout=10s")
    (ready,) = (c for c in kube.get("workflow", "bad")["status"]["conditions"] if c["type"] == "Ready")
    assert "spec.steps[a].job.spec.template.spec.hostNetwork: can't be set" in ready["message"]


CHILD = workflow(
    "child",
    {
        "name": "double",
        **shell('echo "{\\"n\\": $((N * 2))}" > $ADZE_OUTPUT'),
        "env": [{"name": "N", "value": "${input.n}"}],
    },
    input={"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}},
)


def test_a_child_run_s_output_is_the_step_s(kube: Kube) -> None:
    kube.apply(CHILD)
    then = {"name": "b", "parents": ["a"], **call("child", n="${steps.a.output.n}")}
    kube.apply(run("r", {"name": "a", **call("child", n="${input.n}")}, then, spec={"input": {"n": 3}}))
    status = kube.ended("r", timeout=90)
    assert status["phase"] == "Succeeded", status
    assert steps(status)["b"]["output"] == {"n": 12}
    name = steps(status)["a"]["attempts"][0]["run"]
    child = kube.get("workflowrun", name)
    assert child["spec"] == {"workflow": "child", "input": {"n": 3}}
    assert child["metadata"]["ownerReferences"][0]["name"] == "r"
    assert child["metadata"]["labels"]["adze.dev/trigger"] == "step"
    parent = kube.get("workflowrun", "r")["metadata"]["uid"]
    assert child["status"]["trigger"] == {"kind": "Step", "run": "r", "runUid": parent, "step": "a"}
    assert "Step" in kube.must("get", "workflowrun", name, "-o", "wide").splitlines()[1].split()
    assert "finalizers" not in child["metadata"]


def test_each_item_has_a_child_run(kube: Kube) -> None:
    kube.apply(CHILD)
    each = {"name": "each", "forEach": "input.list", "failurePolicy": "Continue", **call("child", n="${item}")}
    kube.apply(run("r", each, spec={"input": {"list": [1, "two", 3]}}, output={"all": "${steps.each.output}"}))
    status = kube.ended("r", timeout=120)
    assert status["phase"] == "Succeeded", status
    first, second, third = status["output"]["all"]
    assert (first, third) == ({"n": 2}, {"n": 6})
    assert "RunFailed: " in second["error"] and "InvalidInput" in second["error"], second
    children = kube.list("workflowruns", "adze.dev/run=r,adze.dev/step=each")
    assert sorted(one["metadata"]["labels"]["adze.dev/item"] for one in children) == ["0", "1", "2"]
    assert all("finalizers" not in one["metadata"] for one in children)


def test_a_child_run_that_fails_fails_the_step(kube: Kube) -> None:
    kube.apply(workflow("broken", {"name": "boom", **shell("exit 3")}))
    kube.apply(run("r", {"name": "a", **call("broken")}))
    step = steps(kube.ended("r"))["a"]
    assert (step["phase"], step["reason"]) == ("Failed", "RunFailed")
    assert "boom: ExitCode: exit code 3" in step["message"]


def test_a_cancel_cascades_and_children_clean_up(kube: Kube) -> None:
    long, tidy = {"name": "long", **shell("sleep 600")}, {"name": "tidy", **shell("true")}
    kube.apply(workflow("inner", long, **{"finally": [tidy]}), workflow("outer", {"name": "in", **call("inner")}))
    kube.apply(run("r", {"name": "a", **call("outer")}))

    def inner() -> list[Object]:
        return [one for one in kube.list("workflowruns") if one["spec"].get("workflow") == "inner"]

    def runs(_: Object) -> bool:
        return any(steps(one.get("status", {})).get("long", {}).get("phase") == "Running" for one in inner())

    kube.until("running in the innermost run", "workflowrun", "r", runs)
    kube.patch("workflowrun", "r", cancel=True)
    assert kube.ended("r", timeout=120)["phase"] == "Cancelled"
    (child,) = inner()
    assert child["status"]["phase"] == "Cancelled"
    assert steps(child["status"])["tidy"]["phase"] == "Succeeded"


def test_workflows_that_call_each_other_end(kube: Kube) -> None:
    kube.apply(workflow("ping", {"name": "a", **call("pong")}), workflow("pong", {"name": "b", **call("ping")}))
    kube.apply(run("r", {"name": "start", **call("ping")}))
    status = kube.ended("r", timeout=90)
    assert status["phase"] == "Failed"
    assert "WorkflowCycle: workflows call each other: " in status["message"]
    assert "ping -> pong -> ping" in status["message"]


def test_a_deleted_run_takes_its_children_along(kube: Kube) -> None:
    kube.apply(workflow("inner", {"name": "long", **shell("trap 'exit 0' TERM; sleep 600 & wait")}))
    sleeper = {"name": "b", **job("trap 'exit 0' TERM; sleep 600 & wait")}
    kube.apply(run("r", {"name": "a", **call("inner")}, sleeper))
    kube.step("r", "a", lambda step: step["phase"] == "Running")
    kube.step("r", "b", lambda step: step["phase"] == "Running")
    kube.must("delete", "workflowrun", "r", "--wait=false")
    for kind in ("workflowruns", "jobs", "pods"):
        kube.kubectl("wait", "--for=delete", kind, "--all", "--timeout=55s")
        assert kube.list(kind) == []


def test_a_pod_of_a_step_keeps_no_record_of_its_writers(kube: Kube) -> None:
    """The API server keeps and sends it with each write; scheduler and kubelet write after the gate has opened."""
    kube.apply(run("r", {"name": "a", **shell("true")}))
    assert kube.ended("r")["phase"] == "Succeeded"
    (pod,) = kube.list("pods")
    name = pod["metadata"]["name"]
    kube.until("Succeeded", "pod", name, lambda pod: bool(pod["status"]["phase"] == "Succeeded"))
    shown = json.loads(kube.must("get", "pod", name, "-o", "json", "--show-managed-fields"))
    assert "managedFields" not in shown["metadata"]
