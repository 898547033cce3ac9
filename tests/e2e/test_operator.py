"""The operator may die, be replaced or doubled at any moment: runs end as if nothing had happened."""

import json
import time
from collections.abc import Iterator

import pytest
import yaml

from tests.e2e.kube import Kube, Object, run, shell, steps
from tests.examples.expectation import matches
from tests.installation import NAMESPACE, RELEASE, ROOT, Installation, scale

ORDERS = ROOT / "examples" / "01-order-pipeline"


def operators(adze: Installation) -> list[Object]:
    """The operator's Pods."""
    found = adze.kubectl("-n", NAMESPACE, "get", "pods", "-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "json")
    return [pod for pod in json.loads(found.stdout)["items"] if "deletionTimestamp" not in pod["metadata"]]


def holder(adze: Installation) -> str:
    """Name of the operator Pod that holds the Lease."""
    found = adze.kubectl("-n", NAMESPACE, "get", "lease", RELEASE, "-o", "jsonpath={.spec.holderIdentity}")
    return found.stdout.partition("_")[0]


def kill(adze: Installation, pod: str) -> None:
    """Remove an operator Pod without a moment's grace."""
    adze.kubectl("-n", NAMESPACE, "delete", "pod", pod, "--force", "--grace-period=0")


@pytest.mark.parametrize("pause", [0.3, 1.5, 3.0])
def test_deleting_the_operator_at_any_moment_changes_nothing(kube: Kube, pause: float) -> None:
    kube.must("apply", "-f", str(ORDERS / "workflow.yaml"), "-f", str(ORDERS / "run.yaml"))
    end = time.monotonic() + 150
    while "finishTime" not in kube.get("workflowrun", "order-1001").get("status", {}):
        assert time.monotonic() < end, kube.must("get", "workflowrun", "order-1001", "-o", "yaml")
        for pod in operators(kube.adze):
            kill(kube.adze, pod["metadata"]["name"])
        until_ready(kube.adze)
        kube.kubectl("wait", "workflowrun/order-1001", "--for=condition=Succeeded", f"--timeout={pause}s")
    expected = yaml.safe_load((ORDERS / "expect.yaml").read_text())
    assert matches(expected, kube.ended("order-1001")) == []
    attempts = [a["pod"] for s in steps(kube.ended("order-1001")).values() for a in s.get("attempts", ())]
    pods = [pod["metadata"]["name"] for pod in kube.list("pods")]
    assert sorted(pods) == sorted(attempts)


def until_ready(adze: Installation) -> None:
    """Wait for the operator's Deployment."""
    done = adze.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{RELEASE}", "--timeout=90s", timeout=100)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def two(adze: Installation) -> Iterator[Installation]:
    """An installation with two replicas."""
    scale(adze, 2)
    yield adze
    scale(adze, 1)


def test_a_second_replica_takes_over(two: Installation, kube: Kube) -> None:
    steps_of_run = [{"name": f"s{n}", **shell("sleep 1"), "parents": [f"s{n - 1}"] if n else []} for n in range(6)]
    kube.apply(run("r", *steps_of_run))
    kube.step("r", "s0", lambda step: step["phase"] == "Succeeded")
    first = holder(two)
    assert first in [pod["metadata"]["name"] for pod in operators(two)]
    killed = time.monotonic()
    kill(two, first)
    while holder(two) in ("", first):
        assert time.monotonic() < killed + 20, f"the Lease is still held by {first}"
        time.sleep(0.2)
    assert kube.ended("r", timeout=90)["phase"] == "Succeeded"
    assert len(kube.list("pods")) == 6


def test_a_replica_that_stops_cleanly_is_followed_at_once(two: Installation) -> None:
    first = holder(two)
    stopped = time.monotonic()
    two.kubectl("-n", NAMESPACE, "delete", "pod", first, "--wait=false")
    while holder(two) in ("", first):
        assert time.monotonic() < stopped + 8, f"the Lease is still held by {first}"
        time.sleep(0.1)


def test_helm_test_passes(adze: Installation) -> None:
    done = adze.helm("test", RELEASE, "--namespace", NAMESPACE, "--timeout", "90s", "--logs")
    assert done.returncode == 0, done.stdout + done.stderr
