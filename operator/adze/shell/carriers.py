"""Pods, Jobs and child runs over HTTP: where they are, how they are read, opened, let go and ended."""

from typing import Any, Generic, TypeVar

import msgspec

from adze.core import names
from adze.core.carrier import Carrier
from adze.core.children import Child
from adze.core.jobs import Job
from adze.core.model import API_VERSION
from adze.core.pods import Pod
from adze.shell.cluster import MERGE, STRATEGIC, resource

C = TypeVar("C", bound=Carrier)
Patch = tuple[dict[str, Any], str]
"""A body and its content type."""


class _List(msgspec.Struct, Generic[C]):
    items: list[C] = []


KINDS: dict[str, tuple[type[Carrier], str, str]] = {
    "Pod": (Pod, "v1", "pods"),
    "Job": (Job, "batch/v1", "jobs"),
    "WorkflowRun": (Child, API_VERSION, "workflowruns"),
}
"""Kubernetes kind to what is read of it, group and version, and resource."""
_NAMES = {kind: name for name, (kind, _, _) in KINDS.items()}
_one = {name: msgspec.json.Decoder(kind).decode for name, (kind, _, _) in KINDS.items()}
_many = {name: msgspec.json.Decoder(_List[kind]).decode for name, (kind, _, _) in KINDS.items()}  # type: ignore[valid-type]
REJECTED = {"Pod": "PodRejected", "Job": "JobRejected", "WorkflowRun": "RunRejected"}
"""The reason for a create that the API server refuses for good."""


def path(kind: str, namespace: str | None, name: str = "") -> str:
    """The path of an object of that kind, or of all of them."""
    _, group, plural = KINDS[kind]
    return resource(group, namespace, plural, name)


def path_of(carrier: Carrier) -> str:
    """The path of an object."""
    return path(_NAMES[type(carrier)], carrier.metadata.namespace, carrier.name)


def decode(kind: str, answer: bytes) -> Carrier:
    """An object as the API server answered it."""
    return _one[kind](answer)


def decode_as(carrier: Carrier, answer: bytes) -> Carrier:
    """A newer sight of the same object."""
    return decode(_NAMES[type(carrier)], answer)


def decode_list(kind: str, answer: bytes) -> list[Carrier]:
    """A list as the API server answered it."""
    found: list[Carrier] = _many[kind](answer).items
    return found


def opened(carrier: Carrier) -> Patch:
    """The gate off, if the object still has the version that is shown."""
    metadata = {"resourceVersion": carrier.metadata.resource_version, "uid": carrier.metadata.uid}
    if isinstance(carrier, Pod):
        # Of the kinds of patch this one costs the API server the least: a merge patch takes it half as long again.
        # One empty entry ends the record of who wrote which field, which else costs at each write (docs/adr/0034).
        return {
            "metadata": {**metadata, "managedFields": [{}]},
            "spec": {"schedulingGates": [{"name": names.GATE, "$patch": "delete"}]},
        }, STRATEGIC
    free: dict[str, Any] = {"metadata": {**metadata, "annotations": {names.GATE: None}}}
    if isinstance(carrier, Job):
        # A queue starts the Job itself, once it has room.
        if queue := carrier.metadata.annotations.queue:
            free["metadata"]["labels"] = {names.QUEUE: queue}
        else:
            free["spec"] = {"suspend": False}
    return free, MERGE


def released(carrier: Carrier) -> Patch:
    """Our finalizer off, all others as they are. What has ended gets a label that takes it out of sight."""
    metadata = carrier.metadata
    label: dict[str, Any] = {"labels": {names.RELEASED: "true"}} if carrier.ended else {}
    if isinstance(carrier, Child):
        # Kinds of our own know no strategic merge, so this one goes by version.
        others = [name for name in metadata.finalizers if name != names.FINALIZER]
        kept = {
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
            "finalizers": others or None,
            **label,
        }
        return {"metadata": kept}, MERGE
    # Not by version: the kubelet may write at the same time.
    kept = {"uid": metadata.uid, "$deleteFromPrimitiveList/finalizers": [names.FINALIZER], **label}
    return {"metadata": kept}, STRATEGIC


def ended(carrier: Carrier) -> tuple[str, dict[str, Any], str]:
    """Method, body and content type of the call that ends it."""
    uid = carrier.metadata.uid
    if isinstance(carrier, Child):
        return "PATCH", {"metadata": {"uid": uid}, "spec": {"cancel": True}}, MERGE
    # In the foreground a Job stays until its Pods are gone: only then has the attempt ended.
    policy = "Foreground" if isinstance(carrier, Job) else "Background"
    return "DELETE", {"preconditions": {"uid": uid}, "propagationPolicy": policy}, "application/json"
