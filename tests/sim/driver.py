"""The protocol's calls against the API server in memory: the counterpart of `adze.shell.driver`."""

from typing import Any

import msgspec

from adze.core import calls, names, outputs
from adze.core.calls import Problem
from adze.core.model import Entry, Lease, Run, Workflow
from adze.core.pods import Pod
from adze.core.slots import Slot
from tests.sim.api import CONFLICT, NOT_FOUND, Api, replace


class Driver:
    """Does calls. Mutants replace its methods."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def do(self, call: calls.Call) -> Any:
        """The answer to a call, or the Problem with it."""
        verb = VERBS[type(call)]
        return getattr(self, verb)(call)

    def read_run(self, call: calls.ReadRun) -> Run | Problem:
        """Quorum GET."""
        return self.api.runs.get(call.name, NOT_FOUND)

    def read_workflow(self, call: calls.ReadWorkflow) -> Workflow | Problem:
        """Quorum GET."""
        return self.api.workflows.get(call.name, NOT_FOUND)

    def write_status(self, call: calls.WriteStatus) -> Run | Problem:
        """Compare-and-swap."""
        return self.api.write_status(call.run, call.status)

    def list_pods(self, call: calls.ListPods) -> dict[str, Pod]:
        """Quorum LIST by label."""
        return {pod.name: pod for pod in self.api.pods_of(call.run.metadata.uid) if not pod.done}

    def create_pod(self, call: calls.CreatePod) -> Pod | Problem:
        """Create if absent."""
        return self.api.create_pod(call.manifest)

    def read_pod(self, call: calls.ReadPod) -> Pod | Problem:
        """Quorum GET."""
        return self.api.pod(call.name)

    def create_page(self, call: calls.CreatePage) -> Problem | None:
        """Create if absent."""
        return self.api.create_page(call.manifest)

    def read_page(self, call: calls.ReadPage) -> dict[str, Any] | Problem:
        """Quorum GET."""
        found = self.api.pages.get(call.name)
        content = None if found is None else outputs.read(msgspec.json.encode(found).decode(), call.sha256)
        return NOT_FOUND if content is None else content

    def read_entry(self, call: calls.ReadEntry) -> Entry | Problem:
        """Quorum GET."""
        return self.api.entries.get(call.name, NOT_FOUND)

    def store_entry(self, call: calls.StoreEntry) -> Problem | None:
        """Create if absent."""
        return self.api.store_entry(call.manifest)

    def drop_entry(self, call: calls.DropEntry) -> Problem | None:
        """Delete under the precondition of the UID."""
        return self.api.drop_entry(call.entry)

    def drop_page(self, call: calls.DropPage) -> Problem | None:
        """Delete, if it's there."""
        return NOT_FOUND if self.api.pages.pop(call.name, None) is None else None

    def open_gate(self, call: calls.OpenGate) -> Pod | Problem:
        """Take the gate off under the precondition of UID and version."""
        pod = self.api.same_pod(call.pod)
        if isinstance(pod, Problem):
            return pod
        if pod.metadata.resource_version != call.pod.metadata.resource_version:
            return CONFLICT
        return self._open(pod)

    def _open(self, pod: Pod) -> Pod:
        others = tuple(gate for gate in pod.spec.scheduling_gates if gate.name != names.GATE)
        return self.api.put_pod(pod.metadata.uid, spec=replace(pod.spec, scheduling_gates=others))

    def release(self, call: calls.Release) -> Pod | Problem:
        """Take our finalizer off under the precondition of the UID."""
        pod = self.api.same_pod(call.pod)
        if isinstance(pod, Problem):
            return pod
        others = tuple(name for name in pod.metadata.finalizers if name != names.FINALIZER)
        labels = pod.metadata.labels | ({names.RELEASED: "true"} if call.pod.ended else {})
        return self.api.put_pod(pod.metadata.uid, finalizers=others, labels=labels)

    def delete_pod(self, call: calls.DeletePod) -> Problem | None:
        """Delete under the precondition of the UID."""
        pod = self.api.same_pod(call.pod)
        if isinstance(pod, Problem):
            return pod
        self.api.delete_pod(pod.metadata.uid)
        return None

    def list_slots(self, call: calls.ListSlots) -> dict[str, Slot]:
        """Quorum LIST."""
        return {name: slot for name, slot in self.api.slots.items() if call.group in (None, slot.group)}

    def take_slot(self, call: calls.TakeSlot) -> Slot | Problem:
        """Create if absent."""
        return self.api.take_slot(call.manifest)

    def read_slot(self, call: calls.ReadSlot) -> Slot | Problem:
        """Quorum GET."""
        return self.api.slots.get(call.slot.metadata.name, NOT_FOUND)

    def mark_slot(self, call: calls.MarkSlot) -> Slot | Problem:
        """Compare-and-swap."""
        return self.api.mark_slot(call.slot, marked=call.marked)

    def free_slot(self, call: calls.FreeSlot) -> Problem | None:
        """Delete under preconditions."""
        return self.api.free_slot(call.slot, unchanged=call.unchanged)

    def create_lease(self, call: calls.CreateLease) -> Lease | Problem:
        """Create if absent."""
        return self.api.leases.create(call.manifest)

    def read_lease(self, call: calls.ReadLease) -> Lease | Problem:
        """Quorum GET."""
        return self.api.leases.leases.get(call.name, NOT_FOUND)

    def replace_lease(self, call: calls.ReplaceLease) -> Lease | Problem:
        """Compare-and-swap."""
        return self.api.leases.replace(call.lease, call.manifest)

    def delete_run(self, call: calls.DeleteRun) -> Problem | None:
        """Delete under the precondition of UID and version."""
        metadata = call.run.metadata
        return self.api.delete_run(metadata.name, metadata.uid, metadata.resource_version)


VERBS: dict[type, str] = {
    calls.ReadRun: "read_run",
    calls.ReadWorkflow: "read_workflow",
    calls.WriteStatus: "write_status",
    calls.ListPods: "list_pods",
    calls.CreatePod: "create_pod",
    calls.CreatePage: "create_page",
    calls.ReadPage: "read_page",
    calls.ReadEntry: "read_entry",
    calls.StoreEntry: "store_entry",
    calls.DropEntry: "drop_entry",
    calls.DropPage: "drop_page",
    calls.ReadPod: "read_pod",
    calls.OpenGate: "open_gate",
    calls.Release: "release",
    calls.DeletePod: "delete_pod",
    calls.DeleteRun: "delete_run",
    calls.ListSlots: "list_slots",
    calls.TakeSlot: "take_slot",
    calls.ReadSlot: "read_slot",
    calls.MarkSlot: "mark_slot",
    calls.FreeSlot: "free_slot",
    calls.CreateLease: "create_lease",
    calls.ReadLease: "read_lease",
    calls.ReplaceLease: "replace_lease",
}
WRITES = frozenset(
    {
        *(calls.WriteStatus, calls.CreatePod, calls.CreatePage, calls.StoreEntry, calls.OpenGate),
        *(calls.Release, calls.DeletePod, calls.DropEntry, calls.DropPage, calls.DeleteRun),
        *(calls.TakeSlot, calls.MarkSlot, calls.FreeSlot, calls.CreateLease, calls.ReplaceLease),
    }
)
