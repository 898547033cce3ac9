"""The protocol's calls answered in memory: one process, one run, every object on disk before its answer."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec

from adze.core import calls, names, outputs
from adze.core.calls import Failure, Problem
from adze.core.carrier import Carrier
from adze.core.manifest import page as page_manifest
from adze.core.model import Approval, Run, Workflow
from adze.core.pods import Pod
from adze.local.leases import Leases
from adze.local.slots import EXISTS, NOT_FOUND, Slots
from adze.local.state import Folder

replace = msgspec.structs.replace

CONFLICT = Problem(Failure.CONFLICT, "Conflict", "the object has been modified")


class Api:
    """A run, its Workflow and its Pods, and the calls' verbs on them."""

    def __init__(self, folder: Folder, workflows: dict[str, Workflow], clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._clock = clock
        self.run = folder.load("run", Run)
        self.workflows = workflows
        self.pods: dict[str, Pod] = {}
        self.manifests: dict[str, dict[str, Any]] = {}
        for manifest, pod in folder.pods():
            self.pods[pod.name] = pod
            self.manifests[pod.name] = manifest
        versions = [self.run.metadata.resource_version, *(pod.metadata.resource_version for pod in self.pods.values())]
        self._version = max(int(version or 0) for version in versions)
        self.pod_changed: Callable[[Pod | None, Pod | None], None] = lambda before, after: None
        self.run_changed: Callable[[Run], None] = lambda run: None
        self._verbs: dict[type, Callable[[Any], Any]] = {
            calls.ReadRun: lambda call: self.run if call.name == self.run.metadata.name else NOT_FOUND,
            calls.ReadWorkflow: lambda call: self.workflows.get(call.name, NOT_FOUND),
            calls.WriteStatus: self._write_status,
            calls.ListEvents: lambda call: [],
            calls.ListPods: lambda call: dict(self.pods),
            calls.CreatePod: self._create_pod,
            calls.CreatePage: self._create_page,
            calls.ReadPage: self._read_page,
            calls.ReadPod: lambda call: self.pods.get(call.name, NOT_FOUND),
            # Nothing is cached here: a file that is being written should do what it says.
            calls.ReadEntry: lambda call: NOT_FOUND,
            calls.StoreEntry: lambda call: None,
            calls.DropEntry: lambda call: None,
            calls.DropPage: lambda call: folder.remove(_page(call.name)),
            calls.OpenGate: self._open_gate,
            calls.Release: self._release,
            calls.DeletePod: self._delete_pod,
            calls.DeleteRun: lambda call: None,  # here runs are kept by number, see `state.KEPT`
            calls.Say: lambda call: None,
            **Slots(self._next).verbs,
            **Leases(folder, self._next).verbs,
        }

    async def do(self, call: calls.Call) -> Any:
        """The answer to a call, or the Problem with it."""
        return self._verbs[type(call)](call)

    def _next(self) -> str:
        self._version += 1
        return str(self._version)

    def _write_status(self, call: calls.WriteStatus) -> Run | Problem:
        if call.run.metadata.resource_version != self.run.metadata.resource_version:
            return CONFLICT
        metadata = replace(self.run.metadata, resource_version=self._next())
        self._put_run(replace(self.run, metadata=metadata, status=call.status))
        return self.run

    def _put_run(self, run: Run) -> None:
        self._folder.save("run", run)
        self.run = run
        self.run_changed(run)

    def decide(self, approval: Approval) -> None:
        """Somebody has decided about a step."""
        metadata = replace(
            self.run.metadata, resource_version=self._next(), generation=self.run.metadata.generation + 1
        )
        spec = replace(self.run.spec, approvals=(*self.run.spec.approvals, approval))
        self._put_run(replace(self.run, metadata=metadata, spec=spec))

    def _create_pod(self, call: calls.CreatePod) -> Pod | Problem:
        name = call.manifest["metadata"]["name"]
        if name in self.pods:
            return EXISTS
        pod = msgspec.convert(call.manifest, Pod)
        metadata = replace(
            pod.metadata, uid=str(uuid4()), resource_version=self._next(), creation_timestamp=self._clock()
        )
        self.manifests[name] = call.manifest
        self._folder.save(f"pods/{name}/manifest", call.manifest)
        return self._put_pod(None, replace(pod, metadata=metadata))

    def _create_page(self, call: calls.CreatePage) -> None:
        self._folder.save(_page(call.manifest["metadata"]["name"]), call.manifest)

    def _read_page(self, call: calls.ReadPage) -> dict[str, Any] | Problem:
        text = self.page(call.name)
        content = None if text is None else outputs.read(text, call.sha256)
        return NOT_FOUND if content is None else content

    def page(self, name: str) -> str | None:
        """What is in a page; None if there's none of that name."""
        try:
            text: str = self._folder.load(_page(name), dict)["data"][names.PAGE]
        except FileNotFoundError:
            return None
        return text

    def hand_over(self, pod: str, text: str) -> bool:
        """Store the large output of a Pod; False if it has handed over another before."""
        name = names.output(pod)
        if (known := self.page(name)) is not None:
            return known == text
        self._folder.save(_page(name), page_manifest(self.run, name, text))
        return True

    def put_pod(self, pod: Pod) -> Pod:
        """Write a Pod. One that is being deleted, has ended and is held by nobody goes."""
        metadata = replace(pod.metadata, resource_version=self._next())
        return self._put_pod(self.pods[pod.name], replace(pod, metadata=metadata))

    def _put_pod(self, before: Pod | None, pod: Pod) -> Pod:
        gone = pod.deleting and not pod.metadata.finalizers and (pod.ended or pod.gated)
        if gone:
            self._folder.pod(pod.name).joinpath("pod.json").unlink()
            del self.pods[pod.name]
        else:
            self._folder.save(f"pods/{pod.name}/pod", pod)
            self.pods[pod.name] = pod
        self.pod_changed(before, None if gone else pod)
        return pod

    def _same(self, pod: Carrier) -> Pod | Problem:
        now = self.pods.get(pod.name)
        if now is None:
            return NOT_FOUND
        return now if now.metadata.uid == pod.metadata.uid else CONFLICT

    def _open_gate(self, call: calls.OpenGate) -> Pod | Problem:
        pod = self._same(call.pod)
        if isinstance(pod, Problem):
            return pod
        if pod.metadata.resource_version != call.pod.metadata.resource_version:
            return CONFLICT
        gates = tuple(gate for gate in pod.spec.scheduling_gates if gate.name != names.GATE)
        return self.put_pod(replace(pod, spec=replace(pod.spec, scheduling_gates=gates)))

    def _release(self, call: calls.Release) -> Pod | Problem:
        pod = self._same(call.pod)
        if isinstance(pod, Problem):
            return pod
        finalizers = tuple(name for name in pod.metadata.finalizers if name != names.FINALIZER)
        return self.put_pod(replace(pod, metadata=replace(pod.metadata, finalizers=finalizers)))

    def _delete_pod(self, call: calls.DeletePod) -> Problem | None:
        pod = self._same(call.pod)
        if isinstance(pod, Problem):
            return pod
        if not pod.deleting:
            self.put_pod(replace(pod, metadata=replace(pod.metadata, deletion_timestamp=self._clock())))
        return None


def _page(name: str) -> str:
    return f"pages/{name}"
