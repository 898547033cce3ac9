"""What a pass asks of the API server, and how it tells failures apart. The shell does these over HTTP."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from adze.core.carrier import Carrier
from adze.core.draft import Notice
from adze.core.model import Run, RunStatus


@dataclass(frozen=True, slots=True)
class ReadRun:
    """Quorum GET of a run: Run, or Problem(NOT_FOUND). Another UID in the answer means that `uid` is gone."""

    namespace: str
    name: str
    uid: str


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
    """Quorum GET of such a ConfigMap: the outputs by index, or Problem(NOT_FOUND)."""

    namespace: str
    name: str


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
class DeleteRun:
    """Delete the run, if it still has the UID and version that `run` shows: None, or a Problem."""

    run: Run


@dataclass(frozen=True, slots=True)
class Say:
    """Post a Kubernetes Event about the run. Nobody waits for it."""

    run: Run
    notice: Notice


Call = (
    ReadRun
    | ReadWorkflow
    | WriteStatus
    | ListPods
    | CreatePod
    | ReadPod
    | CreatePage
    | ReadPage
    | OpenGate
    | Release
    | DeletePod
    | DeleteRun
    | Say
)


class Failure(Enum):
    """Why a call had no success, as far as the protocol tells them apart."""

    CONFLICT = "Conflict"
    EXISTS = "AlreadyExists"
    NOT_FOUND = "NotFound"
    REFUSED = "Refused"
    LATER = "Later"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Problem:
    """A call's failure. REFUSED lasts; LATER may pass (quota); UNKNOWN may even have succeeded (time-out, 5xx)."""

    failure: Failure
    reason: str = ""
    message: str = ""
