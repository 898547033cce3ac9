"""A step of a workflow: its fields, and what every kind of step shares."""

from enum import StrEnum
from typing import Annotated, Any

from adze.core.model.base import (
    ATOMIC,
    FREE,
    Duration,
    EventType,
    Expression,
    Image,
    Name,
    ObjectName,
    PullPolicy,
    Record,
    Text,
    camel,
    doc,
    rule,
)
from adze.core.model.cache import StepCache
from adze.core.model.concurrency import ConcurrencyEntry
from adze.core.model.pod import JobTemplate, PodOverlay
from adze.core.model.rate import RateLimitEntry


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


class FailurePolicy(StrEnum):
    """What a failed item means for the rest of its forEach step."""

    FAIL = "Fail"
    CONTINUE = "Continue"


class RunIf(StrEnum):
    """How a step's parents must have ended for it to start."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    ALWAYS = "Always"
    ANY_SUCCEEDED = "AnySucceeded"


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


class Defaults(Record, frozen=True, kw_only=True):
    """Settings for every step that doesn't set them itself."""

    image: Annotated[Image, doc("Image for container steps.")] | None = None
    image_pull_policy: Annotated[PullPolicy, doc("Always, IfNotPresent or Never.")] | None = None
    env: Annotated[
        tuple[EnvVar, ...],
        doc("Variables for every step; a step's own variable of the same name wins.", max_length=128),
    ] = ()
    resources: Annotated[dict[str, Any], doc("Requests and limits, as in a Pod.", **FREE)] | None = None
    pod: (
        Annotated[PodOverlay, doc("Laid over the Pod: volumes, placement, sidecars… A step's is laid over this.")]
        | None
    ) = None
    retries: Annotated[int, doc("Further attempts after a failed one.", ge=0, le=100)] | None = None
    backoff: Annotated[Backoff, doc("The delay before a retry.")] | None = None
    retry_when: Annotated[Expression, doc("CEL over attempt; false means that a failure is final.")] | None = None
    timeout: Annotated[Duration, doc("Limit of one attempt, from the start of its container.")] | None = None
    start_timeout: Annotated[Duration, doc("Limit from creation of the Pod to the start of its container.")] | None = (
        None
    )


class Sleep(Record, frozen=True, kw_only=True):
    """A wait for time to go by. It costs no Pod."""

    duration: Annotated[str, doc("How long, such as 10m; ${…} holds CEL.", min_length=1, max_length=2048)]


class ApprovalRequest(Record, frozen=True, kw_only=True):
    """A wait for somebody's decision, which comes in the run's spec.approvals. It costs no Pod."""

    message: Annotated[str, doc("What is to be decided; ${…} holds CEL.", min_length=1, max_length=2048)]
    approvers: Annotated[
        tuple[Annotated[str, doc("A user name.", min_length=1, max_length=256)], ...],
        doc(
            "User names that count; empty: whoever may approve runs here.",
            **{"x-kubernetes-list-type": "set"},
            max_length=32,
        ),
    ] = ()


class WorkflowCall(Record, frozen=True, kw_only=True):
    """A child run of another Workflow in the same namespace. Its output is the step's."""

    name: Annotated[ObjectName, doc("Name of the Workflow.")]
    input: Annotated[dict[str, Any], doc("The child's input; ${…} holds CEL.", **FREE)] | None = None


class WaitFor(Record, frozen=True, kw_only=True):
    """A wait for an event. It costs no Pod."""

    event: EventType
    filter: Annotated[Expression, doc("CEL over event, and over what the step sees; it must give true.")] | None = None
    lookback: (
        Annotated[Duration, doc("How long before the step's start the event may have come. Default: the run's start.")]
        | None
    ) = None


KIND_FIELDS = ("script", "job", "workflow", "sleep", "approval", "wait_for")
_SHOWN = [camel(field) for field in KIND_FIELDS]
ONE_KIND = rule(
    f"[{', '.join(f'has(self.{field})' for field in _SHOWN)}, "
    "has(self.image) || has(self.command) || has(self.args)].filter(one, one).size() == 1",
    f"a step must have exactly one kind: {', '.join(_SHOWN)}, or a container (image, command, args)",
)
ITEMS_ONLY = rule(
    "has(self.forEach) || !(has(self.maxParallel) || has(self.failurePolicy))",
    "maxParallel and failurePolicy are for steps with forEach",
)
CONTAINERS_CACHE = rule(
    "!has(self.cache) || !has(self.forEach) &&"
    " (has(self.script) || has(self.image) || has(self.command) || has(self.args))",
    "cache is for container and script steps without forEach",
)
CONTAINERS_OUTPUT = rule(
    "!has(self.largeOutput) || has(self.script) || has(self.image) || has(self.command) || has(self.args)",
    "largeOutput is for container and script steps",
)
ONE_DECISION = rule(
    "!(has(self.forEach) && has(self.approval))",
    "an approval is asked for once: no forEach. Let a step with forEach have it as its parent",
)
NOT_OWN_PARENT = rule("!has(self.parents) || !(self.name in self.parents)", "a step must not be its own parent")


class Step(Defaults, frozen=True, kw_only=True):
    """A node of the graph. Exactly one kind: `script`, `job`… or a container (`image`, `command`, `args`)."""

    name: Annotated[Name, doc("Unique in the workflow.")]
    parents: Annotated[
        tuple[Name, ...],
        doc(
            "Steps that must have ended before this one starts, in the way that runIf says.",
            **{"x-kubernetes-list-type": "set"},
            max_length=200,
        ),
    ] = ()
    run_if: Annotated[RunIf, doc("How the parents must have ended: Succeeded, AnySucceeded, Failed or Always.")] = (
        RunIf.SUCCEEDED
    )
    when: Annotated[Expression, doc("CEL; false skips the step.")] | None = None
    for_each: Annotated[Expression, doc("CEL that gives a list: the step runs once for each item of it.")] | None = None
    max_parallel: Annotated[int, doc("Items in flight at a time. Default: 100.", ge=1, le=500)] | None = None
    failure_policy: (
        Annotated[
            FailurePolicy,
            doc("Fail (default): after a failed item nothing new starts. Continue: a failed item keeps its place."),
        ]
        | None
    ) = None
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
    concurrency: Annotated[
        tuple[ConcurrencyEntry, ...],
        doc("Slots that an attempt holds while it runs, all of them; a backoff holds none.", **ATOMIC, max_length=4),
    ] = ()
    job: Annotated[JobTemplate, doc("A batch/v1 Job.")] | None = None
    workflow: Annotated[WorkflowCall, doc("A run of another Workflow.")] | None = None
    sleep: Annotated[Sleep, doc("A wait for time to go by.")] | None = None
    approval: Annotated[ApprovalRequest, doc("A wait for somebody's decision.")] | None = None
    wait_for: Annotated[WaitFor, doc("A wait for an event.")] | None = None
    rate_limit: Annotated[
        tuple[RateLimitEntry, ...],
        doc("Units that an attempt takes as it starts, all of them or none.", **ATOMIC, max_length=4),
    ] = ()
    large_output: (
        Annotated[bool, doc("Whether it may hand over up to 1,000,000 bytes, by `adze output` or over HTTP.")] | None
    ) = None
    cache: (
        Annotated[StepCache, doc("Reuse what this step of the workflow has handed over under the same key.")] | None
    ) = None
    output: (
        Annotated[dict[str, Any], doc("JSON Schema of the output; an attempt whose output breaks it fails.", **FREE)]
        | None
    ) = None


STEPS_WAIT = rule(
    "!has(self.concurrency) || self.concurrency.all(c, !has(c.strategy) || c.strategy in ['Queue', 'RoundRobin'])",
    "a step waits for its slot: strategy must be Queue or RoundRobin",
)
STEP_RULES = {
    "x-kubernetes-validations": [
        *(ONE_KIND, NOT_OWN_PARENT, ITEMS_ONLY, ONE_DECISION),
        *(CONTAINERS_CACHE, CONTAINERS_OUTPUT, STEPS_WAIT),
    ]
}
StepNode = Annotated[Step, doc("A step.", **STEP_RULES)]
