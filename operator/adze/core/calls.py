"""What a pass asks of the API server, and how it tells failures apart. The shell does these over HTTP."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from adze.core.carrier import Carrier
from adze.core.draft import Awaited, Notice
from adze.core.model import Entry, Lease, Run, RunStatus, Workflow, WorkflowStatus
from adze.core.slots import Slot


@dataclass(frozen=True, slots=True)
class ReadRun:
    """Quorum GET of a run: Run, or Problem(NOT_FOUND). Another UID in the answer means that `uid` is gone.

    An empty `uid` asks for whatever run has the name. `known` is a sight of the run: while it has that version, it is
    the answer, and little has to be read.
    """

    namespace: str
    name: str
    uid: str
    known: Run | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ReadWorkflow:
    """Quorum GET of the run's Workflow: Workflow, or Problem(NOT_FOUND)."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class WriteStatus:
    """Compare-and-swap of the run's status on the version of `run`: the new Run, or Problem(CONFLICT)."""

    run: Run
    status: RunStatus


@dataclass(frozen=True, slots=True)
class ListPods:
    """Quorum LIST of the run's Pods, and of the other kinds that carry its attempts out: dict of Carrier by name."""

    run: Run
    kinds: frozenset[str] = frozenset({"Pod"})


@dataclass(frozen=True, slots=True)
class ListEvents:
    """Quorum LIST of the events in the run's namespace that one of `awaits` means: list of Event."""

    run: Run
    awaits: tuple[Awaited, ...]


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Create what carries an attempt out: Carrier, or Problem(EXISTS, REFUSED…)."""

    run: Run
    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReadPod:
    """Quorum GET of a Pod, or of another `kind` of carrier: Carrier, or Problem(NOT_FOUND)."""

    namespace: str
    name: str
    kind: str = "Pod"


@dataclass(frozen=True, slots=True)
class CreatePage:
    """Create a ConfigMap with outputs: None, or Problem(EXISTS, REFUSED…). Its name follows from its content."""

    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReadPage:
    """Quorum GET of such a ConfigMap: the JSON object in it, or Problem(NOT_FOUND).

    With a `sha256` it holds a large output, and one of another digest isn't there. See `outputs.read`.
    """

    namespace: str
    name: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class DropPage:
    """Delete the ConfigMap with a large output that nothing refers to: None, or a Problem, which nobody minds."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class ReadEntry:
    """Quorum GET of an entry of the cache: Entry, or a Problem, which means that there is none to use."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """Create an entry of the cache: None, or a Problem, which nobody minds."""

    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DropEntry:
    """Delete an entry that has expired, if it still has the UID that `entry` shows: None, or a Problem."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class OpenGate:
    """Take our gate off, if the Pod or other carrier still has the version that `pod` shows, or Problem(CONFLICT)."""

    pod: Carrier


@dataclass(frozen=True, slots=True)
class Release:
    """Take our finalizer off, if the Pod or other carrier still has the UID that `pod` shows: it, or a Problem."""

    pod: Carrier


@dataclass(frozen=True, slots=True)
class DeletePod:
    """End it, if it still has the UID that `pod` shows: None, or a Problem.

    A Pod is deleted with its grace, a Job after its Pods; a child run is cancelled.
    """

    pod: Carrier


@dataclass(frozen=True, slots=True)
class ListSlots:
    """Quorum LIST of the taken slots of a group, or of a whole namespace: dict of Slot by name."""

    namespace: str
    group: str | None


@dataclass(frozen=True, slots=True)
class TakeSlot:
    """Create a slot's Lease: Slot, or Problem(EXISTS, REFUSED…)."""

    namespace: str
    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReadSlot:
    """Quorum GET of a slot's Lease: Slot, maybe another holder's, or Problem(NOT_FOUND)."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class MarkSlot:
    """Mark a slot as about to be given back, or not: on the version that `slot` shows: Slot, or Problem(CONFLICT)."""

    slot: Slot
    marked: bool


@dataclass(frozen=True, slots=True)
class FreeSlot:
    """Delete a slot's Lease, if it still has the UID that `slot` shows, and its version where `unchanged`: None."""

    slot: Slot
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class DeleteRun:
    """Delete the run, if it still has the UID and version that `run` shows: None, or a Problem."""

    run: Run


@dataclass(frozen=True, slots=True)
class Say:
    """Post a Kubernetes Event about the run. Nobody waits for it."""

    run: Run
    notice: Notice


@dataclass(frozen=True, slots=True)
class CreateRun:
    """Create a run that a trigger starts: Run, or Problem(EXISTS, REFUSED…)."""

    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class WriteWorkflow:
    """Compare-and-swap of the Workflow's status on the version of `workflow`: Workflow, or Problem(CONFLICT)."""

    workflow: Workflow
    status: WorkflowStatus


@dataclass(frozen=True, slots=True)
class SayOfWorkflow:
    """Post a Kubernetes Event about the Workflow. Nobody waits for it."""

    workflow: Workflow
    notice: Notice


@dataclass(frozen=True, slots=True)
class CreateLease:
    """Create: Lease, or Problem(EXISTS, REFUSED…)."""

    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReadLease:
    """Quorum GET of a Lease: Lease, or Problem(NOT_FOUND)."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class ReplaceLease:
    """Write the manifest over the Lease, if it has the version that `lease` shows: Lease, or Problem(CONFLICT)."""

    lease: Lease
    manifest: dict[str, Any]


Call = (
    ReadRun
    | ReadWorkflow
    | WriteStatus
    | ListPods
    | ListEvents
    | CreatePod
    | ReadPod
    | CreatePage
    | ReadPage
    | ReadEntry
    | StoreEntry
    | DropEntry
    | DropPage
    | OpenGate
    | Release
    | DeletePod
    | ListSlots
    | TakeSlot
    | ReadSlot
    | MarkSlot
    | FreeSlot
    | DeleteRun
    | Say
    | CreateLease
    | ReadLease
    | ReplaceLease
)
"""The calls of a pass over a run."""
ScheduleCall = ReadRun | ReadWorkflow | CreateRun | WriteWorkflow | SayOfWorkflow
"""The calls of a look at schedules."""


class Failure(Enum):
    """Why a call had no success, as far as the protocol tells them apart."""

    CONFLICT = "Conflict"
    EXISTS = "AlreadyExists"
    NOT_FOUND = "NotFound"
    REFUSED = "Refused"
    LATER = "Later"
    UNKNOWN = "Unknown"


TOO_LARGE = "RequestEntityTooLarge"
"""Reason of a REFUSED write of an object that is too large for the API server or for etcd."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A call's failure. REFUSED lasts; LATER may pass (quota); UNKNOWN may even have succeeded (time-out, 5xx)."""

    failure: Failure
    reason: str = ""
    message: str = ""
