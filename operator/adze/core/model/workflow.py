"""The kind Workflow: a graph of steps and the rules around it."""

from typing import Annotated, Any

import msgspec

from adze.core.model.base import (
    ATOMIC,
    BY_TYPE,
    FREE,
    NAMED,
    PRIORITY,
    Condition,
    Duration,
    Metadata,
    Record,
    Time,
    doc,
)
from adze.core.model.concurrency import ConcurrencyEntry
from adze.core.model.step import Defaults, Step, StepNode
from adze.core.model.triggers import CronStatus, Triggers


class Retention(Record, frozen=True, kw_only=True):
    """When finished runs are deleted. Without it they are kept."""

    ttl: Annotated[Duration, doc("Age after the finish.")] | None = None
    succeeded: Annotated[int, doc("How many Succeeded runs to keep.", ge=0, le=100000)] | None = None
    failed: Annotated[int, doc("How many Failed or Cancelled runs to keep.", ge=0, le=100000)] | None = None


class WorkflowSpec(Record, frozen=True, kw_only=True):
    """What a run does: a graph of steps and the rules around it."""

    input: (
        Annotated[dict[str, Any], doc("JSON Schema of the run's input, checked before anything starts.", **FREE)] | None
    ) = None
    timeout: Annotated[Duration, doc("Limit of the whole run, from its start.")] = "24h"
    queue_timeout: Annotated[Duration, doc("Limit of the wait for slots, from creation. Default: none.")] | None = None
    priority: Annotated[int, doc("Runs of a higher priority are admitted first.", **PRIORITY)] = 0
    concurrency: Annotated[
        tuple[ConcurrencyEntry, ...],
        doc("Slots that a run holds from its start to its end, all of them or none.", **ATOMIC, max_length=4),
    ] = ()
    on: Annotated[Triggers, doc("What starts runs by itself. Quote the key: YAML reads a bare on as true.")] | None = (
        None
    )
    suspend: Annotated[bool, doc("Start nothing: no schedule fires, runs that have not begun wait.")] = False
    defaults: Annotated[Defaults, doc("Settings for every step.")] | None = None
    steps: Annotated[tuple[StepNode, ...], doc("The graph.", **NAMED, min_length=1, max_length=200)]
    on_failure: Annotated[StepNode, doc("Runs when the graph has ended with a failed step.")] | None = None
    finally_: Annotated[
        tuple[StepNode, ...],
        doc("Steps that always run last, also after a failure, a cancel or the run's timeout.", **NAMED, max_length=20),
    ] = msgspec.field(default=(), name="finally")
    output: (
        Annotated[dict[str, Any], doc("The run's output; ${…} holds CEL. Default: the steps' outputs, merged.", **FREE)]
        | None
    ) = None
    retention: Annotated[Retention, doc("When finished runs are deleted.")] | None = None

    def every_step(self) -> tuple[Step, ...]:
        """The steps of all stages."""
        return (*self.steps, *([self.on_failure] if self.on_failure else ()), *self.finally_)


class WorkflowStatus(Record, frozen=True, kw_only=True):
    """Whether runs can be made of a workflow, and how its schedules stand."""

    observed_generation: Annotated[int, doc("Generation of the spec that this speaks of.")] = 0
    conditions: Annotated[
        tuple[Condition, ...],
        doc(
            "Ready, Reconciling, Stalled.",
            **BY_TYPE,
            max_length=8,
        ),
    ] = ()
    next_run_time: Annotated[Time, doc("The next tick of its schedules.")] | None = None
    cron: Annotated[tuple[CronStatus, ...], doc("The schedules.", **ATOMIC, max_length=64)] = ()


class Workflow(Record, frozen=True, kw_only=True):
    """A reusable definition; its runs are WorkflowRuns."""

    metadata: Metadata
    spec: WorkflowSpec
    status: WorkflowStatus = WorkflowStatus()

    @property
    def definition(self) -> WorkflowSpec:
        """What its runs are frozen to: the spec without what starts runs."""
        return msgspec.structs.replace(self.spec, on=None, suspend=False)

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name
