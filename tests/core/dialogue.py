"""A hand-driven pass of the protocol: a test reads each batch of calls and says what the API server answers."""

from collections.abc import Sequence
from typing import Any

import msgspec

from adze.core import planner, protocol
from adze.core import revision as revisions
from adze.core.calls import Call, CreatePod, Failure, ListPods, Problem, WriteStatus
from adze.core.children import Child
from adze.core.jobs import Job
from adze.core.model import Run
from adze.core.observed import Observed
from adze.core.pods import Pod
from adze.core.protocol import Pass
from tests.builders import NOW, POLICY, UID, run

CONFLICT = Problem(Failure.CONFLICT, "Conflict", "the object has been modified")
EXISTS = Problem(Failure.EXISTS, "AlreadyExists", "pods already exists")
NOT_FOUND = Problem(Failure.NOT_FOUND, "NotFound", "not found")
UNKNOWN = Problem(Failure.UNKNOWN, "", "time-out")
QUOTA = Problem(Failure.LATER, "QuotaExceeded", "exceeded quota: pods=10")
REJECTED = Problem(Failure.REFUSED, "PodRejected", "spec.containers[0].image: invalid")


class Dialogue:
    """One generator, its pending batch of calls and, in the end, its result."""

    def __init__(self, steps: protocol.Steps) -> None:
        self._steps = steps
        self.calls: Sequence[Call] = ()
        self.result: Pass | None = None
        self.heard: list[str] = []
        self._go(None)

    def _go(self, answers: Sequence[Any] | None) -> None:
        try:
            self.calls = next(self._steps) if answers is None else self._steps.send(answers)
            self.heard += [type(call).__name__ for call in self.calls]
        except StopIteration as stop:
            self.calls, self.result = (), stop.value

    @property
    def kinds(self) -> list[str]:
        """The pending calls by kind."""
        return [type(call).__name__ for call in self.calls]

    def answer(self, *answers: Any) -> "Dialogue":
        """The API server's answers to the pending calls, in their order."""
        assert len(answers) == len(self.calls), f"{len(answers)} answers to {self.kinds}"
        self._go(answers)
        return self

    def nothing(self) -> "Dialogue":
        """None to every pending call (Kubernetes Events, deletes)."""
        return self.answer(*(None for _ in self.calls))

    def accept(self) -> "Dialogue":
        """The API server takes each pending write as it is."""
        return self.answer(*(accepted(call) for call in self.calls))

    def call(self, kind: type[Any]) -> Any:
        """The one pending call of that kind."""
        (found,) = [call for call in self.calls if isinstance(call, kind)]
        return found


def accepted(call: Call) -> Any:
    """What the API server answers where it has nothing against a call, and no Pods."""
    if isinstance(call, WriteStatus):
        return after(call)
    if isinstance(call, CreatePod):
        kind = {"Pod": Pod, "Job": Job, "WorkflowRun": Child}[call.manifest["kind"]]
        return msgspec.convert({**call.manifest, "metadata": {**call.manifest["metadata"], "uid": "new"}}, kind)
    return {} if isinstance(call, ListPods) else None


def after(call: WriteStatus) -> Run:
    """The run after a status write: a new version."""
    version = str(int(call.run.metadata.resource_version) + 1)
    metadata = msgspec.structs.replace(call.run.metadata, resource_version=version)
    return msgspec.structs.replace(call.run, metadata=metadata, status=call.status)


def reconcile(subject: Run, now: Any = NOW, **observed: Any) -> Dialogue:
    """A pass over a run as it was last seen."""
    return Dialogue(protocol.reconcile(subject, Observed(**observed), now, POLICY))


def claimed(spec: Any, **fields: Any) -> Run:
    """A run whose first steps have been claimed, as read back from the API server."""
    new = run(spec, **fields)
    begun = msgspec.structs.replace(new, status=planner.begin(new, None, NOW).status)
    frozen = revisions.of_run(begun.status.revision or "", begun.status.workflow_spec or {})
    plan = planner.plan(begun, frozen, Observed(), NOW, POLICY)
    assert plan.status is not None
    return msgspec.structs.replace(begun, status=plan.status)


def pod_name(subject: Run, step: str) -> str:
    """Name of the Pod of a step's newest attempt, or of what else carries it out."""
    assert subject.metadata.uid == UID
    return next(status.attempts[-1].carrier for status in subject.status.steps if status.name == step)
