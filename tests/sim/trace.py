"""What happened, for people: one line per call, event and fault. Off in bulk runs."""

from typing import Any

from adze.core import calls
from adze.core.calls import Problem
from adze.core.model import Lease, Run, RunStatus
from adze.core.pods import Pod
from adze.core.slots import Slot


class Trace:
    """Collects lines if it's on."""

    def __init__(self, *, on: bool) -> None:
        self.on = on
        self.lines: list[str] = []

    def world(self, what: str, name: str) -> None:
        """Something that the world did to an object."""
        if self.on:
            self.lines.append(f"      world {what} {name}")

    def say(self, who: str, what: str) -> None:
        """Something that a replica did or suffered."""
        if self.on:
            self.lines.append(f"  {who:>9} {what}")

    def call(self, who: str, call: Any, answer: Any, mode: str) -> None:
        """A call and its answer."""
        if self.on:
            self.say(who, f"{describe(call)} -> {result(answer)}{f'   [{mode}]' if mode else ''}")


def describe(call: Any) -> str:
    """A call in a few words."""
    kind = type(call).__name__
    match call:
        case calls.WriteStatus():
            return f"{kind} {call.run.metadata.name}@{call.run.metadata.resource_version} {status(call.status)}"
        case calls.CreatePod():
            return f"{kind} {call.manifest['metadata']['name']}"
        case calls.OpenGate() | calls.Release() | calls.DeletePod():
            return f"{kind} {call.pod.name} ({call.pod.metadata.uid}@{call.pod.metadata.resource_version})"
        case calls.ListPods() | calls.DeleteRun():
            return f"{kind} {call.run.metadata.name}"
        case calls.TakeSlot():
            meta = call.manifest["metadata"]
            return f"{kind} {meta['name']} for {call.manifest['spec']['holderIdentity']}"
        case calls.ReadSlot() | calls.MarkSlot() | calls.FreeSlot():
            return f"{kind} {slot(call.slot)}{' off' if isinstance(call, calls.MarkSlot) and not call.marked else ''}"
        case calls.ListSlots():
            return f"{kind} {call.group or 'all'}"
        case calls.ReplaceLease():
            return f"{kind} {call.lease.metadata.name}@{call.lease.metadata.resource_version}"
        case calls.CreateLease():
            return f"{kind} {call.manifest['metadata']['name']}"
        case calls.ReadRun() | calls.ReadPod() | calls.ReadWorkflow() | calls.ReadLease():
            return f"{kind} {call.name}"
    return kind


def status(value: RunStatus) -> str:
    """A run's status in one line: a:Running[1:open] means that step a runs its first attempt."""
    steps = []
    for step in value.steps:
        tries = ",".join(f"{a.number}:{a.reason or ('ok' if a.finish_time else 'open')}" for a in step.attempts)
        steps.append(f"{step.name}:{step.phase.value}[{tries}]")
    return f"{value.phase.value}{f'({value.reason})' if value.reason else ''} {' '.join(steps)}"


def result(answer: Any) -> str:
    """An answer in a few words."""
    if isinstance(answer, Problem):
        return f"{answer.failure.value}{f' ({answer.reason})' if answer.reason != answer.failure.value else ''}"
    if isinstance(answer, Run):
        return f"@{answer.metadata.resource_version} {status(answer.status)}"
    if isinstance(answer, Pod):
        return pod(answer)
    if isinstance(answer, Slot):
        return slot(answer)
    if isinstance(answer, dict):
        return "; ".join(_item(name, item) for name, item in answer.items()) or "none"
    if isinstance(answer, Lease):
        return f"@{answer.metadata.resource_version} {answer.metadata.annotations.rate}"
    return "done"


def _item(name: str, item: Any) -> str:
    if isinstance(item, Slot):
        return slot(item)
    return f"{name} {pod(item) if isinstance(item, Pod) else item}"


def slot(item: Slot) -> str:
    """A slot in a few words."""
    meta = item.metadata
    return (
        f"{meta.name} of {item.run}/{item.holder} {meta.uid}@{meta.resource_version}{' marked' if item.marked else ''}"
    )


def pod(item: Pod) -> str:
    """A Pod in a few words."""
    marks = [mark for mark, on in (("gated", item.gated), ("deleting", item.deleting), ("held", item.held)) if on]
    return f"{item.metadata.uid}@{item.metadata.resource_version} {item.status.phase} {' '.join(marks)}".strip()
