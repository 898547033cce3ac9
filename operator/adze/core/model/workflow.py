"""The kind Workflow: a graph of steps and the rules around it."""

from typing import Annotated, Any

import msgspec

from adze.core.model.base import FREE, NAMED, Condition, Duration, Metadata, Record, doc
from adze.core.model.step import Defaults, Step, StepNode


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
    """Whether runs can be made of a workflow."""

    observed_generation: Annotated[int, doc("Generation of the spec that this speaks of.")] = 0
    conditions: Annotated[
        tuple[Condition, ...],
        doc(
            "Ready, Reconciling, Stalled.",
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
            max_length=8,
        ),
    ] = ()


class Workflow(Record, frozen=True, kw_only=True):
    """A reusable definition; its runs are WorkflowRuns."""

    metadata: Metadata
    spec: WorkflowSpec
    status: WorkflowStatus = WorkflowStatus()
