"""Admission: one pass over the queues of a namespace. It takes Leases for those who come next, and nothing else.

A run starts, in a pass of its own, once it's told that it has all its slots. Two rules keep that true while another
replica looks at the same queues: a process relies only on Leases that it took or touched itself, and a Lease that was
taken in vain is given back only if nobody has touched it since.
"""

from collections.abc import Generator, Sequence
from datetime import datetime, timedelta
from typing import Any

from adze.core.calls import Call, Failure, FreeSlot, KeepSlot, ListSlots, Problem, TakeSlot
from adze.core.protocol import AGAIN, Pass, Steps
from adze.core.queues import Choice, Queues
from adze.core.slots import lease

MAX_ROUNDS = 4
REFUSED_AGAIN = timedelta(seconds=10)
"""Pause before a Lease that the API server refused (a quota, no rights) is asked for again."""


def admit(queues: Queues, namespace: str, now: datetime, *, known: bool) -> Steps:
    """Admit whom the strategies choose, until nothing more is free. `known` is False in a process's first pass."""
    queues.due(namespace)
    if not known and not (yield from _list(queues, namespace, None)):
        return Pass(now + AGAIN)
    wake: datetime | None = None
    for _ in range(MAX_ROUNDS):
        choice = queues.choose(namespace)
        if not choice:
            return Pass(wake)
        calls: list[Call] = [
            TakeSlot(namespace, lease(demand.run, demand.want, need, number, now))
            for demand, need, number in choice.take
        ]
        calls += [KeepSlot(slot, now) for slot in choice.keep]
        calls += [FreeSlot(slot, unchanged=True) for slot in choice.give_back]
        answers = yield calls
        wake = _refused(queues, choice, answers, now) or wake
        for group in _doubtful(choice, answers):
            queues.spoil(namespace, group)
            if not (yield from _list(queues, namespace, group)):
                return Pass(now + AGAIN)
    return Pass(now)


def _list(queues: Queues, namespace: str, group: str | None) -> Generator[Sequence[Call], Sequence[Any], bool]:
    (answer,) = yield [ListSlots(namespace, group)]
    if isinstance(answer, Problem):
        return False
    queues.listed(namespace, group, answer)
    return True


def _doubtful(choice: Choice, answers: Sequence[Any]) -> list[str]:
    """The groups of which something else is true than was believed."""
    groups = [need.group for _, need, _ in choice.take]
    groups += [slot.group for slot in (*choice.keep, *choice.give_back)]
    lasting = (Failure.REFUSED, Failure.LATER)
    pairs = zip(groups, answers, strict=True)
    return sorted({group for group, answer in pairs if isinstance(answer, Problem) and answer.failure not in lasting})


def _refused(queues: Queues, choice: Choice, answers: Sequence[Any], now: datetime) -> datetime | None:
    """Tell those whose Lease the API server takes from nobody; when to ask again."""
    wake = None
    for (demand, need, _), answer in zip(choice.take, answers, strict=False):
        if isinstance(answer, Problem) and answer.failure in (Failure.REFUSED, Failure.LATER):
            queues.refuse(demand, f"no Lease can be made: {answer.reason}: {answer.message}")
            queues.later(demand.run.metadata.namespace, need.group)
            wake = now + REFUSED_AGAIN
    return wake
