"""The kind WorkflowRun: one execution of a workflow."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from adze.core.model.base import (
    ATOMIC,
    BY_TYPE,
    FREE,
    NAMED,
    PRIORITY,
    Condition,
    Duration,
    Metadata,
    Name,
    ObjectName,
    Record,
    Time,
    doc,
    rule,
)
from adze.core.model.triggers import Trigger
from adze.core.model.workflow import WorkflowSpec

MOMENT = {
    "pattern": r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$"
}
"""The API server's date-time takes more than Python's does, and no arithmetic may leave what Python can hold."""


class Phase(StrEnum):
    """One-word summary for people and columns. Only steps are Skipped, only runs Queued."""

    PENDING = "Pending"
    QUEUED = "Queued"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    SKIPPED = "Skipped"

    @property
    def final(self) -> bool:
        """Whether a run or step of this phase never changes again."""
        return self not in (Phase.PENDING, Phase.QUEUED, Phase.RUNNING)


class Attempt(Record, frozen=True, kw_only=True):
    """One try of a step. It's open until it has a finishTime."""

    number: Annotated[int, doc("Counted from 1.", ge=1)]
    pod: Annotated[str, doc("Name of its Pod.", max_length=253)] = ""
    job: Annotated[str, doc("Name of its Job.", max_length=253)] = ""
    run: Annotated[str, doc("Name of its child run.", max_length=253)] = ""
    node: Annotated[str, doc("Node that ran it.", max_length=253)] | None = None
    start_time: Annotated[Time, doc("Start of its container.")] | None = None
    finish_time: Annotated[Time, doc("Its end.")] | None = None
    exit_code: Annotated[int, doc("Exit code of its container.")] | None = None
    reason: Annotated[str, doc("Why it ended, one word.", max_length=64)] | None = None
    message: Annotated[str, doc("Why it ended, for people.", max_length=4096)] | None = None
    infrastructure: Annotated[bool, doc("Lost to eviction, preemption or its node: uses up no retry.")] = False

    @property
    def carrier(self) -> str:
        """Name of the object that carries it out; empty where only time or a decision ends it."""
        return self.pod or self.job or self.run


class ItemStatus(Record, frozen=True, kw_only=True):
    """How one item of a forEach step stands. A step stands in the same way."""

    name: Annotated[str, doc("Name of the step; of an item, step[index].", max_length=48)]
    phase: Annotated[Phase, doc("Pending, Running, Succeeded, Failed, Cancelled or Skipped.")] = Phase.PENDING
    reason: Annotated[str, doc("Why, one word.", max_length=64)] | None = None
    message: Annotated[str, doc("Why, for people.", max_length=4096)] | None = None
    retry_at: Annotated[Time, doc("End of the backoff.")] | None = None
    output: Annotated[dict[str, Any], doc("What it handed over.", **FREE)] | None = None
    lost: Annotated[int, doc("Attempts lost to infrastructure, which use up no retry.")] = 0
    attempts: Annotated[
        tuple[Attempt, ...],
        doc("The last tries; older ones are dropped.", **ATOMIC, max_length=16),
    ] = ()

    @property
    def open_attempt(self) -> Attempt | None:
        """The attempt that is claimed and has no outcome yet."""
        last = self.attempts[-1] if self.attempts else None
        return last if last and last.finish_time is None else None


Intervals = Annotated[str, Meta(max_length=400_000)]
"""Indexes from 0 in ascending order, such as `0-41,43`."""


class ItemsStatus(Record, frozen=True, kw_only=True):
    """How the items of a forEach step stand. What has no index in it hasn't started."""

    total: Annotated[int, doc("Length of the list.", ge=0)]
    digest: Annotated[str, doc("Digest of the list, which never changes.", max_length=64)]
    succeeded: Annotated[Intervals, doc("Indexes that succeeded, such as 0-41,43.")] = ""
    failed: Annotated[Intervals, doc("Indexes that failed.")] = ""
    cancelled: Annotated[Intervals, doc("Indexes that ended early or never started.")] = ""
    active: Annotated[
        tuple[ItemStatus, ...], doc("What is in flight or waits for a retry.", **ATOMIC, max_length=800)
    ] = ()
    failures: Annotated[tuple[ItemStatus, ...], doc("The first that failed.", **ATOMIC, max_length=100)] = ()
    outputs: (
        Annotated[dict[str, Any], doc("Outputs by index, a failed one's error; those that are in no page yet.", **FREE)]
        | None
    ) = None
    pages: Annotated[tuple[ObjectName, ...], doc("ConfigMaps with outputs by index.", **ATOMIC, max_length=1024)] = ()
    paged: Annotated[int, doc("Bytes in these pages.", ge=0)] = 0


class OutputPage(Record, frozen=True, kw_only=True):
    """The ConfigMap that holds a large output."""

    name: Annotated[ObjectName, doc("Its name.")]
    sha256: Annotated[str, doc("Digest of the output.", pattern="^[0-9a-f]{64}$", max_length=64)]
    bytes: Annotated[int, doc("Size of the output.", ge=0)]


class StepStatus(ItemStatus, frozen=True, kw_only=True):
    """How one step stands."""

    output_page: Annotated[OutputPage, doc("Where its output is, if it's large.")] | None = None

    items: Annotated[ItemsStatus, doc("How the items of a forEach step stand.")] | None = None


class RunStatus(Record, frozen=True, kw_only=True):
    """How a run stands. Written by the operator only."""

    phase: Annotated[
        Phase, doc("Pending, Queued, Running, Succeeded, Failed or Cancelled; derived, conditions hold the truth.")
    ] = Phase.PENDING
    reason: Annotated[str, doc("Why, one word.", max_length=64)] | None = None
    message: Annotated[str, doc("Why, for people.", max_length=4096)] | None = None
    progress: Annotated[str, doc("Finished steps of all steps, as 3/4.", max_length=16)] | None = None
    observed_generation: Annotated[int, doc("Generation of the spec that this speaks of.")] = 0
    trigger: Annotated[Trigger, doc("What has started the run.")] | None = None
    key_time: Annotated[Time, doc("When the run took its idempotencyKey.")] | None = None
    duplicate_of: (
        Annotated[str, doc("Name of the run that does the work, if this one doesn't.", max_length=253)] | None
    ) = None
    start_time: Annotated[Time, doc("When the run was admitted.")] | None = None
    finish_time: Annotated[Time, doc("When it ended.")] | None = None
    ticket: Annotated[int, doc("Place among the runs created in the same second.")] = 0
    superseded_by: Annotated[str, doc("The newer run that took this one's place.", max_length=253)] | None = None
    revision: Annotated[str, doc("Digest of the frozen workflow.", max_length=64)] | None = None
    workflow_spec: (
        Annotated[dict[str, Any], doc("The workflow as it was when the run started; edits change nothing.", **FREE)]
        | None
    ) = None
    input: Annotated[dict[str, Any], doc("Input of the run that this one repeats.", **FREE)] | None = None
    conditions: Annotated[
        tuple[Condition, ...],
        doc(
            "Succeeded, Reconciling, Stalled.",
            **BY_TYPE,
            max_length=8,
        ),
    ] = ()
    steps: Annotated[tuple[StepStatus, ...], doc("The steps.", **NAMED, max_length=256)] = ()
    output: Annotated[dict[str, Any], doc("What the run handed over.", **FREE)] | None = None

    def parts(self) -> Iterator[ItemStatus]:
        """Whatever may have an attempt: the steps, and the items of forEach steps that have an entry."""
        for step in self.steps:
            yield step
            if step.items:
                yield from step.items.active


class RerunOf(Record, frozen=True, kw_only=True):
    """Which run to repeat, and from where."""

    run: Annotated[ObjectName, doc("Name of a run in the same namespace that has ended.")]
    from_: (
        Annotated[
            str,
            doc(
                "A step: it runs again, with all after it and whatever failed. Failed: only what failed or was "
                "cancelled, and what comes after that. Default: everything.",
                pattern="^(Failed|[a-z]([-a-z0-9]*[a-z0-9])?)$",
                max_length=40,
            ),
        ]
        | None
    ) = msgspec.field(default=None, name="from")


class Decision(StrEnum):
    """What somebody decided."""

    APPROVED = "Approved"
    DENIED = "Denied"


class Approval(Record, frozen=True, kw_only=True):
    """Somebody's decision about an approval step. It never changes."""

    step: Annotated[Name, doc("Name of the approval step.")]
    by: Annotated[str, doc("Your user name, as the API server knows it.", min_length=1, max_length=256)]
    decision: Annotated[Decision, doc("Approved or Denied.")]
    message: Annotated[str, doc("Why.", max_length=256)] = ""


ApprovalEntry = Annotated[
    Approval,
    doc("A decision.", **{"x-kubernetes-validations": [rule("self == oldSelf", "a decision must not change")]}),
]


class RunSpec(Record, frozen=True, kw_only=True):
    """What to run. Everything but priority, cancel, suspend and approvals is fixed at creation."""

    workflow: Annotated[ObjectName, doc("Name of the Workflow in the same namespace.")] | None = None
    workflow_spec: Annotated[WorkflowSpec, doc("The workflow itself, instead of a name.")] | None = None
    input: Annotated[dict[str, Any], doc("The run's input.", **FREE)] | None = None
    rerun_of: (
        Annotated[RerunOf, doc("Repeat a run that has ended, with its workflow as it was then and its input.")] | None
    ) = None
    priority: (
        Annotated[int, doc("Instead of the workflow's priority; may change while the run waits.", **PRIORITY)] | None
    ) = None
    run_at: Annotated[Time, Meta(description="Don't begin before this moment.", extra_json_schema=MOMENT)] | None = None
    idempotency_key: (
        Annotated[
            str,
            doc("Of the runs of a workflow with this key one does the work.", min_length=1, max_length=256),
        ]
        | None
    ) = None
    idempotency_window: (
        Annotated[Duration, doc("For so long, from when a run took the key. Default: until that run has ended.")] | None
    ) = None
    cancel: Annotated[bool, doc("End the run early, for good: its Pods are deleted, finally steps still run.")] = False
    approvals: Annotated[
        tuple[ApprovalEntry, ...],
        doc(
            "Decisions about approval steps; one may be added, none changed or removed.",
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["step", "by"]},
            max_length=64,
        ),
    ] = ()
    suspend: Annotated[bool, doc("Start nothing new; what runs goes on. The run's timeout keeps counting.")] = False


class Run(Record, frozen=True, kw_only=True):
    """One execution of a workflow: the kind WorkflowRun."""

    metadata: Metadata
    spec: RunSpec
    status: RunStatus = RunStatus()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name
