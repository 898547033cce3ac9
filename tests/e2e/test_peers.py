"""Bugs of other workflow engines where only a real cluster tells; docs/guarantees.md lists all of them."""

import itertools
import json
import re
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


def slots(kube: Kube, number: int) -> list[str]:
    """UIDs of the slots, once there are so many."""

    def found(_: Object) -> bool:
        return len(kube.list("leases", "adze.dev/group")) == number

    kube.until(f"with {number} slots", "namespace", kube.namespace, found)
    return [lease["metadata"]["uid"] for lease in kube.list("leases", "adze.dev/group")]


def all_others_wait(kube: Kube) -> None:
    """Once all runs but two are queued."""

    def found(_: Object) -> bool:
        runs = kube.list("workflowruns")
        return sum(map(queued, runs)) == len(runs) - 2

    kube.until("with all others queued", "namespace", kube.namespace, found)


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
    slots(kube, 3)  # two runs, and a step of one of them
    all_others_wait(kube)
    if by == "delete":
        kube.must("delete", "workflowruns", *names, "--wait=false")
    else:
        for name in names:
            kube.patch("workflowrun", name, cancel=True)
    kube.apply(run("next", {"name": "a", **shell("true")}, concurrency=[key("outer", 2, scope="Namespace")]))
    assert kube.ended("next")["phase"] == "Succeeded"
    assert slots(kube, 0) == []


def test_an_operator_that_starts_with_a_full_key_admits_nobody(kube: Kube) -> None:
    """argo#11098 (fix PR#15609): the restarted controller forgot the first holder of each semaphore."""
    kube.apply(workflow("w", {"name": "a", **LONG}, concurrency=[key("k", 2)]))
    names = [f"r{number}" for number in range(4)]
    kube.apply(*(run_of(name, "w") for name in names))
    held = slots(kube, 2)
    all_others_wait(kube)
    kube.adze.kubectl("--namespace", NAMESPACE, "delete", "pods", "--all", "--force", "--grace-period=0")
    # A run that came later is looked at after all of those that were there.
    kube.apply(run("later", {"name": "a", **shell("true")}))
    assert kube.ended("later")["phase"] == "Succeeded"
    assert sum(started(kube.get("workflowrun", name)) for name in names) == 2
    assert slots(kube, 2) == held


def conflicts(kube: Kube) -> float:
    """How many writes of the operator have met another's so far."""
    pods = json.loads(kube.adze.kubectl("--namespace", NAMESPACE, "get", "pods", "-o", "json").stdout)["items"]
    names = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    paths = [f"/api/v1/namespaces/{NAMESPACE}/pods/{name}:8080/proxy/metrics" for name in names]
    text = "".join(kube.must("get", "--raw", path) for path in paths)
    return sum(map(float, re.findall(r'^adze_api_calls_total{code="409",method="PATCH"} (.+)$', text, re.M)))


def label_on(kube: Kube, over: Event) -> None:
    """Somebody labels a run and its Workflow as often as one connection lets them."""
    group, version = API_VERSION.split("/")
    with new_client_from_config(str(kube.adze.kubeconfig)) as client:
        objects = CustomObjectsApi(client)
        for number in itertools.count():
            plural, name = ("workflowruns", "r") if number % 10 else ("workflows", "w")
            label = {"metadata": {"labels": {"touched": str(number)}}}
            objects.patch_namespaced_custom_object(group, version, kube.namespace, plural, name, label)
            if over.is_set():
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
    met = conflicts(kube) - before
    print(f"{met:.0f} writes of the operator met a patch")
    assert met, "patches that meet nobody prove nothing"
    assert status["phase"] == "Succeeded"
    assert [len(step["attempts"]) for step in status["steps"]] == [1] * 5
    assert len(kube.list("pods", "adze.dev/run=r")) == 5
