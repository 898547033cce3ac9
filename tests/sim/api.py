"""An API server in memory: one revision counter, four atomic tools, and a history that caches are positions in.

Its semantics are those of Kubernetes as far as adze leans on them: compare-and-swap by resourceVersion, create if
absent, preconditions on UID, finalizers, graceful deletion. Objects are the core's own frozen types and are shared
between all versions and readers, so that nothing is ever copied. A write that changes nothing makes no version.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from adze.core import names
from adze.core.calls import Failure, Problem
from adze.core.carrier import PodMetadata
from adze.core.model import Entry, Metadata, OwnerReference, Run, RunSpec, RunStatus, Workflow, WorkflowSpec
from adze.core.pods import Gate, Pod, PodSpec, PodStatus
from adze.core.slots import LeaseMetadata, LeaseSpec, Slot
from tests.sim.rates import Changed, Leases

NAMESPACE = "sim"
CONFLICT = Problem(Failure.CONFLICT, "Conflict", "the object has been modified")
EXISTS = Problem(Failure.EXISTS, "AlreadyExists", "already exists")
NOT_FOUND = Problem(Failure.NOT_FOUND, "NotFound", "not found")
QUOTA = Problem(Failure.LATER, "QuotaExceeded", "exceeded quota: sim")
REJECTED = Problem(Failure.REFUSED, "PodRejected", "an admission policy says no")

T = TypeVar("T", Run, Pod, Workflow, Slot)
replace = msgspec.structs.replace


class History(Generic[T]):
    """Every change of one kind, in order: (before, after). A watch is a position in it, a stale list an older one."""

    def __init__(self) -> None:
        self.changes: list[tuple[T | None, T | None]] = []

    def __len__(self) -> int:
        return len(self.changes)

    def at(self, position: int) -> dict[str, T]:
        """The objects, by UID, as they were at a position."""
        objects: dict[str, T] = {}
        for before, after in self.changes[:position]:
            if after is not None:
                objects[after.metadata.uid] = after
            elif before is not None:
                objects.pop(before.metadata.uid, None)
        return objects


class Api:
    """The objects of one namespace and the verbs that change them."""

    def __init__(
        self,
        now: datetime,
        run_changed: Callable[..., None],
        pod_changed: Callable[..., None],
        slot_changed: Callable[..., None],
        lease_changed: Changed = lambda *_: None,
    ) -> None:
        """All are told (before, after) of every revision, before anybody else knows."""
        self.now = now
        self.revision = 0
        self.runs: dict[str, Run] = {}
        self.pods: dict[str, Pod] = {}
        self.pod_uids: dict[str, str] = {}
        self.workflows: dict[str, Workflow] = {}
        self.run_history: History[Run] = History()
        self.pod_history: History[Pod] = History()
        self.workflow_history: History[Workflow] = History()
        self.pages: dict[str, dict[str, Any]] = {}
        self.sent: dict[str, dict[str, Any]] = {}
        self.page_owners: dict[str, str] = {}
        self.entries: dict[str, Entry] = {}
        self.gone_pages: dict[str, dict[str, Any]] = {}
        self.slots: dict[str, Slot] = {}
        self.slot_history: History[Slot] = History()
        self.leases = Leases(self._next, lease_changed)
        self.quota = False
        self.rejecting = False
        self.checks_version = True
        self.refused: set[str] = set()
        self.born: dict[str, int] = {}
        """Revisions at which the Pods, by UID, were made."""
        self._run_changed = run_changed
        self._pod_changed = pod_changed
        self._slot_changed = slot_changed
        self._graceless: set[str] = set()
        self._uids = 0

    def _next(self) -> str:
        self.revision += 1
        return str(self.revision)

    def _uid(self, kind: str) -> str:
        self._uids += 1
        return f"{kind}-{self._uids}"

    # Runs

    def _put_run(self, old: Run | None, new: Run | None) -> None:
        if new is not None:
            self.runs[new.metadata.name] = new
        elif old is not None:
            del self.runs[old.metadata.name]
            for name in [name for name, owner in self.page_owners.items() if owner == old.metadata.uid]:
                del self.page_owners[name]
                self.gone_pages[name] = self.pages.pop(name, {})
        self.run_history.changes.append((old, new))
        self._run_changed(old, new)

    def create_run(self, name: str, spec: RunSpec) -> Run:
        """A user creates a run."""
        uid = self._uid("run")
        run = Run(
            metadata=Metadata(
                name=name,
                namespace=NAMESPACE,
                uid=uid,
                resource_version=self._next(),
                generation=1,
                creation_timestamp=self.now.replace(microsecond=0),
            ),
            spec=spec,
        )
        self._put_run(None, run)
        return run

    def change_run(self, name: str, **changes: Any) -> None:
        """A user changes a run's spec."""
        run = self.runs[name]
        spec = replace(run.spec, **changes)
        if spec != run.spec:
            metadata = replace(run.metadata, resource_version=self._next(), generation=run.metadata.generation + 1)
            self._put_run(run, replace(run, metadata=metadata, spec=spec))

    def touch_run(self, name: str) -> None:
        """Somebody else writes to a run's metadata."""
        run = self.runs[name]
        self._put_run(run, replace(run, metadata=replace(run.metadata, resource_version=self._next())))

    def write_status(self, before: Run, status: RunStatus) -> Run | Problem:
        """Compare-and-swap of a run's status on the version of `before`."""
        run = self.runs.get(before.metadata.name)
        if run is None:
            return NOT_FOUND
        if run.metadata.uid != before.metadata.uid:
            return CONFLICT
        if run.metadata.resource_version != before.metadata.resource_version:
            if self.checks_version:
                return CONFLICT
            status = _merged(before.status, status, run.status)
        if status == run.status:
            return run
        new = Run(metadata=replace(run.metadata, resource_version=self._next()), spec=run.spec, status=status)
        self._put_run(run, new)
        return new

    def delete_run(self, name: str, uid: str, version: str | None = None, *, lingering: bool = False) -> Problem | None:
        """Delete a run: at once in the background, or (foreground, orphan) when `end_run` is called."""
        run = self.runs.get(name)
        if run is None:
            return NOT_FOUND
        if run.metadata.uid != uid or version not in (None, run.metadata.resource_version):
            return CONFLICT
        version = self._next()
        if not lingering:
            self._put_run(run, None)
        elif run.metadata.deletion_timestamp is None:
            dying = replace(run.metadata, resource_version=version, deletion_timestamp=self.now)
            self._put_run(run, replace(run, metadata=dying))
        return None

    # Workflows

    def put_workflow(self, name: str, spec: WorkflowSpec) -> None:
        """A user applies a Workflow."""
        old = self.workflows.get(name)
        new = Workflow(
            metadata=Metadata(name=name, namespace=NAMESPACE, uid=f"workflow-{name}", resource_version=self._next()),
            spec=spec,
        )
        self.workflows[name] = new
        self.workflow_history.changes.append((old, new))

    # Pages of outputs

    def create_page(self, manifest: dict[str, Any]) -> Problem | None:
        """Create if absent."""
        name = manifest["metadata"]["name"]
        if name in self.pages:
            return EXISTS
        self.pages[name] = msgspec.json.decode(manifest["data"][names.PAGE])
        self.page_owners[name] = manifest["metadata"]["ownerReferences"][0]["uid"]
        return None

    # Entries of the cache

    def store_entry(self, manifest: dict[str, Any]) -> Problem | None:
        """Create if absent."""
        name = manifest["metadata"]["name"]
        if name in self.entries:
            return EXISTS
        uid = self._uid("entry")
        made = Metadata(name=name, namespace=NAMESPACE, uid=uid, creation_timestamp=self.now.replace(microsecond=0))
        self.entries[name] = replace(msgspec.convert(manifest, Entry), metadata=made)
        return None

    def drop_entry(self, entry: Entry) -> Problem | None:
        """Delete under the precondition of the UID."""
        known = self.entries.get(entry.metadata.name)
        if known is None or known.metadata.uid != entry.metadata.uid:
            return NOT_FOUND if known is None else CONFLICT
        del self.entries[entry.metadata.name]
        return None

    # Slots

    def _put_slot(self, old: Slot | None, new: Slot | None) -> None:
        if new is not None:
            self.slots[new.metadata.name] = new
        elif old is not None:
            del self.slots[old.metadata.name]
        self.slot_history.changes.append((old, new))
        self._slot_changed(old, new)

    def take_slot(self, manifest: dict[str, Any], *, unique: bool = True) -> Slot | Problem:
        """Create a Lease if absent. `unique` False is a mutant's API server."""
        meta = manifest["metadata"]
        name = meta["name"] if unique else f"{meta['name']}-{self.revision}"
        if name in self.slots:
            return EXISTS
        slot = Slot(
            metadata=LeaseMetadata(
                name=name,
                namespace=meta["namespace"],
                uid=self._uid("slot"),
                resource_version=self._next(),
                labels=meta["labels"],
                annotations=meta["annotations"],
            ),
            spec=LeaseSpec(holder_identity=manifest["spec"]["holderIdentity"]),
        )
        self._put_slot(None, slot)
        return slot

    def _same_slot(self, slot: Slot, *, unchanged: bool) -> Slot | Problem:
        known = self.slots.get(slot.metadata.name)
        if known is None:
            return NOT_FOUND
        same = known.metadata.uid == slot.metadata.uid
        if unchanged:
            same &= known.metadata.resource_version == slot.metadata.resource_version
        return known if same else CONFLICT

    def mark_slot(self, slot: Slot, *, marked: bool) -> Slot | Problem:
        """Set or remove the mark under the precondition of UID and version."""
        known = self._same_slot(slot, unchanged=True)
        if isinstance(known, Problem) or known.marked is marked:
            return known
        others = {key: value for key, value in known.metadata.annotations.items() if key != names.GIVING_BACK}
        annotations = others | {names.GIVING_BACK: "true"} if marked else others
        metadata = replace(known.metadata, resource_version=self._next(), annotations=annotations)
        new = replace(known, metadata=metadata)
        self._put_slot(known, new)
        return new

    def free_slot(self, slot: Slot, *, unchanged: bool) -> Problem | None:
        """Delete a Lease under the precondition of its UID, and of its version too."""
        known = self._same_slot(slot, unchanged=unchanged)
        if isinstance(known, Problem):
            return known
        self._next()
        self._put_slot(known, None)
        return None

    # Pods

    def create_pod(self, manifest: dict[str, Any], *, unique: bool = True) -> Pod | Problem:
        """Create if absent. `unique` False is a mutant's API server, where names may repeat."""
        name = manifest["metadata"]["name"]
        # Admission comes before the name is looked up.
        if self.rejecting:
            self.refused.add(name)
            return REJECTED
        if self.quota:
            return QUOTA
        if unique and name in self.pod_uids:
            if not self.pods[self.pod_uids[name]].metadata.labels:
                self.refused.add(name)
            return EXISTS
        meta = manifest["metadata"]
        metadata = PodMetadata(
            name=name,
            namespace=NAMESPACE,
            uid=self._uid("pod"),
            resource_version=self._next(),
            labels=meta.get("labels", {}),
            finalizers=tuple(meta.get("finalizers", ())),
            owner_references=tuple(
                OwnerReference(uid=ref["uid"], kind=ref["kind"], name=ref["name"], controller=ref["controller"])
                for ref in meta.get("ownerReferences", ())
            ),
            creation_timestamp=self.now.replace(microsecond=0),
        )
        gates = tuple(Gate(name=gate["name"]) for gate in manifest["spec"].get("schedulingGates", ()))
        pod = Pod(metadata=metadata, spec=PodSpec(scheduling_gates=gates))
        self.pods[pod.metadata.uid] = pod
        self.pod_uids[name] = pod.metadata.uid
        self.born[pod.metadata.uid] = self.revision
        self._tell_pod(None, pod)
        return pod

    def _tell_pod(self, old: Pod | None, new: Pod | None) -> None:
        self.pod_history.changes.append((old, new))
        self._pod_changed(old, new)

    def put_pod(
        self,
        uid: str,
        spec: PodSpec | None = None,
        status: PodStatus | None = None,
        *,
        touch: bool = False,
        **metadata: Any,
    ) -> Pod:
        """Write parts of a Pod. Removing the last finalizer of one whose deletion is due removes it."""
        old = self.pods[uid]
        spec = old.spec if spec is None else spec
        status = old.status if status is None else status
        changed = {field: value for field, value in metadata.items() if getattr(old.metadata, field) != value}
        if not changed and not touch and spec == old.spec and status == old.status:
            return old
        version = self._next()
        new = Pod(metadata=replace(old.metadata, resource_version=version, **changed), spec=spec, status=status)
        if new.deleting and not new.metadata.finalizers and uid in self._graceless:
            self._remove_pod(old)
        else:
            self.pods[uid] = new
            self._tell_pod(old, new)
        return new

    def _remove_pod(self, old: Pod) -> None:
        uid = old.metadata.uid
        del self.pods[uid]
        if self.pod_uids.get(old.name) == uid:
            del self.pod_uids[old.name]
        self._tell_pod(old, None)

    def pod(self, name: str) -> Pod | Problem:
        """A Pod by name."""
        uid = self.pod_uids.get(name)
        return NOT_FOUND if uid is None else self.pods[uid]

    def pods_of(self, run_uid: str) -> Iterable[Pod]:
        """The Pods that carry a run's label."""
        return [pod for pod in self.pods.values() if pod.metadata.labels.get(names.RUN_UID) == run_uid]

    def same_pod(self, pod: Pod) -> Pod | Problem:
        """The Pod now, under the precondition of its UID."""
        now = self.pods.get(pod.metadata.uid)
        if now is not None:
            return now
        return CONFLICT if pod.name in self.pod_uids else NOT_FOUND

    def delete_pod(self, uid: str, *, force: bool = False) -> None:
        """Delete: at once if it isn't on a node or has ended, else the kubelet ends it first; finalizers hold it."""
        pod = self.pods[uid]
        graceful = bool(pod.spec.node_name) and not pod.ended and not force
        news = not pod.deleting or (not graceful and uid not in self._graceless)
        if not graceful:
            self._graceless.add(uid)
        if not graceful and not pod.metadata.finalizers:
            self._next()
            self._remove_pod(pod)
        elif news:
            self.put_pod(uid, touch=True, deletion_timestamp=pod.metadata.deletion_timestamp or self.now)

    def graceless(self, uid: str) -> bool:
        """Whether only finalizers hold a deleted Pod."""
        return uid in self._graceless


def _merged(before: RunStatus, wanted: RunStatus, current: RunStatus) -> RunStatus:
    """What a merge patch without a resourceVersion does: the fields that the writer changed, over whatever is there."""
    changes = {
        field: getattr(wanted, field)
        for field in RunStatus.__struct_fields__
        if getattr(wanted, field) != getattr(before, field)
    }
    return replace(current, **changes)
