"""Workflows, runs and Pods for tests, in as few words as a test needs; `Drive` steps a run through them."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from adze.core import names, planner, upkeep
from adze.core import revision as revisions
from adze.core.carrier import PodCondition, PodMetadata
from adze.core.draft import Notice
from adze.core.model import (
    Attempt,
    Event,
    ItemsStatus,
    Metadata,
    OwnerReference,
    Phase,
    Run,
    RunSpec,
    RunStatus,
    Step,
    StepStatus,
    Workflow,
    WorkflowSpec,
)
from adze.core.model.step import KIND_FIELDS
from adze.core.observed import Observed, Refusal
from adze.core.planner import Plan
from adze.core.pods import ContainerState, ContainerStatus, Gate, Pod, PodSpec, Running, Terminated, Waiting
from adze.core.policy import Policy
from adze.core.revision import Revision

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
UID = "6c1f5d3e-0000-4000-8000-000000000001"
NAMESPACE = "shop"
IMAGE = "registry.example/app:1"


def seconds(number: float) -> timedelta:
    """Shorthand for a timedelta."""
    return timedelta(seconds=number)


def _camel(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        re.sub(r"_(\w)", lambda found: found[1].upper(), name.rstrip("_")): msgspec.to_builtins(value)
        for name, value in fields.items()
    }


def step(name: str, **fields: Any) -> Step:
    """A step; fields as in Python (`start_timeout="5s"`), bounds checked as the API server would."""
    if not fields.keys() & {"image", *KIND_FIELDS}:
        fields["image"] = IMAGE
    return msgspec.convert({"name": name, **_camel(fields)}, Step)


def bare_step(name: str, **fields: Any) -> Step:
    """A step without an image of its own."""
    return msgspec.convert({"name": name, **_camel(fields)}, Step)


def workflow(*steps: Step, **fields: Any) -> WorkflowSpec:
    """A workflow's spec of these steps."""
    return msgspec.convert({"steps": msgspec.to_builtins(steps), **_camel(fields)}, WorkflowSpec)


def revision(*steps: Step, **fields: Any) -> Revision:
    """The same, compiled."""
    return revisions.compile_workflow(workflow(*steps, **fields))


def stored(spec: WorkflowSpec, name: str = "hello") -> Workflow:
    """A Workflow as read from the API server."""
    return Workflow(metadata=Metadata(name=name, namespace=NAMESPACE, uid="workflow-uid", generation=1), spec=spec)


def run(what: WorkflowSpec | str, *, name: str = "hello-1", uid: str = UID, **spec: Any) -> Run:
    """A new run, of a Workflow by name or of an inline one."""
    source = {"workflow": what} if isinstance(what, str) else {"workflow_spec": what}
    metadata = Metadata(
        name=name, namespace=NAMESPACE, uid=uid, resource_version="1", generation=1, creation_timestamp=NOW
    )
    return Run(metadata=metadata, spec=RunSpec(**source, **spec))


def asking(old: Run, **spec: Any) -> Run:
    """The run after its user changed the spec (cancel, suspend)."""
    metadata = msgspec.structs.replace(old.metadata, generation=old.metadata.generation + 1)
    return msgspec.structs.replace(old, metadata=metadata, spec=msgspec.structs.replace(old.spec, **spec))


def pod(name: str = "hello-1-a-1", *, owner: str = UID, created: datetime = NOW, version: str = "10") -> Pod:
    """A Pod as created: gated, held by the finalizer, owned by the run."""
    return Pod(
        metadata=PodMetadata(
            name=name,
            namespace=NAMESPACE,
            uid=f"pod-{name}",
            resource_version=version,
            labels={names.RUN_UID: owner},
            finalizers=(names.FINALIZER,),
            owner_references=(OwnerReference(uid=owner, kind="WorkflowRun", name="hello-1", controller=True),),
            creation_timestamp=created,
        ),
        spec=PodSpec(scheduling_gates=(Gate(name=names.GATE),)),
    )


def opened(before: Pod) -> Pod:
    """The Pod without our gate: the scheduler may place it."""
    return msgspec.structs.replace(before, spec=msgspec.structs.replace(before.spec, scheduling_gates=()))


def placed(before: Pod, node: str = "node-1") -> Pod:
    """The Pod on a node."""
    conditions = tuple(one for one in before.status.conditions if one.type != "PodScheduled")
    return with_status(msgspec.structs.replace(before, spec=PodSpec(node_name=node)), conditions=conditions)


def with_status(before: Pod, **fields: Any) -> Pod:
    """The Pod with fields of its status changed."""
    return msgspec.structs.replace(before, status=msgspec.structs.replace(before.status, **fields))


def _main(before: Pod, state: ContainerState, phase: str) -> Pod:
    others = [status for status in before.status.container_statuses if status.name != names.MAIN]
    own = ContainerStatus(name=names.MAIN, state=state)
    return with_status(before, phase=phase, container_statuses=(own, *others))


def running(before: Pod, at: datetime = NOW) -> Pod:
    """The step's container runs."""
    return _main(placed(before), ContainerState(running=Running(started_at=at)), "Running")


def succeeded(before: Pod, output: Any = None, at: datetime = NOW) -> Pod:
    """The step's container ended with 0; `output` is JSON to hand over, or a text as it is."""
    text = output if isinstance(output, str) else "" if output is None else msgspec.json.encode(output).decode()
    ended = Terminated(exit_code=0, reason="Completed", message=text, started_at=at, finished_at=at)
    return _main(placed(before), ContainerState(terminated=ended), "Succeeded")


def failed(before: Pod, exit_code: int = 1, message: str = "", reason: str = "Error", at: datetime = NOW) -> Pod:
    """The step's container ended with another code."""
    ended = Terminated(exit_code=exit_code, reason=reason, message=message, started_at=at, finished_at=at)
    return _main(placed(before), ContainerState(terminated=ended), "Failed")


def lost(before: Pod, reason: str = "Evicted", message: str = "The node was low on resource: memory.") -> Pod:
    """The Pod failed as a whole, by the node's or the cluster's doing."""
    return with_status(placed(before), phase="Failed", reason=reason, message=message, container_statuses=())


def disrupted(before: Pod, reason: str = "PreemptionByScheduler", message: str = "preempting to make room") -> Pod:
    """The Pod bears the DisruptionTarget condition (kubernetes docs, Pod disruption conditions)."""
    return with_condition(before, "DisruptionTarget", "True", reason, message)


def with_condition(before: Pod, kind: str, status: str, reason: str = "", message: str = "") -> Pod:
    """The Pod with one more condition."""
    added = PodCondition(type=kind, status=status, reason=reason, message=message)
    return with_status(before, conditions=(*before.status.conditions, added))


def unschedulable(before: Pod, message: str = "0/3 nodes are available: 3 Insufficient memory.") -> Pod:
    """No node takes the Pod."""
    return with_condition(before, "PodScheduled", "False", "Unschedulable", message)


def waiting(before: Pod, reason: str, message: str = "") -> Pod:
    """The step's container can't start yet."""
    return _main(placed(before), ContainerState(waiting=Waiting(reason=reason, message=message)), "Pending")


SIDE = ContainerState(running=Running(started_at=NOW))
"""The state of a side container that goes on."""


def with_sidecar(before: Pod, state: ContainerState, name: str = "proxy") -> Pod:
    """The Pod with another container, such as a mesh injects."""
    return with_status(
        before, container_statuses=(*before.status.container_statuses, ContainerStatus(name=name, state=state))
    )


def deleting(before: Any, at: datetime = NOW) -> Any:
    """The Pod or the run after somebody has asked for its deletion."""
    return msgspec.structs.replace(before, metadata=msgspec.structs.replace(before.metadata, deletion_timestamp=at))


def released(before: Pod) -> Pod:
    """The Pod without our finalizer."""
    return msgspec.structs.replace(before, metadata=msgspec.structs.replace(before.metadata, finalizers=()))


def named(pods: Iterable[Pod]) -> dict[str, Pod]:
    """Pods by name, as `Observed` has them."""
    return {one.name: one for one in pods}


POLICY = Policy()


class Drive:
    """A run and the Pods that its plans ask for, without an API server. Nothing happens but what a test says.

    Every status goes through JSON and back with its bounds checked, as in the API server. A deleted Pod ends at once
    unless `node_answers` is False. `unseen` Pods come to light with the next quorum LIST.
    """

    def __init__(self, spec: WorkflowSpec, begun: Run | None = None, **fields: Any) -> None:
        self.run = begun or run(spec, **fields)
        self.now = NOW
        self.pods: dict[str, Pod] = {}
        self.refusals: dict[str, Refusal] = {}
        self.vanished: set[str] = set()
        self.events: list[Event] = []
        self.created: list[str] = []
        self.notices: list[Notice] = []
        self.writes = 0
        self.wake: datetime | None = None
        self.expired = False
        self.node_answers = True
        self.unseen: dict[str, Pod] = {}
        self.pages: dict[str, dict[str, Any]] = {}

    def until_quiet(self) -> "Drive":
        """Plan and do what plans ask for, until they ask for nothing."""
        for _ in range(50):
            if not self._pass():
                return self
        raise AssertionError("the plans never come to rest")

    def _pass(self) -> bool:
        fresh = changed = False
        for _ in range(8):
            plan = self._plan(fresh)
            self.expired = plan.expired
            self.wake = plan.wake
            if plan.status is not None:
                self._write(plan)
                fresh, changed = False, True
            changed |= self._do_chores()
            if not plan.needs_pods:
                return changed
            self.pods |= self.unseen
            fresh = True
        raise AssertionError("a pass never ends")

    def _plan(self, fresh: bool) -> Plan:
        status = self.run.status
        if status.workflow_spec is None:
            return Plan() if status.phase.final else self._begin()
        frozen = revisions.of_run(status.revision or "", status.workflow_spec)
        return planner.plan(self.run, frozen, self._observed(fresh), self.now, POLICY)

    def _begin(self) -> Plan:
        return planner.begin(self.run, None, self.now)

    def _observed(self, fresh: bool = False) -> Observed:
        pods, vanished = dict(self.pods), frozenset(self.vanished)
        return Observed(pods, fresh, vanished, dict(self.refusals), self.pages, events=tuple(self.events))

    def _write(self, plan: Plan) -> None:
        assert not self.run.status.phase.final, "a terminal run never changes"
        for page in plan.pages:
            self.pages[page["metadata"]["name"]] = msgspec.json.decode(page["data"][names.PAGE])
        self.pages = {name: page for name, page in self.pages.items() if name not in plan.spent}
        status = msgspec.json.decode(msgspec.json.encode(plan.status), type=RunStatus)
        self.run = msgspec.structs.replace(self.run, status=status)
        self.notices += plan.notices
        self.writes += 1

    def _do_chores(self) -> bool:
        chores = upkeep.chores(self.run, self._observed(), self.now)
        for name in chores.create:
            assert name not in self.created, f"{name} is created twice"
            self.created.append(name)
            self.pods[name] = self._labelled(pod(name, owner=self.run.metadata.uid, created=self.now))
        for one in chores.open:
            self.pods[one.name] = opened(one)
        for one in chores.delete:
            self.pods[one.name] = deleting(self._killed(one), self.now)
        for one in chores.release:
            self.pods[one.name] = released(self.pods[one.name])
        for one in list(self.pods.values()):
            if one.deleting and not one.held and (one.ended or not one.spec.node_name):
                del self.pods[one.name]
        if chores.wake:
            self.wake = min(self.wake or chores.wake, chores.wake)
        return bool(chores.create or chores.open or chores.delete or chores.release)

    def _labelled(self, one: Pod) -> Pod:
        """The Pod with the labels of the attempt that it is."""
        part, attempt = next((p, a) for p in self.run.status.parts() for a in p.attempts if a.pod == one.name)
        index = names.index(part.name)
        labels = {
            **one.metadata.labels,
            names.STEP: part.name.partition("[")[0],
            names.ATTEMPT: str(attempt.number),
            **({} if index is None else {names.ITEM: str(index)}),
        }
        return msgspec.structs.replace(one, metadata=msgspec.structs.replace(one.metadata, labels=labels))

    def _killed(self, one: Pod) -> Pod:
        return failed(one, 137, at=self.now) if one.spec.node_name and self.node_answers else one

    def change(self, name: str, what: Callable[[Pod], Pod]) -> "Drive":
        """Let something happen to the Pod of a step's newest attempt, and go on until quiet."""
        self.pods[self.attempt(name).pod] = what(self.pods[self.attempt(name).pod])
        return self.until_quiet()

    def start(self, *steps: str) -> "Drive":
        """The steps' containers start."""
        for name in steps:
            self.change(name, lambda one: running(one, self.now))
        return self

    def succeed(self, *steps: str, output: Any = None) -> "Drive":
        """The steps' containers end with 0."""
        for name in steps:
            self.change(name, lambda one: succeeded(one, output, self.now))
        return self

    def fail(self, *steps: str, exit_code: int = 1, message: str = "") -> "Drive":
        """The steps' containers end with another code."""
        for name in steps:
            self.change(name, lambda one: failed(one, exit_code, message, at=self.now))
        return self

    def pass_time(self, by: float) -> "Drive":
        """Seconds go by."""
        self.now += seconds(by)
        return self.until_quiet()

    def until_wake(self) -> "Drive":
        """Time goes by until the plan wants to look again."""
        assert self.wake is not None, "nothing is waited for"
        self.now = max(self.now, self.wake)
        return self.until_quiet()

    def ask(self, **spec: Any) -> "Drive":
        """The user changes cancel or suspend."""
        self.run = asking(self.run, **spec)
        return self.until_quiet()

    def run_if(self, name: str) -> str:
        """How a step's parents must have ended."""
        frozen = revisions.of_run(self.run.status.revision or "", self.run.status.workflow_spec or {})
        return frozen.nodes[name].step.run_if

    def step(self, name: str) -> StepStatus:
        """Status of a step."""
        return next(status for status in self.run.status.steps if status.name == name)

    def items(self, name: str) -> ItemsStatus:
        """How the items of a step stand."""
        items = self.step(name).items
        assert items is not None, f"{name} has no items"
        return items

    def attempt(self, name: str) -> Attempt:
        """Newest attempt of a step, or of an item named step[index]."""
        return next(part for part in self.run.status.parts() if part.name == name).attempts[-1]

    def pod(self, name: str) -> Pod:
        """Pod of a step's newest attempt."""
        return self.pods[self.attempt(name).pod]

    @property
    def phase(self) -> Phase:
        """Phase of the run."""
        return self.run.status.phase

    @property
    def phases(self) -> dict[str, str]:
        """Phase of each step."""
        return {status.name: status.phase.value for status in self.run.status.steps}

    @property
    def live(self) -> set[str]:
        """Steps and items with an open attempt."""
        return {part.name for part in self.run.status.parts() if part.open_attempt}

    @property
    def status_size(self) -> int:
        """Bytes of the run's status as JSON."""
        return len(msgspec.json.encode(self.run.status))
