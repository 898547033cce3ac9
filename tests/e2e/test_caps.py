"""Caps of the installation: how many steps run at a time, and that a wide run leaves room for others."""

from collections.abc import Iterator

import pytest

from tests.e2e.kube import Kube, run, shell
from tests.e2e.test_concurrency import at_once, spans
from tests.installation import NAMESPACE, RELEASE


def set_caps(kube: Kube, *words: str) -> None:
    """Change the operator's environment and wait until only the new one works."""
    there = ("--namespace", NAMESPACE)
    before = kube.must("get", *there, "pods", "-l", f"app.kubernetes.io/name={RELEASE}", "-o", "name").split()
    kube.must("set", "env", *there, f"deployment/{RELEASE}", *words)
    kube.must("rollout", "status", *there, f"deployment/{RELEASE}", "--timeout=50s")
    # A rollout is done while the old Pod still ends, and until it has ended it still starts steps under the old caps.
    kube.must("wait", *there, *before, "--for=delete", "--timeout=50s")


@pytest.fixture
def capped(kube: Kube) -> Iterator[Kube]:
    """Two steps at a time."""
    set_caps(kube, "ADZE_PARALLELISM=2")
    yield kube
    set_caps(kube, "ADZE_PARALLELISM=0")


def test_who_waits_when_the_operator_starts_is_served(capped: Kube) -> None:
    kube = capped
    operator = ("--namespace", NAMESPACE, f"deployment/{RELEASE}")
    kube.must("scale", *operator, "--replicas=0")
    kube.must("wait", "--namespace", NAMESPACE, "pod", "-l", f"app.kubernetes.io/name={RELEASE}", "--for=delete")
    kube.apply(run("wide", {"name": "a", **shell("true"), "forEach": "[1, 2, 3]"}))
    kube.must("scale", *operator, "--replicas=1")
    assert kube.ended("wide")["phase"] == "Succeeded"


def test_a_wide_run_leaves_room_and_the_cap_holds(capped: Kube) -> None:
    kube = capped
    kube.apply(run("wide", {"name": "a", **shell("sleep 2"), "forEach": "[1, 2, 3, 4, 5, 6]"}))
    waits = kube.until(
        "waiting for a place", "workflowrun", "wide", lambda item: item.get("status", {}).get("reason") == "Parallelism"
    )
    assert "2 of 2 steps run, 2 of them in namespace" in waits["status"]["message"]
    kube.apply(run("narrow", {"name": "a", **shell("sleep 1")}))
    narrow, wide = kube.ended("narrow"), kube.ended("wide")
    assert {narrow["phase"], wide["phase"]} == {"Succeeded"}
    assert narrow["finishTime"] < wide["finishTime"], "the narrow run's turn came before the wide run's end"
    pods = kube.list("pods", "adze.dev/run-uid")
    states = [pod["status"]["containerStatuses"][0]["state"]["terminated"] for pod in pods]
    times = [{"startTime": state["startedAt"], "finishTime": state["finishedAt"]} for state in states]
    assert len(times) == 7
    assert at_once(spans([{"steps": [{"attempts": times}]}])) == 2
