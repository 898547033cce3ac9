"""From the protocol's calls to HTTP, and from the API server's answers to what the protocol tells apart."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import structlog

from adze.core import calls, names, outputs
from adze.core.calls import Failure, Problem
from adze.core.carrier import Carrier
from adze.core.model import API_VERSION, LEASE_API_VERSION, Entry, Event, Lease, Metadata, Run, Workflow
from adze.core.slots import Slot
from adze.shell import carriers
from adze.shell.cluster import JSON_PATCH, MERGE, METADATA, ApiError, Cluster, resource, selector
from adze.shell.event_lists import EventLists

log = structlog.get_logger()
S = TypeVar("S", Run, Workflow)

_run = msgspec.json.Decoder(Run).decode
_workflow = msgspec.json.Decoder(Workflow).decode
_entry = msgspec.json.Decoder(Entry).decode
_lease = msgspec.json.Decoder(Lease).decode


class _SlotList(msgspec.Struct):
    items: list[Slot] = []


_slot = msgspec.json.Decoder(Slot).decode
_slots = msgspec.json.Decoder(_SlotList).decode


class _Bare(msgspec.Struct):
    metadata: Metadata


_bare = msgspec.json.Decoder(_Bare).decode


class _ConfigMap(msgspec.Struct):
    data: dict[str, str] = {}


_page = msgspec.json.Decoder(_ConfigMap).decode

TOO_LARGE = ("etcdserver: request is too large", "trying to send message larger than max")
"""How etcd, and the client that the API server has for it, refuse an object: with code 500."""
NOT_THERE = Problem(Failure.NOT_FOUND, "NotFound", "the ConfigMap doesn't hold what was written")
MAX_EVENTS = 1000
"""Kubernetes Events that may wait to be posted; further ones are dropped, since the status says the same."""


class Driver:
    """Does the protocol's calls against an API server."""

    def __init__(self, cluster: Cluster, instance: str) -> None:
        self._cluster = cluster
        self._instance = instance
        self._event_lists = EventLists(cluster)
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_EVENTS)
        self._verbs: dict[type, Callable[[Any], Awaitable[Any]]] = {
            calls.ReadRun: self._read_run,
            calls.ReadWorkflow: self._read_workflow,
            calls.WriteStatus: self._write_status,
            calls.ListPods: self._list_pods,
            calls.ListEvents: self._list_events,
            calls.CreatePod: self._create_pod,
            calls.ReadPod: self._read_pod,
            calls.CreatePage: self._create_page,
            calls.ReadPage: self._read_page,
            calls.ReadEntry: self._read_entry,
            calls.StoreEntry: self._create_page,
            calls.DropEntry: self._drop_entry,
            calls.DropPage: self._drop_page,
            calls.OpenGate: self._open_gate,
            calls.Release: self._release,
            calls.DeletePod: self._delete_pod,
            calls.ListSlots: self._list_slots,
            calls.TakeSlot: self._take_slot,
            calls.ReadSlot: self._read_slot,
            calls.MarkSlot: self._mark_slot,
            calls.FreeSlot: self._free_slot,
            calls.DeleteRun: self._delete_run,
            calls.Say: self._say,
            calls.CreateRun: self._create_run,
            calls.WriteWorkflow: self._write_workflow,
            calls.SayOfWorkflow: self._say_of_workflow,
            calls.CreateLease: self._create_lease,
            calls.ReadLease: self._read_lease,
            calls.ReplaceLease: self._replace_lease,
        }

    async def do(self, call: calls.Call | calls.ScheduleCall) -> Any:
        """The answer to a call, or the Problem with it."""
        try:
            return await self._verbs[type(call)](call)
        except ApiError as error:
            return problem(error)

    async def _read_run(self, call: calls.ReadRun) -> Run:
        path = resource(API_VERSION, call.namespace, "workflowruns", call.name)
        if call.known:
            found = _bare(await self._cluster.call("GET", path, accept=METADATA))
            if _seen(found) == _seen(call.known):
                return call.known
        return _run(await self._cluster.call("GET", path))

    async def _read_workflow(self, call: calls.ReadWorkflow) -> Workflow:
        path = resource(API_VERSION, call.namespace, "workflows", call.name)
        return _workflow(await self._cluster.call("GET", path))

    async def _write_status(self, call: calls.WriteStatus) -> Run:
        return await self._swap("workflowruns", call.run, call.status)

    async def _write_workflow(self, call: calls.WriteWorkflow) -> Workflow:
        return await self._swap("workflows", call.workflow, call.status)

    async def _swap(self, plural: str, known: S, status: msgspec.Struct) -> S:
        """Write the fields that differ, if nobody has written meanwhile.

        Then nothing else has changed and the status is what was written, so a large object needn't be sent back.
        """
        path = resource(API_VERSION, known.metadata.namespace, plural, known.metadata.name, "status")
        patch = [*_replaced("/metadata", _seen(known)), *swap(known.status, status)]
        answer = await self._cluster.call("PATCH", path, patch, JSON_PATCH, METADATA)
        return msgspec.structs.replace(known, metadata=_bare(answer).metadata, status=status)

    async def _list_pods(self, call: calls.ListPods) -> dict[str, Carrier]:
        metadata = call.run.metadata
        labels = f"{selector({names.RUN_UID: metadata.uid})},!{names.RELEASED}"
        found: dict[str, Carrier] = {}
        for kind in sorted(call.kinds):
            answer = await self._cluster.call("GET", carriers.path(kind, metadata.namespace), labelSelector=labels)
            found |= {carrier.name: carrier for carrier in carriers.decode_list(kind, answer)}
        return found

    async def _list_events(self, call: calls.ListEvents) -> list[Event]:
        return await self._event_lists.those(call.run.metadata.namespace, call.awaits)

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

    async def _create_page(self, call: calls.CreatePage | calls.StoreEntry) -> None:
        path = resource("v1", call.manifest["metadata"]["namespace"], "configmaps")
        await self._cluster.call("POST", path, call.manifest)

    async def _read_page(self, call: calls.ReadPage) -> dict[str, Any] | Problem:
        found = _page(await self._cluster.call("GET", resource("v1", call.namespace, "configmaps", call.name)))
        content = outputs.read(found.data.get(names.PAGE, ""), call.sha256)
        return NOT_THERE if content is None else content

    async def _read_entry(self, call: calls.ReadEntry) -> Entry:
        return _entry(await self._cluster.call("GET", resource("v1", call.namespace, "configmaps", call.name)))

    async def _drop_entry(self, call: calls.DropEntry) -> None:
        metadata = call.entry.metadata
        path = resource("v1", metadata.namespace, "configmaps", metadata.name)
        await self._cluster.call("DELETE", path, {"preconditions": {"uid": metadata.uid}})

    async def _drop_page(self, call: calls.DropPage) -> None:
        await self._cluster.call("DELETE", resource("v1", call.namespace, "configmaps", call.name))

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

    async def _list_slots(self, call: calls.ListSlots) -> dict[str, Slot]:
        path = resource(LEASE_API_VERSION, call.namespace, "leases")
        answer = await self._cluster.call("GET", path, labelSelector=selector({names.SLOTS: call.group}))
        return {slot.metadata.name: slot for slot in _slots(answer).items}

    async def _take_slot(self, call: calls.TakeSlot) -> Slot:
        return _slot(
            await self._cluster.call("POST", resource(LEASE_API_VERSION, call.namespace, "leases"), call.manifest)
        )

    async def _read_slot(self, call: calls.ReadSlot) -> Slot:
        return _slot(await self._cluster.call("GET", _lease_path(call.slot)))

    async def _mark_slot(self, call: calls.MarkSlot) -> Slot:
        mark = {names.GIVING_BACK: "true" if call.marked else None}
        body = {"metadata": _seen(call.slot) | {"annotations": mark}}
        return _slot(await self._cluster.call("PATCH", _lease_path(call.slot), body, MERGE))

    async def _free_slot(self, call: calls.FreeSlot) -> None:
        preconditions = _seen(call.slot) if call.unchanged else {"uid": call.slot.metadata.uid}
        await self._cluster.call("DELETE", _lease_path(call.slot), {"preconditions": preconditions})

    async def _delete_run(self, call: calls.DeleteRun) -> None:
        metadata = call.run.metadata
        path = resource(API_VERSION, metadata.namespace, "workflowruns", metadata.name)
        body = {"preconditions": _seen(call.run), "propagationPolicy": "Background"}
        await self._cluster.call("DELETE", path, body)

    async def _create_run(self, call: calls.CreateRun) -> Run:
        path = resource(API_VERSION, call.manifest["metadata"]["namespace"], "workflowruns")
        return _run(await self._cluster.call("POST", path, call.manifest))

    async def _create_lease(self, call: calls.CreateLease) -> Lease:
        path = resource(LEASE_API_VERSION, call.manifest["metadata"]["namespace"], "leases")
        return _lease(await self._cluster.call("POST", path, call.manifest))

    async def _read_lease(self, call: calls.ReadLease) -> Lease:
        return _lease(await self._cluster.call("GET", resource(LEASE_API_VERSION, call.namespace, "leases", call.name)))

    async def _replace_lease(self, call: calls.ReplaceLease) -> Lease:
        metadata = call.lease.metadata
        body = {**call.manifest, "metadata": call.manifest["metadata"] | _seen(call.lease)}
        path = resource(LEASE_API_VERSION, metadata.namespace, "leases", metadata.name)
        return _lease(await self._cluster.call("PUT", path, body))

    async def _say(self, call: calls.Say) -> None:
        self._post_later(kubernetes_event("WorkflowRun", call.run.metadata, call.notice, self._instance))

    async def _say_of_workflow(self, call: calls.SayOfWorkflow) -> None:
        self._post_later(kubernetes_event("Workflow", call.workflow.metadata, call.notice, self._instance))

    def _post_later(self, event: dict[str, Any]) -> None:
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("too many Kubernetes Events wait; dropped one", reason=event["reason"])

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


def _seen(item: Run | Workflow | Slot | Lease | _Bare) -> dict[str, Any]:
    """What makes a call hold only for the object as it was seen: metadata of a write, preconditions of a delete."""
    return {"resourceVersion": item.metadata.resource_version, "uid": item.metadata.uid}


def _lease_path(slot: Slot) -> str:
    return resource(LEASE_API_VERSION, slot.metadata.namespace, "leases", slot.metadata.name)


def _replaced(where: str, fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    # RFC 6902: `add` replaces what is there.
    return ({"op": "add", "path": f"{where}/{field}", "value": value} for field, value in fields.items())


def swap(before: msgspec.Struct, after: msgspec.Struct) -> list[dict[str, Any]]:
    """The JSON patch from a status to the next. A merge patch would lose each null in somebody's output."""
    old: dict[str, Any] = msgspec.to_builtins(before)
    new: dict[str, Any] = msgspec.to_builtins(after)
    if not old:
        return [{"op": "add", "path": "/status", "value": new}]
    # The API server drops a field of ours that is null; to `remove` one that isn't there would be refused.
    gone = {field: None for field in old if field not in new}
    changed = {field: value for field, value in new.items() if field not in old or old[field] != value}
    return [*_replaced("/status", gone | changed)]


def problem(error: ApiError) -> Problem:
    """The protocol's name for a failed call."""
    if error.code == 409:
        failure = Failure.EXISTS if error.reason == "AlreadyExists" else Failure.CONFLICT
        return Problem(failure, error.reason, error.message)
    if error.code == 422 and any(cause.field == "metadata.uid" for cause in error.causes):
        # A patch that carries the UID of an object whose name another bears by now.
        return Problem(Failure.CONFLICT, "Conflict", error.message)
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
    if error.code == 413 or any(words in error.message for words in TOO_LARGE):
        return Problem(Failure.REFUSED, calls.TOO_LARGE, error.message)
    if error.code in (400, 403, 422):
        return Problem(Failure.REFUSED, "PodRejected", error.message)
    return Problem(Failure.UNKNOWN, error.reason, error.message)
