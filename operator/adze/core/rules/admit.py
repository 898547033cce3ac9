"""Admission: a run starts once it holds its slots, an attempt once it holds its own."""

from collections.abc import Sequence

import msgspec

from adze.core import kinds, rates, slots
from adze.core.caps import counts
from adze.core.draft import WITHDRAWN, Draft
from adze.core.fanout import MAX_ITEMS, folded
from adze.core.model import ItemStatus, Run
from adze.core.observed import Observed
from adze.core.rates import InvalidRate, Rate
from adze.core.revision import Node
from adze.core.slots import RUN, Entry, InvalidKey, Need, Slot, Take, Want, attempt_holder


def hold(draft: Draft) -> None:
    """Go on wanting what is in use: a slot that was taken away is taken again, one that is in use is never given."""
    if draft.revision.queues:
        draft.wants.append(_want(draft, RUN, draft.revision.queues, running=True))
    entries = (entry for fan in draft.fans.values() for entry in fan.entries.values())
    for status in (*draft.steps.values(), *entries):
        node = draft.revision.node(status.name)
        attempt = status.open_attempt
        if attempt and (node.queues or (draft.policy.capped and counts(attempt))):
            draft.wants.append(_want(draft, attempt_holder(node.part, attempt.number), node.queues, node, running=True))
        elif node.queues and status.attempts and status.attempts[-1].reason in WITHDRAWN and _held(draft, status):
            draft.over(status.attempts[-1])


def _held(draft: Draft, status: ItemStatus) -> bool:
    holder = attempt_holder(status.name, status.attempts[-1].number)
    return any(slot.holder == holder for slot in draft.observed.slots)


def may_claim(draft: Draft, node: Node, status: ItemStatus, number: int) -> bool:
    """Whether the next attempt has its slots and units; if not, they are wanted, and the step says why it waits.

    InvalidKey or InvalidRate if a key or a limit can't be used.
    """
    if not (node.queues or node.rates or _counts(draft, node)):
        return True
    holder = attempt_holder(node.part, number)
    if holder in draft.observed.granted:
        return True
    draft.wants.append(_want(draft, holder, node.queues, node))
    wait = draft.observed.waits.get(holder)
    if wait and (wait.news or status.reason != wait.reason):
        draft.put(msgspec.structs.replace(status, reason=wait.reason, message=wait.message, retry_at=None))
    if wait:
        draft.wake_at(wait.again)
    return False


def run_want(draft: Draft) -> Want:
    """What the run itself needs before it starts. InvalidKey if a key or a limit can't be used."""
    return _want(draft, RUN, draft.revision.queues)


def _want(
    draft: Draft, holder: str, entries: Sequence[Entry], node: Node | None = None, *, running: bool = False
) -> Want:
    level = "run" if node is None else "step"
    live = _live(draft, node)
    needs: dict[str, Need] = {}
    for index, entry in enumerate(entries):
        now = live[index] if index < len(live) and _same(live[index], entry) else None
        try:
            need = slots.need(entry, draft.run, draft.values(node), level, now)
        except InvalidKey:
            # What somebody has made of the Workflow since must not break a run that was right when it came.
            need = slots.need(entry, draft.run, draft.values(node), level)
        needs[need.group] = need
    place = -1
    if node is not None:
        # Items of a step come in their own order, before those of the next.
        place = list(draft.revision.nodes).index(node.name) * (MAX_ITEMS + 1) + (node.index or 0)
    order = slots.order(draft.run, draft.revision.spec.priority, place)
    takes = () if running or node is None else tuple(wanted_units(draft, node).values())
    return Want(holder, tuple(needs.values()), order, running, takes, node is not None and _counts(draft, node))


def _counts(draft: Draft, node: Node) -> bool:
    """Whether an attempt of a step takes a place: `caps.counts` before there is one."""
    kind = kinds.of(node.step)
    return draft.policy.capped and not isinstance(kind, kinds.Waits) and kind is not kinds.KINDS["workflow"]


def wanted_units(draft: Draft, node: Node) -> dict[str, Take]:
    """By group, what an attempt of a step takes. InvalidRate if that can't be told."""
    today = draft.observed.live.nodes.get(node.name) if draft.observed.live else None
    takes: dict[str, Take] = {}
    for rate in node.rates:
        live = next((now for now in (today.rates if today else ()) if _same_rate(now, rate)), None)
        try:
            take = rates.take(rate, draft.run, draft.values(node), live)
        except InvalidRate:
            take = rates.take(rate, draft.run, draft.values(node))
        takes[take.group] = take
    return takes


def _live(draft: Draft, node: Node | None) -> Sequence[Entry]:
    """The entries as the Workflow has them today: a limit protects what is shared, so an old run obeys it too."""
    live = draft.observed.live
    if live is None:
        return ()
    if node is None:
        return live.queues
    today = live.nodes.get(node.name)
    return today.queues if today else ()


def _same(one: Entry, other: Entry) -> bool:
    return (one.spec.key, one.spec.scope) == (other.spec.key, other.spec.scope)


def _same_rate(one: Rate, other: Rate) -> bool:
    return (one.spec.key, one.spec.scope, one.per) == (other.spec.key, other.spec.scope, other.per)


def idle_slots(run: Run, observed: Observed) -> tuple[Slot, ...]:
    """Slots that the run can never use again, in whatever order its writes are seen."""
    return tuple(slot for slot in observed.slots if _idle(run, observed, slot.holder))


def _idle(run: Run, observed: Observed, holder: str) -> bool:
    if run.status.phase.final or holder == RUN:
        return run.status.phase.final
    name, _, number = holder.rpartition("#")
    status = next((part for part in run.status.parts() if part.name == name), None)
    if status is None:
        return folded(run.status, name)
    last = status.attempts[-1] if status.attempts else None
    if last is None or last.number < int(number):
        return status.phase.final
    if last.number > int(number):
        return True
    pod = observed.pod(last.pod, run.metadata.uid)
    ended = pod.ended if pod else last.reason not in WITHDRAWN or observed.fresh
    return last.finish_time is not None and ended
