"""Items of forEach steps: fold those that have ended, start those that may, end the step with the last of them."""

from collections.abc import Callable

import msgspec

from adze.core import fanout, names
from adze.core.draft import WITHDRAWN, Draft
from adze.core.expressions import ExpressionError
from adze.core.fanout import Fan
from adze.core.model import ItemsStatus, ItemStatus, Phase, StepStatus
from adze.core.revision import Node
from adze.core.rules import retry
from adze.core.verdict import CANCELLED

Start = Callable[[Draft, Node], None]


def gather(draft: Draft) -> None:
    """Fold the items that have ended; a step whose items have all ended has ended too."""
    for fan in list(draft.fans.values()):
        _stop_retries(draft, fan)
        _gather(draft, fan)


def _stop_retries(draft: Draft, fan: Fan) -> None:
    """A step that starts nothing new tries nothing again either: what failed has failed."""
    if not fan.stopped:
        return
    for entry in list(fan.entries.values()):
        if entry.phase.final or entry.open_attempt:
            continue
        if entry.attempts:
            last = entry.attempts[-1]
            retry.fail(draft, entry, last.reason or "Failed", last.message or "")
        else:
            message = "another item failed before this one started"
            draft.put(msgspec.structs.replace(entry, phase=Phase.CANCELLED, reason=CANCELLED, message=message))


def _gather(draft: Draft, fan: Fan) -> None:
    for name, entry in list(fan.entries.items()):
        if entry.phase.final and _over(draft, entry):
            fan.fold(name)
            draft.firm = True
    before = fan.status
    draft.steps[fan.node.name] = status = fan.absorb()
    draft.pages |= fan.pages
    if status.phase.final and not before.phase.final:
        del draft.fans[fan.node.name]
        draft.firm = True
        if status.phase is Phase.FAILED:
            draft.tell(status, "StepFailed", f"{status.reason}: {status.message}")


def _over(draft: Draft, entry: ItemStatus) -> bool:
    """Whether nothing of an ended item can run any more; a side container's time is the Pod's own affair."""
    last = entry.attempts[-1] if entry.attempts else None
    return last is None or last.reason not in WITHDRAWN or draft.over(last)


def expand(draft: Draft, node: Node, status: StepStatus) -> None:
    """Fix the list of a forEach step; from here on its items are what starts and ends."""
    try:
        found, digest = fanout.listed(node, draft.values())
    except ExpressionError as error:
        retry.fail(draft, status, "ForEachInvalid", str(error))
        return
    others = sum(known.items.total for known in draft.steps.values() if known.items)
    if len(found) + others > fanout.MAX_ITEMS:
        message = f"forEach gives {len(found)} items; {fanout.MAX_ITEMS - others} fit in the run"
        retry.fail(draft, status, "TooManyItems", message)
        return
    items = ItemsStatus(total=len(found), digest=digest)
    draft.put(msgspec.structs.replace(status, phase=Phase.RUNNING, reason=None, message=None, items=items))
    draft.fan_out(draft.steps[node.name])


def fill(draft: Draft, node: Node, start: Start) -> None:
    """Start retries that are due, then new items, as far as limits allow; `start` claims an attempt of a step."""
    fan = draft.fans[node.name]
    if not fan.stopped:
        _start_retries(draft, fan, start)
        _start_new(draft, fan, start)
    _stop_retries(draft, fan)
    _gather(draft, fan)
    if not fan.stopped and _startable(draft, fan):
        draft.wake_at(draft.now)


def _room(draft: Draft, fan: Fan) -> int:
    """How many more items may be in flight: those that wait for a retry aren't, unless their Pod still runs."""
    flying = sum(entry.retry_at is None or _runs(draft, entry) for entry in fan.entries.values())
    return (fan.node.step.max_parallel or fanout.MAX_PARALLEL) - flying


def _runs(draft: Draft, entry: ItemStatus) -> bool:
    pod = draft.pod(entry.attempts[-1]) if entry.attempts else None
    return pod is not None and not pod.ended


def _startable(draft: Draft, fan: Fan) -> int:
    """How many new items may start now."""
    entries = sum(len(other.entries) for other in draft.fans.values())
    return max(0, min(_room(draft, fan), fanout.ENTRIES - entries, fan.left))


def _start_retries(draft: Draft, fan: Fan, start: Start) -> None:
    for entry in list(fan.entries.values()):
        if entry.phase.final or entry.open_attempt:
            continue
        if entry.retry_at and draft.now < entry.retry_at:
            draft.wake_at(entry.retry_at)
        elif entry.retry_at is None or _room(draft, fan) > 0:
            start(draft, draft.revision.node(entry.name))


def _start_new(draft: Draft, fan: Fan, start: Start) -> None:
    for _ in range(min(_startable(draft, fan), fanout.WAVE)):
        index = fan.take()
        entry = ItemStatus(name=names.part(fan.node.name, index))
        draft.put(entry)
        start(draft, fan.node.item(index))
        if fan.stopped:
            return
