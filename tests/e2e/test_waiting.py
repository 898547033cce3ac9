"""What keeps a step from starting is told within ten seconds, and a remedy in time lets the run go on."""

from collections.abc import Iterator

import pytest

from tests.e2e.kube import IMAGE, Kube, Object, run, shell, steps

QUICK = 10.0


def waiting(kube: Kube, reason: str) -> Object:
    """The only step's status once it waits for that reason."""
    return kube.step("r", "a", lambda step: step.get("reason") == reason, timeout=QUICK)


def test_an_image_that_does_not_exist(kube: Kube) -> None:
    kube.apply(run("r", {"name": "a", "image": "localhost/adze/nowhere:1", "startTimeout": "12s"}))
    assert "localhost/adze/nowhere:1" in waiting(kube, "ImagePullBackOff")["message"]
    shown = kube.must("get", "workflowrun", "r")
    assert "ImagePullBackOff" in shown
    status = kube.ended("r")
    assert steps(status)["a"]["reason"] == "StartTimeout"
    assert "ImagePullBackOff" in steps(status)["a"]["message"]


def test_an_image_name_that_is_none(kube: Kube) -> None:
    kube.apply(run("r", {"name": "a", "image": "Not/A:Good:Name"}))
    assert steps(kube.ended("r", timeout=30))["a"]["reason"] == "InvalidImageName"


def test_a_missing_secret_that_comes_in_time(kube: Kube) -> None:
    secret = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "late", "key": "key"}}}
    kube.apply(run("r", {"name": "a", **shell('test "$KEY" = open'), "env": [secret]}))
    assert "late" in waiting(kube, "CreateContainerConfigError")["message"]
    kube.must("create", "secret", "generic", "late", "--from-literal=key=open")
    assert kube.ended("r", timeout=120)["phase"] == "Succeeded"


def test_no_node_has_room(kube: Kube) -> None:
    kube.apply(
        run("r", {"name": "a", **shell("true"), "resources": {"requests": {"cpu": "1000"}}, "startTimeout": "8s"})
    )
    assert "Insufficient cpu" in waiting(kube, "Unschedulable")["message"]
    assert steps(kube.ended("r"))["a"]["reason"] == "StartTimeout"


def test_a_quota_is_waited_for_and_uses_up_no_attempt(kube: Kube) -> None:
    kube.must("create", "quota", "small", "--hard=pods=0")
    kube.apply(run("r", {"name": "a", **shell("true")}))
    assert "exceeded quota" in waiting(kube, "QuotaExceeded")["message"]
    kube.must("delete", "quota", "small")
    status = kube.ended("r", timeout=90)
    assert status["phase"] == "Succeeded"
    assert len(steps(status)["a"]["attempts"]) == 1


@pytest.fixture(params=["Validating", "Mutating"])
def webhook(request: pytest.FixtureRequest, kube: Kube) -> Iterator[str]:
    """An admission webhook that must see the namespace's Pods, and doesn't answer."""
    kind = f"{request.param}WebhookConfiguration"
    hook = {
        "name": "down.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": kube.namespace}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "admissionReviewVersions": ["v1"],
    }
    api, name = "admissionregistration.k8s.io/v1", kube.namespace
    kube.apply({"apiVersion": api, "kind": kind, "metadata": {"name": name}, "webhooks": [hook]})
    yield f"{kind.lower()}/{name}"
    kube.must("delete", kind, name, "--ignore-not-found")


def test_a_webhook_that_is_down_is_waited_for_and_uses_up_no_attempt(kube: Kube, webhook: str) -> None:
    kube.apply(run("r", {"name": "a", **shell("true")}))
    assert "down.example.com" in waiting(kube, "WebhookFailed")["message"]
    assert "WebhookFailed" in kube.must("get", "workflowrun", "r")
    kube.must("delete", webhook)
    status = kube.ended("r", timeout=90)
    assert status["phase"] == "Succeeded"
    assert len(steps(status)["a"]["attempts"]) == 1


def test_a_pod_that_the_namespace_forbids(kube: Kube) -> None:
    kube.must("label", "namespace", kube.namespace, "pod-security.kubernetes.io/enforce=restricted")
    kube.apply(run("r", {"name": "a", **shell("true"), "retries": 5}))
    status = kube.ended("r", timeout=20)
    assert steps(status)["a"]["reason"] == "PodRejected"
    assert "violates PodSecurity" in steps(status)["a"]["message"]
    assert len(steps(status)["a"]["attempts"]) == 1


def test_a_script_runs_where_only_restricted_pods_may(kube: Kube) -> None:
    kube.must("label", "namespace", kube.namespace, "pod-security.kubernetes.io/enforce=restricted")
    kube.apply(run("r", {"name": "a", "script": {"source": "print('fine')"}}))
    assert kube.ended("r")["phase"] == "Succeeded"


def test_out_of_memory(kube: Kube) -> None:
    kube.apply(
        run(
            "r",
            {
                "name": "a",
                "script": {"source": "x = bytearray(256 << 20)\nx[::4096] = b'1' * len(x[::4096])"},
                "resources": {"limits": {"memory": "32Mi"}, "requests": {"memory": "16Mi"}},
            },
        )
    )
    assert steps(kube.ended("r"))["a"]["reason"] == "OOMKilled"


def test_other_runs_go_on_meanwhile(kube: Kube) -> None:
    kube.apply(
        run("stuck", {"name": "a", "image": "localhost/adze/nowhere:1"}), run("fine", {"name": "a", "image": IMAGE})
    )
    assert kube.ended("fine")["phase"] == "Succeeded"
