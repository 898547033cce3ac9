"""The API types. The CRDs, the reference pages and `kubectl explain` are generated from these.

Every string and list is bounded: a bounded object can't grow past what etcd takes, and the API server refuses CEL
rules whose cost it can't bound. Fields are snake_case here and camelCase in YAML.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from adze.core.duration import PATTERN as DURATION_PATTERN

GROUP = "adze.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A part of an API object."""


def doc(description: str, **words: Any) -> Meta:
    """A field's description, its bounds (the arguments of `msgspec.Meta`) and further JSON Schema words for the CRD."""
    bounds = {word: words.pop(word) for word in ("ge", "le", "min_length", "max_length", "pattern") if word in words}
    return Meta(description=description, extra_json_schema=words or None, **bounds)


def rule(expression: str, message: str) -> dict[str, str]:
    """A CEL rule for `x-kubernetes-validations`."""
    return {"rule": expression, "message": message}


FREE = {"x-kubernetes-preserve-unknown-fields": True}

Name = Annotated[str, Meta(pattern="^[a-z]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=40)]
Duration = Annotated[str, Meta(pattern=DURATION_PATTERN, max_length=32)]
Expression = Annotated[str, Meta(min_length=1, max_length=2048)]
Text = Annotated[str, Meta(max_length=32768)]
Image = Annotated[str, Meta(min_length=1, max_length=1024)]
Time = Annotated[datetime, Meta(tz=True)]
ObjectName = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)]


class BackoffType(StrEnum):
    """How the delay before a retry grows."""

    CONSTANT = "Constant"
    LINEAR = "Linear"
    EXPONENTIAL = "Exponential"


class Backoff(Record, frozen=True, kw_only=True):
    """The delay before attempt n+1: Constant is base, Linear base·n, Exponential base·factor^(n-1), at most max."""

    type: Annotated[BackoffType, doc("Constant, Linear or Exponential.")] = BackoffType.EXPONENTIAL
    base: Annotated[Duration, doc("The delay before the first retry.")] = "2s"
    factor: Annotated[int, doc("Growth of an Exponential backoff.", ge=1, le=10)] = 2
    max: Annotated[Duration, doc("No delay is longer than this (before jitter).")] = "5m"
    jitter: Annotated[
        int,
        doc("Percent by which a delay is stretched at most, so that retries of many runs don't meet.", ge=0, le=100),
    ] = 0


class EnvVar(Record, frozen=True, kw_only=True):
    """One environment variable: a text, or a reference as in a Pod."""

    name: Annotated[str, doc("Name of the variable.", min_length=1, max_length=253)]
    value: Annotated[Text, doc("Its text; ${…} holds CEL.")] | None = None
    value_from: (
        Annotated[
            dict[str, Any], doc("A secretKeyRef, configMapKeyRef, fieldRef or resourceFieldRef, as in a Pod.", **FREE)
        ]
        | None
    ) = None


class Script(Record, frozen=True, kw_only=True):
    """Source code that runs in an image. Python in adze's worker image unless told otherwise."""

    source: Annotated[str, doc("The source, taken as it is: no ${…}.", min_length=1, max_length=131072)]
    image: Annotated[Image, doc("Image that holds the interpreter. Default: adze's worker image (Python).")] | None = (
        None
    )
    command: (
        Annotated[
            tuple[Text, ...],
            doc("The interpreter; the path of the source is appended. Default: python3.", min_length=1, max_length=16),
        ]
        | None
    ) = None


PullPolicy = Annotated[str, Meta(pattern="^(Always|IfNotPresent|Never)$", max_length=12)]


class Defaults(Record, frozen=True, kw_only=True):
    """Settings for every step that doesn't set them itself."""

    image: Annotated[Image, doc("Image for container steps.")] | None = None
    image_pull_policy: Annotated[PullPolicy, doc("Always, IfNotPresent or Never.")] | None = None
    env: Annotated[
        tuple[EnvVar, ...],
        doc("Variables for every step; a step's own variable of the same name wins.", max_length=128),
    ] = ()
    resources: Annotated[dict[str, Any], doc("Requests and limits, as in a Pod.", **FREE)] | None = None
    retries: Annotated[int, doc("Further attempts after a failed one.", ge=0, le=100)] | None = None
    backoff: Annotated[Backoff, doc("The delay before a retry.")] | None = None
    retry_when: Annotated[Expression, doc("CEL over attempt; false means that a failure is final.")] | None = None
    timeout: Annotated[Duration, doc("Limit of one attempt, from the start of its container.")] | None = None
    start_timeout: Annotated[Duration, doc("Limit from creation of the Pod to the start of its container.")] | None = (
        None
    )


ONE_KIND = rule(
    "has(self.script) != (has(self.image) || has(self.command) || has(self.args))",
    "a step must have exactly one kind: script, or a container (image, command, args)",
)
NOT_OWN_PARENT = rule("!has(self.parents) || !(self.name in self.parents)", "a step must not be its own parent")


class Step(Defaults, frozen=True, kw_only=True):
    """A node of the graph. Exactly one kind: a container (`image`, `command`, `args`) or a `script`."""

    name: Annotated[Name, doc("Unique in the workflow.")]
    parents: Annotated[
        tuple[Name, ...],
        doc(
            "Steps that must have succeeded before this one starts.",
            **{"x-kubernetes-list-type": "set"},
            max_length=200,
        ),
    ] = ()
    when: Annotated[Expression, doc("CEL; false skips the step.")] | None = None
    command: Annotated[tuple[Text, ...], doc("Entrypoint; ${…} holds CEL.", max_length=64)] | None = None
    args: Annotated[tuple[Text, ...], doc("Arguments; ${…} holds CEL.", max_length=256)] | None = None
    env_from: (
        Annotated[
            tuple[Annotated[dict[str, Any], doc("A secretRef or configMapRef.", **FREE)], ...],
            doc("ConfigMaps and Secrets whose keys become variables, as in a Pod.", max_length=64),
        ]
        | None
    ) = None
    script: Annotated[Script, doc("Source code that runs in an image.")] | None = None
    output: (
        Annotated[dict[str, Any], doc("JSON Schema of the output; an attempt whose output breaks it fails.", **FREE)]
        | None
    ) = None


STEP_RULES = {"x-kubernetes-validations": [ONE_KIND, NOT_OWN_PARENT]}
StepNode = Annotated[Step, doc("A step.", **STEP_RULES)]
NAMED = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


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


class Phase(StrEnum):
    """One-word summary for people and columns. Only steps are Skipped."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    SKIPPED = "Skipped"

    @property
    def final(self) -> bool:
        """Whether a run or step of this phase never changes again."""
        return self not in (Phase.PENDING, Phase.RUNNING)


class Condition(Record, frozen=True, kw_only=True):
    """A Kubernetes condition."""

    type: Annotated[str, doc("Succeeded, Reconciling, Stalled or Ready.", max_length=64)]
    status: Annotated[str, doc("True, False or Unknown.", pattern="^(True|False|Unknown)$", max_length=7)]
    reason: Annotated[str, doc("One PascalCase word.", max_length=64)]
    message: Annotated[str, doc("For people.", max_length=4096)] = ""
    last_transition_time: Annotated[Time, doc("When status last flipped.")]
    observed_generation: Annotated[int, doc("Generation of the object that this speaks of.")] = 0


class Attempt(Record, frozen=True, kw_only=True):
    """One try of a step. It's open until it has a finishTime."""

    number: Annotated[int, doc("Counted from 1.", ge=1)]
    pod: Annotated[str, doc("Name of its Pod.", max_length=253)]
    node: Annotated[str, doc("Node that ran it.", max_length=253)] | None = None
    start_time: Annotated[Time, doc("Start of its container.")] | None = None
    finish_time: Annotated[Time, doc("Its end.")] | None = None
    exit_code: Annotated[int, doc("Exit code of its container.")] | None = None
    reason: Annotated[str, doc("Why it ended, one word.", max_length=64)] | None = None
    message: Annotated[str, doc("Why it ended, for people.", max_length=4096)] | None = None
    infrastructure: Annotated[bool, doc("Lost to eviction, preemption or its node: uses up no retry.")] = False


class StepStatus(Record, frozen=True, kw_only=True):
    """How one step stands."""

    name: Annotated[str, doc("Name of the step.", max_length=40)]
    phase: Annotated[Phase, doc("Pending, Running, Succeeded, Failed, Cancelled or Skipped.")] = Phase.PENDING
    reason: Annotated[str, doc("Why, one word.", max_length=64)] | None = None
    message: Annotated[str, doc("Why, for people.", max_length=4096)] | None = None
    retry_at: Annotated[Time, doc("End of the backoff.")] | None = None
    output: Annotated[dict[str, Any], doc("What the step handed over.", **FREE)] | None = None
    lost: Annotated[int, doc("Attempts lost to infrastructure, which use up no retry.")] = 0
    attempts: Annotated[
        tuple[Attempt, ...],
        doc("Its last tries; older ones are dropped.", **{"x-kubernetes-list-type": "atomic"}, max_length=16),
    ] = ()

    @property
    def open_attempt(self) -> Attempt | None:
        """The attempt that is claimed and has no outcome yet."""
        last = self.attempts[-1] if self.attempts else None
        return last if last and last.finish_time is None else None


class RunStatus(Record, frozen=True, kw_only=True):
    """How a run stands. Written by the operator only."""

    phase: Annotated[
        Phase, doc("Pending, Running, Succeeded, Failed or Cancelled; derived, conditions hold the truth.")
    ] = Phase.PENDING
    reason: Annotated[str, doc("Why, one word.", max_length=64)] | None = None
    message: Annotated[str, doc("Why, for people.", max_length=4096)] | None = None
    progress: Annotated[str, doc("Finished steps of all steps, as 3/4.", max_length=16)] | None = None
    observed_generation: Annotated[int, doc("Generation of the spec that this speaks of.")] = 0
    start_time: Annotated[Time, doc("When the run was admitted.")] | None = None
    finish_time: Annotated[Time, doc("When it ended.")] | None = None
    revision: Annotated[str, doc("Digest of the frozen workflow.", max_length=64)] | None = None
    workflow_spec: (
        Annotated[dict[str, Any], doc("The workflow as it was when the run started; edits change nothing.", **FREE)]
        | None
    ) = None
    conditions: Annotated[
        tuple[Condition, ...],
        doc(
            "Succeeded, Reconciling, Stalled.",
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
            max_length=8,
        ),
    ] = ()
    steps: Annotated[tuple[StepStatus, ...], doc("The steps.", **NAMED, max_length=256)] = ()
    output: Annotated[dict[str, Any], doc("What the run handed over.", **FREE)] | None = None


class RunSpec(Record, frozen=True, kw_only=True):
    """What to run. Everything but cancel and suspend is fixed at creation."""

    workflow: Annotated[ObjectName, doc("Name of the Workflow in the same namespace.")] | None = None
    workflow_spec: Annotated[WorkflowSpec, doc("The workflow itself, instead of a name.")] | None = None
    input: Annotated[dict[str, Any], doc("The run's input.", **FREE)] | None = None
    cancel: Annotated[bool, doc("End the run early, for good: its Pods are deleted, finally steps still run.")] = False
    suspend: Annotated[bool, doc("Start nothing new; what runs goes on. The run's timeout keeps counting.")] = False


class Metadata(Record, frozen=True, kw_only=True):
    """The part of an object's metadata that adze reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


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


class Run(Record, frozen=True, kw_only=True):
    """One execution of a workflow: the kind WorkflowRun."""

    metadata: Metadata
    spec: RunSpec
    status: RunStatus = RunStatus()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name
