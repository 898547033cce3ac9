"""Bugs of other workflow engines where only a real cluster tells; docs/guarantees.md lists all of them."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from kubernetes.client import CustomObjectsApi
from kubernetes.config import new_client_from_config

from adze.core.model import API_VERSION
from tests.e2e.kube import IMAGE, Kube, Object, run, run_of, shell, steps, workflow
from tests.e2e.test_concurrency import key, queued, started
from tests.installation import NAMESPACE, scale

LONG = shell("trap 'exit 0' TERM; sleep 300 & wait")


def running(step: Object) -> bool:
    """Whether a step runs."""
    return bool(step["phase"] == "Running")


def test_a_step_out_of_memory_ends_though_a_sidecar_runs_on(kube: Kube) -> None:
    """argo#8456: the main container was OOM-killed, the executor's beside it ran on, the workflow stayed Running."""
    eats = {
        "name": "a",
        "script": {"source": "x = bytearray(256 << 20)\nx[::4096] = b'1' * len(x[::4096])"},
        "resources": {"limits": {"memory": "32Mi"}, "requests": {"memory": "16Mi"}},
        "pod": {"spec": {"containers": [{"name": "side", "image": IMAGE, "command": ["sleep", "300"]}]}},
    }
    kube.apply(run("r", eats))
    status = kube.ended("r")
    assert (status["phase"], steps(status)["a"]["reason"]) == ("Failed", "OOMKilled")


def test_an_evicted_pod_costs_no_retry_and_no_run(kube: Kube) -> None:
    """argo#13152: a node autoscaler evicted the Pod and the workflow stayed Running; tkn#9467: the task recovered from
    an eviction, but its pipeline had been failed for good.
    """
    once = shell('[ "$ADZE_ATTEMPT" = 2 ] || sleep 300')
    kube.apply(run("r", {"name": "a", **once}))
    pod = kube.step("r", "a", running)["attempts"][0]["pod"]
    metadata = {"name": pod, "namespace": kube.namespace}
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": metadata,
        "deleteOptions": {"gracePeriodSeconds": 1},
    }
    path = f"/api/v1/namespaces/{kube.namespace}/pods/{pod}/eviction"
    kube.must("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    status = kube.ended("r")
    assert status["phase"] == "Succeeded"
    first, second = steps(status)["a"]["attempts"]
    assert (first["reason"], first["infrastructure"], second.get("reason")) == ("EvictionByEvictionAPI", True, None)


def test_a_pod_that_vanishes_while_the_operator_is_away_ends_its_attempt(kube: Kube) -> None:
    """argo#3006: nobody had seen the Pod go; the workflow was Running for ever with nothing behind it."""
    kube.apply(run("r", {"name": "a", **LONG}))
    pod = kube.step("r", "a", running)["attempts"][0]["pod"]
    scale(kube.adze, 0)
    try:
        kube.must("patch", "pod", pod, "--type=merge", "-p", json.dumps({"metadata": {"finalizers": None}}))
        kube.must("delete", "pod", pod, "--force", "--grace-period=0")
    finally:
        scale(kube.adze, 1)
    status = kube.ended("r")
    assert (status["phase"], steps(status)["a"]["reason"]) == ("Failed", "PodLost")


@pytest.mark.parametrize("by", ["delete", "cancel"])
def test_load_is_shed_and_the_slots_are_free(kube: Kube, by: str) -> None:
    """argo#4632, argo#6340, argo#7633: deleting or terminating what held a semaphore, and what waited for it, freed
    nothing.
    """
    slow = {"name": "a", **LONG, "concurrency": [key("inner", 1)]}
    kube.apply(workflow("w", slow, {**slow, "name": "b"}, concurrency=[key("outer", 2, scope="Namespace")]))
    names = [f"r{number}" for number in range(6)]
    kube.apply(*(run_of(name, "w") for name in names))
    kube.step("r0", "a", running)
    kube.until("queued", "workflowrun", "r5", queued)
    if by == "delete":
        kube.must("delete", "workflowruns", *names, "--wait=false")
    else:
        for name in names:
            kube.patch("workflowrun", name, cancel=True)
    kube.apply(run("next", {"name": "a", **shell("true")}, concurrency=[key("outer", 2, scope="Namespace")]))
    assert kube.ended("next")["phase"] == "Succeeded"
    kube.until(
        "without slots",
        "namespace",
        kube.namespace,
        lambda _: not kube.list("leases", "adze.dev/group"),
    )


def test_an_operator_that_starts_with_a_full_key_admits_nobody(kube: Kube) -> None:
    """argo#11098 (fix PR#15609): the restarted controller forgot the first holder of each semaphore."""
    kube.apply(workflow("w", {"name": "a", **LONG}, concurrency=[key("k", 2)]))
    names = [f"r{number}" for number in range(4)]
    kube.apply(*(run_of(name, "w") for name in names))
    kube.step("r1", "a", running)
    kube.until("queued", "workflowrun", "r3", queued)
    holders = kube.list("leases", "adze.dev/group")
    kube.adze.kubectl("--namespace", "adze-system", "delete", "pods", "--all", "--force", "--grace-period=0")
    # A run that came later is looked at after all of those that were there.
    kube.apply(run("later", {"name": "a", **shell("true")}))
    assert kube.ended("later")["phase"] == "Succeeded"
    assert {name for name in names if started(kube.get("workflowrun", name))} == {"r0", "r1"}
    assert [lease["metadata"]["uid"] for lease in kube.list("leases", "adze.dev/group")] == [
        lease["metadata"]["uid"] for lease in holders
    ]


def conflicts(kube: Kube) -> float:
    """How many writes of the operator have met another's so far."""
    pods = json.loads(kube.adze.kubectl("--namespace", NAMESPACE, "get", "pods", "-o", "json").stdout)["items"]
    paths = [f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}:8080/proxy/metrics" for pod in pods]
    text = "".join(kube.must("get", "--raw", path) for path in paths)
    return sum(float(line.split()[-1]) for line in text.splitlines() if 'code="409",method="PATCH"' in line)


def label_on(kube: Kube, over: Event) -> None:
    """Somebody labels a run and its Workflow some thirty times a second."""
    group, version = API_VERSION.split("/")
    with new_client_from_config(str(kube.adze.kubeconfig)) as client:
        objects = CustomObjectsApi(client)
        for number in itertools.count():
            for plural, name in (("workflowruns", "r"), ("workflows", "w")):
                label = {"metadata": {"labels": {"touched": str(number)}}}
                objects.patch_namespaced_custom_object(group, version, kube.namespace, plural, name, label)
            if over.wait(0.01):
                return


def test_patches_of_others_repeat_nothing(kube: Kube) -> None:
    """kopf#729, kopf#844, kopf#916, tkn#3557: somebody else patched the object meanwhile, and work was done twice."""
    chain = [{"name": f"s{n}", **shell("true"), **({"parents": [f"s{n - 1}"]} if n else {})} for n in range(5)]
    before = conflicts(kube)
    kube.apply(workflow("w", *chain), run_of("r", "w"))
    over = Event()
    with ThreadPoolExecutor() as pool:
        labelling = pool.submit(label_on, kube, over)
        try:
            status = kube.ended("r", 90)
        finally:
            over.set()
        labelling.result()
    assert conflicts(kube) > before, "patches that meet nobody prove nothing"
    assert status["phase"] == "Succeeded"
    assert [len(step["attempts"]) for step in status["steps"]] == [1] * 5
    assert len(kube.list("pods", "adze.dev/run=r")) == 5
