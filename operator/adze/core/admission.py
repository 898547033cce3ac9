"""Admission: one pass over the queues of a namespace. It takes Leases for those who come next, and nothing else.

A run starts in a pass of its own, once its slots are seen; and before the gate of a Pod opens, they are read once more
(`core.protocol`). A slot that was taken in vain is given back in three steps: it's marked, then the run is read, and
only if that doesn't claim the slot, the Lease goes. Of a claim that is followed by a read of the slot, and a mark that
is followed by a read of the claim, at least one sees the other: so no Pod ever runs whose slot is given back.
"""

from collections.abc import Generator, Sequence
from datetime import datetime
from typing import Any

from adze.core import taking
from adze.core.calls import Call, Failure, FreeSlot, ListSlots, MarkSlot, Problem, ReadRun, Say, TakeSlot
from adze.core.draft import Notice
from adze.core.groups import Choice, Demand
from adze.core.model import Run
from adze.core.protocol import Pass, Steps
from adze.core.queues import Queues
from adze.core.slots import Slot, claimed, lease

MAX_ROUNDS = 4


def admit(queues: Queues, namespace: str, now: datetime, *, known: bool) -> Steps:
    """Admit whom the strategies choose, until nothing more is free. `known` is False in a process's first pass."""
    admitted = yield from _admit(queues, namespace, now, known=known)
    queues.allot()
    wake, again = queues.meter.wakes.get(namespace), False
    if queues.meter.due(namespace, now):
        wake, again = yield from taking.take(queues, namespace, now)
    wakes = [moment for moment in (admitted.wake, wake) if moment]
    return Pass(min(wakes, default=None), again=admitted.again or again)


def _admit(queues: Queues, namespace: str, now: datetime, *, known: bool) -> Steps:
    queues.due(namespace)
    if not known and not (yield from _list(queues, namespace, None)):
        return Pass(again=True)
    wake: datetime | None = None
    listed: set[str] = set()
    for _ in range(MAX_ROUNDS):
        choice = queues.choose(namespace, listed)
        if not choice:
            return Pass(wake)
        takes: list[Call] = [
            TakeSlot(namespace, lease(demand.run, demand.want, need, number, now))
            for demand, need, number in choice.take
        ]
        if choice.lost:
            yield [Say(demand.run, _loss(demand, key)) for demand, key in choice.lost]
        answers = (yield takes) if takes else ()
        wake = _refused(queues, choice, answers, now) or wake
        settled = yield from _give_back(choice.give_back)
        doubtful = choice.doubt | _surprises([need.group for _, need, _ in choice.take], answers)
        for group in sorted(doubtful):
            queues.spoil(namespace, group)
            if not (yield from _list(queues, namespace, group)):
                return Pass(wake, again=True)
            listed.add(group)
        if not settled:
            return Pass(wake, again=True)
    return Pass(now)


def _loss(demand: Demand, key: str) -> Notice:
    whose = demand.want.holder or "the run"
    what = f"key {key!r}" if key else "the limit"
    return Notice(
        "Warning", "SlotLost", f"the Lease by which {whose} held its slot of {what} is gone; it's taken again"
    )


def _list(queues: Queues, namespace: str, group: str | None) -> Generator[Sequence[Call], Sequence[Any], bool]:
    before = queues.known(namespace, group)
    (answer,) = yield [ListSlots(namespace, group)]
    if isinstance(answer, Problem):
        return False
    queues.listed(before, answer)
    return True


def _give_back(slots: Sequence[Slot]) -> Generator[Sequence[Call], Sequence[Any], bool]:
    """Mark, read, then let go, or take the mark off again; whether all of it went well."""
    if not slots:
        return True
    marks = yield [MarkSlot(slot, marked=True) for slot in slots]
    marked = [answer for answer in marks if isinstance(answer, Slot)]
    if not marked:
        return False
    runs = yield [ReadRun(slot.metadata.namespace, slot.run, slot.run_uid) for slot in marked]
    ends: list[Call] = []
    for slot, run in zip(marked, runs, strict=True):
        # The slots of a run that is gone are freed with its Pods, by `protocol.abandon`.
        if isinstance(run, Run) and run.metadata.uid == slot.run_uid:
            ends.append(MarkSlot(slot, marked=False) if claimed(run, slot.holder) else FreeSlot(slot, unchanged=True))
    answers = (yield ends) if ends else ()
    return len(ends) == len(slots) and not any(isinstance(answer, Problem) for answer in answers)


def _surprises(groups: Sequence[str], answers: Sequence[Any]) -> set[str]:
    """The groups of which something else is true than was believed."""
    lasting = (Failure.REFUSED, Failure.LATER)
    return {
        group
        for group, answer in zip(groups, answers, strict=True)
        if isinstance(answer, Problem) and answer.failure not in lasting
    }


def _refused(queues: Queues, choice: Choice, answers: Sequence[Any], now: datetime) -> datetime | None:
    """Tell those whose Lease the API server takes from nobody; when to ask again."""
    wake = None
    for (demand, need, _), answer in zip(choice.take, answers, strict=True):
        if isinstance(answer, Problem) and answer.failure in (Failure.REFUSED, Failure.LATER):
            queues.refuse(demand, f"no Lease can be made: {answer.reason}: {answer.message}")
            queues.later(demand.run.metadata.namespace, need.group)
            wake = now + taking.REFUSED_AGAIN
    return wake
