"""What adze reads of a Pod, and how the end of an attempt is read from it."""

from collections.abc import Iterable
from datetime import datetime
from signal import Signals
from typing import Any

import msgspec

from adze.core import names
from adze.core.carrier import Carrier, Outcome, PodCondition, PodMetadata, condition
from adze.core.model import Record
from adze.core.schema import DEEPEST, nested_deeper


class Gate(Record, frozen=True, kw_only=True, gc=False):
    """A scheduling gate."""

    name: str


class PodSpec(Record, frozen=True, kw_only=True, gc=False):
    """Where it was placed and what holds it from the scheduler."""

    node_name: str = ""
    scheduling_gates: tuple[Gate, ...] = ()


class Waiting(Record, frozen=True, kw_only=True, gc=False):
    """A container that can't start yet."""

    reason: str = ""
    message: str = ""


class Running(Record, frozen=True, kw_only=True, gc=False):
    """A container that runs."""

    started_at: datetime | None = None


class Terminated(Record, frozen=True, kw_only=True, gc=False):
    """A container that has ended."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ContainerState(Record, frozen=True, kw_only=True, gc=False):
    """At most one member is set."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Record, frozen=True, kw_only=True, gc=False):
    """How one container stands."""

    name: str
    state: ContainerState = ContainerState()


class PodStatus(Record, frozen=True, kw_only=True, gc=False):
    """How the Pod stands."""

    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    conditions: tuple[PodCondition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Carrier, frozen=True, kw_only=True, gc=False):
    """A narrow view of a Pod: decoding it costs a fifth of a dict, keeping it less still."""

    metadata: PodMetadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def gated(self) -> bool:
        """Whether our scheduling gate is still on it: nothing of it has started."""
        return any(gate.name == names.GATE for gate in self.spec.scheduling_gates)

    @property
    def ended(self) -> bool:
        """Whether no container of it runs, now or later. Its phase says so some 100 ms after its containers do."""
        if self.status.phase in ("Succeeded", "Failed"):
            return True
        containers = (*self.status.init_container_statuses, *self.status.container_statuses)
        return self.main.terminated is not None and all(c.state.terminated for c in containers)

    @property
    def main(self) -> ContainerState:
        """State of the container whose end is the attempt's end."""
        return next((c.state for c in self.status.container_statuses if c.name == names.MAIN), ContainerState())

    @property
    def started(self) -> datetime | None:
        """Since when the step's container runs."""
        return self.main.running.started_at if self.main.running else None

    @property
    def node(self) -> str | None:
        """The node that it was placed on."""
        return self.spec.node_name or None

    def condition(self, kind: str) -> PodCondition | None:
        """The condition of that type."""
        found: PodCondition | None = condition(self.status.conditions, kind)
        return found

    def outcome(self) -> Outcome | None:
        """The end of the attempt that this Pod is, or None while it may still run."""
        return outcome(self)

    def waiting(self) -> tuple[str, str] | None:
        """Why it should run but doesn't."""
        return waiting(self)

    def facts(self) -> tuple[object, ...]:
        """All of it that a plan can depend on."""
        return facts(self)


# Reasons of a Pod's own status that the node or the cluster caused, not the step (kubelet and PodGC write them).
_INFRASTRUCTURE = frozenset(
    {
        *("Evicted", "NodeShutdown", "NodeLost", "NodeAffinity", "Preempting", "Terminated", "Shutdown"),
        *("UnexpectedAdmissionError", "OutOfcpu", "OutOfmemory", "OutOfpods", "OutOfephemeral-storage"),
    }
)

INLINE_LIMIT = 4096
"""Bytes that the kubelet keeps of a termination message (kubernetes/api core/v1, TerminationMessagePath)."""


def outcome(pod: Pod) -> Outcome | None:
    """The end of the attempt that this Pod is, or None while it may still run."""
    terminated = pod.main.terminated
    if terminated and terminated.exit_code == 0:
        return _succeeded(terminated)
    disruption = pod.condition("DisruptionTarget")
    if pod.status.phase == "Failed" and not terminated and (init := _init_failure(pod)):
        return init
    if terminated or pod.status.phase == "Failed":
        return _failed(pod, terminated or Terminated(exit_code=-1), disruption)
    if pod.status.phase == "Succeeded":
        # The node reports success but no state of our container: nothing to read an exit code or output from.
        return Outcome(
            reason="StatusLost", message="the Pod succeeded but its container's state is gone", infrastructure=True
        )
    if pod.deleting and not pod.spec.node_name:
        return Outcome(reason="PodDeleted", message="the Pod was deleted before it was placed on a node")
    return None


def _succeeded(terminated: Terminated) -> Outcome:
    start, finish = terminated.started_at, terminated.finished_at
    output, problem = parse_output(terminated.message)
    if problem:
        return Outcome(reason=problem[0], message=problem[1], exit_code=0, start=start, finish=finish)
    return Outcome(output=output, exit_code=0, start=start, finish=finish)


def _init_failure(pod: Pod) -> Outcome | None:
    """The end of a Pod whose init container failed, so that its own never started; None if none did."""
    for container in pod.status.init_container_statuses:
        ended = container.state.terminated
        if ended and ended.exit_code and not pod.deleting and pod.status.reason == "":
            message = f"init container {container.name}: {_exit(ended.exit_code)}: {ended.message or ended.reason}"
            return Outcome(
                reason="InitContainerFailed",
                message=message,
                exit_code=ended.exit_code,
                start=ended.started_at,
                finish=ended.finished_at,
            )
    return None


def _failed(pod: Pod, terminated: Terminated, disruption: PodCondition | None) -> Outcome:
    exit_code = terminated.exit_code if terminated.exit_code >= 0 else None
    said = terminated.message.strip() or pod.status.message
    if disruption and disruption.status == "True":
        reason, infrastructure = disruption.reason or "Disrupted", True
        said = disruption.message or said
    elif pod.status.reason in _INFRASTRUCTURE or terminated.reason == "ContainerStatusUnknown":
        reason, infrastructure = pod.status.reason or "NodeLost", True
    elif pod.status.reason == "DeadlineExceeded":
        reason, infrastructure = "Timeout", False
    elif pod.deleting:
        reason, infrastructure = "PodDeleted", False
        said = "the Pod was deleted while it ran"
    else:
        reason, infrastructure = _container_reason(terminated), False
    message = f"{_exit(exit_code)}{': ' if exit_code is not None and said else ''}{said}"
    return Outcome(
        reason=reason,
        message=message[-2048:] or reason,
        exit_code=exit_code,
        start=terminated.started_at,
        finish=terminated.finished_at,
        output=parse_output(terminated.message)[0],
        infrastructure=infrastructure,
    )


def _container_reason(terminated: Terminated) -> str:
    if terminated.reason in ("OOMKilled", "StartError", "ContainerCannotRun", "DeadlineExceeded"):
        return terminated.reason
    return "ExitCode" if terminated.exit_code >= 0 else "PodFailed"


def _exit(code: int | None) -> str:
    if code is None:
        return ""
    # A shell's convention, kept by container runtimes: 128 + signal number.
    signal = next((signal.name for signal in Signals if signal == code - 128), None) if code > 128 else None
    return f"exit code {code}" + (f" ({signal})" if signal else "")


def parse_output(message: str) -> tuple[dict[str, Any] | None, tuple[str, str] | None]:
    """The JSON object that a step wrote, or why it isn't one as (reason, message)."""
    if not message.strip():
        return None, None
    try:
        value = msgspec.json.decode(message)
    except (msgspec.DecodeError, RecursionError) as error:
        if len(message.encode()) >= INLINE_LIMIT:
            return None, (
                "OutputTooLarge",
                f"the output is larger than {INLINE_LIMIT} bytes, of which the node keeps only the end: "
                "set largeOutput: true and hand it over by `adze output`",
            )
        return None, ("OutputInvalid", f"the output is not JSON: {error}")
    if nested_deeper(value, DEEPEST):
        return None, ("OutputInvalid", f"the output is nested more than {DEEPEST} levels deep")
    if not isinstance(value, dict):
        return None, ("OutputInvalid", f"the output must be a JSON object, not {_json_type(value)}")
    return value, None


def _json_type(value: Any) -> str:
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")


def waiting(pod: Pod) -> tuple[str, str] | None:
    """Why a Pod that should run doesn't, as (reason, message); None where it's just on its way."""
    scheduled = pod.condition("PodScheduled")
    if scheduled and scheduled.status == "False" and scheduled.reason == "Unschedulable":
        return "Unschedulable", scheduled.message
    for state in _states(pod):
        if state.waiting and state.waiting.reason not in ("", "ContainerCreating", "PodInitializing"):
            # The kubelet flips between the two while it retries; one word keeps the status still.
            reason = "ImagePullBackOff" if state.waiting.reason == "ErrImagePull" else state.waiting.reason
            return reason, state.waiting.message or reason
    if pod.deleting:
        return "Terminating", f"the Pod is being deleted; node {pod.spec.node_name} has not reported its end"
    return None


def facts(pod: Pod) -> tuple[object, ...]:
    """All of a Pod that a plan can depend on. Most of what schedulers and kubelets write changes none of it."""
    return (
        pod.ended,
        pod.main.running,
        pod.main.terminated,
        waiting(pod),
        pod.deleting and not pod.spec.node_name,
        pod.deleting,
        pod.held,
        pod.gated,
    )


def _states(pod: Pod) -> Iterable[ContainerState]:
    for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        yield container.state
