"""What steps lay over their Pods: volumes, sidecars, users, placement; and what nobody may."""

import pytest

from tests.e2e.kube import IMAGE, Kube, Object, run, shell, steps, workflow

SAFE = {"securityContext": {"runAsNonRoot": True, "runAsUser": 65532}}


def overlaid(pod: Object) -> Object:
    """A step that does nothing in a Pod with that spec laid over it."""
    return {"name": "a", **shell("true"), "pod": {"spec": pod}}


def test_a_container_step_runs_where_only_restricted_pods_may(kube: Kube) -> None:
    kube.must("label", "namespace", kube.namespace, "pod-security.kubernetes.io/enforce=restricted")
    fill = {"name": "fill", "image": IMAGE, "command": ["sh", "-c", "id -u > /data/user"]}
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    step = {
        "name": "a",
        **shell('echo "{\\"user\\": $(cat /data/user)}" > $ADZE_OUTPUT'),
        "pod": {
            "spec": {
                "containers": [{"name": "main", **mounts}],
                "initContainers": [{**fill, **mounts}],
                "volumes": [{"name": "data", "emptyDir": {}}],
            }
        },
    }
    kube.apply(run("r", step, defaults={"pod": {"spec": SAFE}}))
    status = kube.ended("r")
    assert status["phase"] == "Succeeded", status
    assert status["output"] == {"user": 65532}


def test_a_sidecar_ends_with_its_step(kube: Kube) -> None:
    side = {"name": "side", "image": IMAGE, "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait"]}
    labels = {"metadata": {"labels": {"team": "shop"}, "annotations": {"example.com/why": "test"}}}
    pod = {**labels, "spec": {"initContainers": [{**side, "restartPolicy": "Always"}]}}
    kube.apply(run("r", {"name": "a", **shell("true"), "pod": pod}))
    assert kube.ended("r")["phase"] == "Succeeded"
    (found,) = kube.list("pods", "team=shop")
    assert [c["name"] for c in found["spec"]["initContainers"]] == ["side"]


def test_an_init_container_that_fails_fails_the_attempt(kube: Kube) -> None:
    broken = {"name": "fetch", "image": IMAGE, "command": ["sh", "-c", "exit 3"]}
    kube.apply(run("r", overlaid({"initContainers": [broken]})))
    step = steps(kube.ended("r"))["a"]
    assert (step["phase"], step["reason"]) == ("Failed", "InitContainerFailed")
    assert step["message"].startswith("init container fetch: exit code 3")


REFUSED = {
    "host network": ({"hostNetwork": True}, 'unknown field "hostNetwork"'),
    "host processes": ({"hostPID": True}, 'unknown field "hostPID"'),
    "host path": ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, 'unknown field "hostPath"'),
    "host port": (
        {"containers": [{"name": "main", "ports": [{"containerPort": 1, "hostPort": 1}]}]},
        'unknown field "hostPort"',
    ),
    "privileged": (
        {"containers": [{"name": "main", "securityContext": {"privileged": True}}]},
        'unknown field "privileged"',
    ),
    "capability": (
        {"containers": [{"name": "main", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
        "capabilities.add[0]: Unsupported value",
    ),
    "restart policy": ({"restartPolicy": "Always"}, 'unknown field "restartPolicy"'),
    "gates": ({"schedulingGates": []}, 'unknown field "schedulingGates"'),
}


@pytest.mark.parametrize(("pod", "message"), REFUSED.values(), ids=REFUSED)
def test_the_api_server_refuses_what_is_not_on_the_list(kube: Kube, pod: Object, message: str) -> None:
    assert message in kube.refused(workflow("bad", overlaid(pod)))


INVALID = {
    "own volume": ({"volumes": [{"name": "adze"}]}, "spec.steps[a].pod.spec.volumes[adze]: is adze's own"),
    "service account": (
        {"serviceAccountName": "admin"},
        "spec.steps[a].pod.spec.serviceAccountName: 'admin' is not allowed here; allowed: none",
    ),
}


@pytest.mark.parametrize(("pod", "message"), INVALID.values(), ids=INVALID)
def test_the_workflow_says_what_it_may_not_have(kube: Kube, pod: Object, message: str) -> None:
    kube.apply(workflow("bad", overlaid(pod)))
    seen = kube.until("reviewed", "workflow", "bad", lambda w: "conditions" in w.get("status", {}), timeout=10)
    ready = next(c for c in seen["status"]["conditions"] if c["type"] == "Ready")
    assert ready["status"] == "False"
    assert message in ready["message"]


def test_a_run_gets_no_service_account_by_the_back_door(kube: Kube) -> None:
    kube.must("create", "serviceaccount", "admin")
    kube.apply(run("r", overlaid({"serviceAccountName": "admin"})))
    step = steps(kube.ended("r", timeout=15))["a"]
    assert (step["phase"], step["reason"]) == ("Failed", "Forbidden")
    assert kube.list("pods") == []
