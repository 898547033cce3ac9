"""Why a Pod that should run doesn't, and what else a Pod tells."""

import msgspec
import pytest

from adze.core.model import OwnerReference
from adze.core.pods import ContainerState, ContainerStatus, Gate, Pod, PodSpec, Waiting, waiting
from tests.builders import (
    deleting,
    failed,
    lost,
    opened,
    placed,
    pod,
    released,
    running,
    succeeded,
    unschedulable,
    with_condition,
    with_sidecar,
    with_status,
)
from tests.builders import waiting as waiting_pod

NO_NODE = "0/3 nodes are available: 3 Insufficient memory."


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        (pod(), None),
        (with_condition(pod(), "PodScheduled", "False", "SchedulingGated"), None),
        (opened(pod()), None),
        (placed(pod()), None),
        (unschedulable(opened(pod())), ("Unschedulable", NO_NODE)),
        (with_condition(placed(pod()), "PodScheduled", "True"), None),
        (waiting_pod(pod(), "ContainerCreating"), None),
        (waiting_pod(pod(), "PodInitializing"), None),
        (waiting_pod(pod(), ""), None),
        (waiting_pod(pod(), "ImagePullBackOff", "back-off"), ("ImagePullBackOff", "back-off")),
        (waiting_pod(pod(), "ErrImagePull", "not found"), ("ImagePullBackOff", "not found")),
        (waiting_pod(pod(), "InvalidImageName", "bad"), ("InvalidImageName", "bad")),
        (
            waiting_pod(pod(), "CreateContainerConfigError", "no secret x"),
            ("CreateContainerConfigError", "no secret x"),
        ),
        (waiting_pod(pod(), "ImagePullBackOff"), ("ImagePullBackOff", "ImagePullBackOff")),
        (
            with_sidecar(running(pod()), ContainerState(waiting=Waiting(reason="ErrImagePull", message="proxy"))),
            ("ImagePullBackOff", "proxy"),
        ),
        (running(pod()), None),
        (
            deleting(running(pod())),
            ("Terminating", "the Pod is being deleted; node node-1 has not reported its end"),
        ),
    ],
)
def test_a_pod_says_why_it_waits(seen: Pod, wanted: tuple[str, str] | None) -> None:
    assert waiting(seen) == wanted


def test_an_init_container_counts_too() -> None:
    state = ContainerState(waiting=Waiting(reason="ImagePullBackOff", message="init"))
    seen = with_status(placed(pod()), init_container_statuses=(ContainerStatus(name="setup", state=state),))
    assert waiting(seen) == ("ImagePullBackOff", "init")


@pytest.mark.parametrize(
    ("seen", "gated", "held", "going", "ended"),
    [
        (pod(), True, True, False, False),
        (opened(pod()), False, True, False, False),
        (released(running(pod())), False, False, False, False),
        (deleting(running(pod())), False, True, True, False),
        (succeeded(pod()), False, True, False, True),
        (failed(pod()), False, True, False, True),
        (lost(pod()), False, True, False, True),
    ],
)
def test_a_pod_tells_how_far_it_is(seen: Pod, gated: bool, held: bool, going: bool, ended: bool) -> None:
    assert (seen.gated, seen.held, seen.deleting, seen.ended) == (gated, held, going, ended)


def test_another_ones_gate_is_not_ours() -> None:
    other = msgspec.structs.replace(pod(), spec=PodSpec(scheduling_gates=(Gate(name="kueue.x-k8s.io/admission"),)))
    assert not other.gated


@pytest.mark.parametrize(("controller", "uid", "ours"), [(True, "u", True), (False, "u", False), (True, "v", False)])
def test_only_a_controller_owns_a_pod(controller: bool, uid: str, ours: bool) -> None:
    owners = (OwnerReference(uid="other"), OwnerReference(uid=uid, controller=controller))
    seen = msgspec.structs.replace(pod(), metadata=msgspec.structs.replace(pod().metadata, owner_references=owners))
    assert seen.owned_by("u") is ours


def test_a_pod_of_the_api_server_is_read_narrowly() -> None:
    seen = msgspec.json.decode(
        b"""{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n", "uid": "u",
        "creationTimestamp": "2026-03-01T12:00:00Z", "managedFields": [{"manager": "x"}]},
        "spec": {"nodeName": "node-1", "containers": []},
        "status": {"phase": "Succeeded", "containerStatuses": [{"name": "main", "restartCount": 0, "state":
        {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": "2026-03-01T12:00:00Z"}}}]}}""",
        type=Pod,
    )
    assert (seen.name, seen.ended, seen.main.terminated is not None) == ("p", True, True)
