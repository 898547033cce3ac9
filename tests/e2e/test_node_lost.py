"""A node that falls silent (F16): a Node object without a kubelet, on the real control plane."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tests.e2e.kube import Kube, Object, run, shell, steps

APART = "example.com/apart"
"""A taint that keeps all other Pods away."""
SIZE = {"cpu": "4", "memory": "8Gi", "pods": "10"}


def now() -> str:
    """As Kubernetes writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@contextmanager
def a_node(kube: Kube) -> Iterator[str]:
    """A node that is Ready, as far as anybody knows."""
    name = f"lost-{kube.namespace}"
    taint = {"key": APART, "effect": "NoSchedule"}
    kube.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"taints": [taint]}})
    try:
        report(kube, "node", name, capacity=SIZE, allocatable=SIZE, conditions=[ready("True")])
        yield name
    finally:
        kube.kubectl("delete", "node", name, "--ignore-not-found")


def ready(status: str) -> Object:
    """The condition by which a node is known to live."""
    return {"type": "Ready", "status": status, "reason": "Simulated", "lastHeartbeatTime": now()}


def report(kube: Kube, kind: str, name: str, **status: Any) -> None:
    """What a kubelet would write, or the controller that misses it."""
    body = json.dumps({"status": status})
    kube.must("patch", kind, name, "--subresource=status", "--type=merge", "-p", body)


def on(node: str) -> Object:
    """A Pod that would rather be on that node, and leaves it two seconds after it has fallen silent."""
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    wish = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": here}]}
    leaves = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "tolerationSeconds": 2}
    return {
        "terminationGracePeriodSeconds": 1,
        "affinity": {"nodeAffinity": wish},
        "tolerations": [{"key": APART, "operator": "Exists"}, {**leaves, "operator": "Exists"}],
    }


def overdue(pod: Object) -> bool:
    """Whether a kubelet would have ended the Pod by now."""
    return now() > pod["metadata"].get("deletionTimestamp", "9")


def test_a_lost_node_costs_an_attempt_and_no_retry(kube: Kube) -> None:
    with a_node(kube) as node:
        kube.until("Ready", "node", node, lambda seen: [taint["key"] for taint in seen["spec"]["taints"]] == [APART])
        kube.apply(run("r", {"name": "a", **shell("test $ADZE_ATTEMPT = 2"), "pod": {"spec": on(node)}}))
        pod = kube.step("r", "a", lambda step: bool(step.get("attempts")))["attempts"][0]["pod"]
        kube.until("placed", "pod", pod, lambda seen: seen["spec"].get("nodeName") == node)
        container = {"name": "main", "image": "none", "imageID": "", "ready": True, "restartCount": 0}
        state = {"running": {"startedAt": now()}}
        report(kube, "pod", pod, phase="Running", containerStatuses=[{**container, "state": state}])
        kube.step("r", "a", lambda step: step["phase"] == "Running")

        # What the node controller writes after some 50 s without a sign of life.
        report(kube, "node", node, conditions=[ready("Unknown")])
        step = kube.step("r", "a", lambda step: step.get("reason") == "Terminating", timeout=30)
        assert step["message"] == f"the Pod is being deleted; node {node} has not reported its end"
        kube.until("overdue", "pod", pod, overdue)
        assert len(kube.get("workflowrun", "r")["status"]["steps"][0]["attempts"]) == 1
        assert [item["metadata"]["name"] for item in kube.list("pods")] == [pod], "no second one while it may still run"

        # A person, or the cloud, knows that the machine is off: then Pod GC ends its Pods.
        kube.must("taint", "node", node, "node.kubernetes.io/out-of-service=off:NoExecute")
        status = kube.ended("r", timeout=45)
    assert status["phase"] == "Succeeded", "without a single retry"
    first, second = steps(status)["a"]["attempts"]
    assert (first["node"], first["reason"], first["infrastructure"]) == (node, "DeletionByTaintManager", True)
    assert second["node"] != node
    assert second["startTime"] >= first["finishTime"]
