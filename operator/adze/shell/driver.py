"""From the protocol's calls to HTTP, and from the API server's answers to what the protocol tells apart."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from adze.core import calls, names
from adze.core.calls import Failure, Problem
from adze.core.carrier import Carrier
from adze.core.model import API_VERSION, Run, Workflow
from adze.shell import carriers
from adze.shell.cluster import MERGE, ApiError, Cluster, resource, selector

log = structlog.get_logger()

_run = msgspec.json.Decoder(Run).decode
_workflow = msgspec.json.Decoder(Workflow).decode


class _ConfigMap(msgspec.Struct):
    data: dict[str, str] = {}


_page = msgspec.json.Decoder(_ConfigMap).decode
_outputs = msgspec.json.Decoder(dict[str, Any]).decode

MAX_EVENTS = 1000
"""Kubernetes Events that may wait to be posted; further ones are dropped, since the status says the same."""


class Driver:
    """Does the protocol's calls against an API server."""

    def __init__(self, cluster: Cluster, instance: str) -> None:
        self._cluster = cluster
        self._instance = instance
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_EVENTS)
        self._verbs: dict[type, Callable[[Any], Awaitable[Any]]] = {
            calls.ReadRun: self._read_run,
            calls.ReadWorkflow: self._read_workflow,
            calls.WriteStatus: self._write_status,
            calls.ListPods: self._list_pods,
            calls.CreatePod: self._create_pod,
            calls.ReadPod: self._read_pod,
            calls.CreatePage: self._create_page,
            calls.ReadPage: self._read_page,
            calls.OpenGate: self._open_gate,
            calls.Release: self._release,
            calls.DeletePod: self._delete_pod,
            calls.DeleteRun: self._delete_run,
            calls.Say: self._say,
        }

    async def do(self, call: calls.Call) -> Any:
        """The answer to a call, or the Problem with it."""
        try:
            return await self._verbs[type(call)](call)
        except ApiError as error:
            return problem(error)

    async def _read_run(self, call: calls.ReadRun) -> Run:
        return _run(await self._cluster.call("GET", resource(API_VERSION, call.namespace, "workflowruns", call.name)))

    async def _read_workflow(self, call: calls.ReadWorkflow) -> Workflow:
        path = resource(API_VERSION, call.namespace, "workflows", call.name)
        return _workflow(await self._cluster.call("GET", path))

    async def _write_status(self, call: calls.WriteStatus) -> Run:
        """A merge patch of the fields that differ; with the resourceVersion in it, it is a compare-and-swap."""
        metadata = call.run.metadata
        path = resource(API_VERSION, metadata.namespace, "workflowruns", metadata.name, "status")
        body = {
            "metadata": {"resourceVersion": metadata.resource_version, "uid": metadata.uid},
            "status": difference(call.run.status, call.status),
        }
        return _run(await self._cluster.call("PATCH", path, body, MERGE))

    async def _list_pods(self, call: calls.ListPods) -> dict[str, Carrier]:
        metadata = call.run.metadata
        labels = f"{selector({names.RUN_UID: metadata.uid})},!{names.RELEASED}"
        found: dict[str, Carrier] = {}
        for kind in sorted(call.kinds):
            answer = await self._cluster.call("GET", carriers.path(kind, metadata.namespace), labelSelector=labels)
            found |= {carrier.name: carrier for carrier in carriers.decode_list(kind, answer)}
        return found

    async def _create_pod(self, call: calls.CreatePod) -> Carrier | Problem:
        kind = call.manifest["kind"]
        path = carriers.path(kind, call.run.metadata.namespace)
        try:
            return carriers.decode(kind, await self._cluster.call("POST", path, call.manifest))
        except ApiError as error:
            found = problem(error)
            lasting = found.failure is Failure.REFUSED
            return replace(found, reason=carriers.REJECTED[kind]) if lasting else found

    async def _read_pod(self, call: calls.ReadPod) -> Carrier:
        return carriers.decode(
            call.kind, await self._cluster.call("GET", carriers.path(call.kind, call.namespace, call.name))
        )

    async def _create_page(self, call: calls.CreatePage) -> None:
        path = resource("v1", call.manifest["metadata"]["namespace"], "configmaps")
        await self._cluster.call("POST", path, call.manifest)

    async def _read_page(self, call: calls.ReadPage) -> dict[str, Any]:
        found = _page(await self._cluster.call("GET", resource("v1", call.namespace, "configmaps", call.name)))
        return _outputs(found.data.get(names.PAGE, "{}"))

    async def _open_gate(self, call: calls.OpenGate) -> Carrier:
        return await self._patch(call.pod, carriers.opened(call.pod))

    async def _release(self, call: calls.Release) -> Carrier:
        return await self._patch(call.pod, carriers.released(call.pod))

    async def _patch(self, carrier: Carrier, patch: carriers.Patch) -> Carrier:
        answer = await self._cluster.call("PATCH", carriers.path_of(carrier), *patch)
        return carriers.decode_as(carrier, answer)

    async def _delete_pod(self, call: calls.DeletePod) -> None:
        method, body, kind = carriers.ended(call.pod)
        await self._cluster.call(method, carriers.path_of(call.pod), body, kind)

    async def _delete_run(self, call: calls.DeleteRun) -> None:
        metadata = call.run.metadata
        path = resource(API_VERSION, metadata.namespace, "workflowruns", metadata.name)
        preconditions = {"uid": metadata.uid, "resourceVersion": metadata.resource_version}
        await self._cluster.call("DELETE", path, {"preconditions": preconditions, "propagationPolicy": "Background"})

    async def _say(self, call: calls.Say) -> None:
        event = kubernetes_event("WorkflowRun", call.run.metadata, call.notice, self._instance)
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("too many Kubernetes Events wait; dropped one", reason=call.notice.reason)

    async def post_events(self) -> None:
        """Post the waiting Kubernetes Events, one after the other, until cancelled."""
        while True:
            event = await self._events.get()
            try:
                await self._cluster.call("POST", resource("v1", event["metadata"]["namespace"], "events"), event)
            except ApiError as error:
                log.warning("Kubernetes Event not posted", reason=event["reason"], error=str(error))


def kubernetes_event(kind: str, metadata: Any, notice: Any, instance: str) -> dict[str, Any]:
    """A core/v1 Event about an object of ours."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata.name[:200]}.", "namespace": metadata.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": kind,
            "name": metadata.name,
            "namespace": metadata.namespace,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        },
        "type": notice.type,
        "reason": notice.reason,
        "message": notice.message,
        "source": {"component": "adze", "host": instance},
        "reportingComponent": "adze.dev/operator",
        "reportingInstance": instance,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def difference(before: msgspec.Struct, after: msgspec.Struct) -> dict[str, Any]:
    """The fields that a merge patch must carry; a field that went away is null."""
    old: dict[str, Any] = msgspec.to_builtins(before)
    new: dict[str, Any] = msgspec.to_builtins(after)
    gone = {field: None for field in old if field not in new}
    return gone | {field: value for field, value in new.items() if field not in old or old[field] != value}


def problem(error: ApiError) -> Problem:
    """The protocol's name for a failed call."""
    if error.code == 409:
        failure = Failure.EXISTS if error.reason == "AlreadyExists" else Failure.CONFLICT
        return Problem(failure, error.reason, error.message)
    if error.code == 404:
        return Problem(Failure.NOT_FOUND, error.reason, error.message)
    if error.code == 403 and "exceeded quota" in error.message:
        return Problem(Failure.LATER, "QuotaExceeded", error.message)
    if error.code == 403 and any(cause.reason == "NamespaceTerminating" for cause in error.causes):
        return Problem(Failure.LATER, "NamespaceTerminating", error.message)
    if error.code == 403 and "cannot create resource" in error.message:
        return Problem(Failure.LATER, "PermissionDenied", error.message)
    if error.code >= 500 and "webhook" in error.message:
        return Problem(Failure.LATER, "WebhookFailed", error.message)
    if error.code in (400, 403, 413, 422):
        return Problem(Failure.REFUSED, "PodRejected", error.message)
    return Problem(Failure.UNKNOWN, error.reason, error.message)
