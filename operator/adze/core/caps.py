"""Caps on how many steps run at a time, of the operator and of each namespace: places that are counted in memory.

A place costs no write. What runs is in the runs' status, so a process that starts counts it anew. Two processes that
work at once each keep to the caps by what they see (docs/adr/0026-caps-are-counted.md).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import TypeVar

from adze.core.groups import Demand
from adze.core.model import Attempt, Run
from adze.core.policy import Policy
from adze.core.slots import attempt_holder

T = TypeVar("T")
Ready = Callable[[Demand], bool]


def counts(attempt: Attempt) -> bool:
    """Whether an attempt takes a place: a wait for time or people doesn't, nor does a child run besides its steps."""
    return bool(attempt.pod or attempt.job)


class Caps:
    """The places of one operator process, and who waits for one."""

    def __init__(self, runs: Mapping[str, Run], policy: Policy) -> None:
        """`runs` are all runs that are known, by UID."""
        self.on = policy.capped
        self._runs = runs
        self._total = policy.parallelism
        self._each = policy.namespace_parallelism
        self._taken: dict[str, set[str]] = defaultdict(set)
        self._of_namespace: Counter[str] = Counter()
        self._waiting: dict[str, dict[str, dict[str, Demand]]] = defaultdict(dict)
        self._turns: Counter[str] = Counter()
        self._turn = 0
        self._counted = False
        self._news: set[str] = set()
        self.dirty = False
        """Whether somebody may get a place, or has left one."""

    def ask(self, run: Run, demands: Mapping[str, Demand]) -> None:
        """All that a run wants now, by holder; it leaves the places that it no longer wants."""
        if not self.on:
            return
        uid, namespace = run.metadata.uid, run.metadata.namespace
        counted = {holder: demand for holder, demand in demands.items() if demand.want.counts}
        left = {holder for holder in self._taken.get(uid, ()) if holder not in counted}
        self._of_namespace[namespace] -= len(left)
        for holder, demand in counted.items():
            if demand.want.running:
                self._take(run, holder)
        mine = (self._taken.get(uid) or set()) - left
        waiting = {holder: demand for holder, demand in counted.items() if holder not in mine}
        self.dirty |= bool(left or waiting)
        _put(self._taken, uid, mine)
        _put(self._waiting[namespace], uid, waiting)

    def has(self, demand: Demand) -> bool:
        """Whether a demand has a place, or needs none."""
        return not demand.want.counts or demand.want.holder in self._taken.get(demand.run.metadata.uid, ())

    def give_up(self, demand: Demand) -> None:
        """A demand has to wait for something else: others may have its place meanwhile."""
        run, holder = demand.run, demand.want.holder
        if self.on and holder in self._taken.get(run.metadata.uid, ()):
            self._taken[run.metadata.uid].discard(holder)
            self._of_namespace[run.metadata.namespace] -= 1
            self._waiting[run.metadata.namespace].setdefault(run.metadata.uid, {})[holder] = demand
            self.dirty = True

    def namespaces(self) -> list[str]:
        """Where somebody waits who hasn't been looked at."""
        return [namespace for namespace, waiting in self._waiting.items() if waiting and self.dirty]

    def allot(self, ready: Ready) -> bool:
        """Give away what is free; whether anybody got a place.

        It goes to the namespace with the fewest places, then the one served longest ago. Within a namespace by
        priority, then to the run with the fewest places: a wide run doesn't hold up the others.
        """
        if not self.dirty:
            return False
        self.dirty = False
        self._count()
        before = self._turn
        line = {
            namespace: [demand for demands in runs.values() for demand in demands.values() if ready(demand)]
            for namespace, runs in self._waiting.items()
        }
        while open_to := [namespace for namespace, demands in line.items() if demands and self._room(namespace)]:
            namespace = min(open_to, key=lambda name: (self._of_namespace[name], self._turns[name], name))
            demand = min(line[namespace], key=self._rank)
            line[namespace].remove(demand)
            self._turn += 1
            self._turns[namespace] = self._turn
            uid = demand.run.metadata.uid
            self._take(demand.run, demand.want.holder)
            _put(self._waiting[namespace], uid, _without(self._waiting[namespace][uid], demand.want.holder))
            self._news.add(uid)
        for demand in (demand for demands in line.values() for demand in demands if not demand.decided):
            demand.decided, demand.told = True, None
            self._news.add(demand.run.metadata.uid)
        return self._turn > before

    def explain(self, demand: Demand) -> str:
        """Why a demand has no place."""
        namespace = demand.run.metadata.namespace
        here = self._of_namespace[namespace]
        if self._each and here >= self._each:
            return f"{here} of {self._each} steps run in namespace {namespace}"
        return f"{self._all()} of {self._total} steps run, {here} of them in namespace {namespace}"

    def news(self) -> set[str]:
        """UIDs of the runs that have something new to hear."""
        news, self._news = self._news, set()
        return news

    def _all(self) -> int:
        return self._of_namespace.total()

    def _room(self, namespace: str) -> bool:
        free = not self._total or self._all() < self._total
        return free and (not self._each or self._of_namespace[namespace] < self._each)

    def _rank(self, demand: Demand) -> tuple[object, ...]:
        return demand.want.order[0], len(self._taken.get(demand.run.metadata.uid, ())), demand.want.order

    def _take(self, run: Run, holder: str) -> None:
        taken = self._taken[run.metadata.uid]
        if holder not in taken:
            taken.add(holder)
            self._of_namespace[run.metadata.namespace] += 1

    def _count(self) -> None:
        """Once: what runs by the runs' status, whether or not they have been looked at."""
        if self._counted:
            return
        self._counted = True
        for run in self._runs.values():
            for part in run.status.parts() if not run.status.phase.final else ():
                attempt = part.open_attempt
                if attempt and counts(attempt):
                    self._take(run, attempt_holder(part.name, attempt.number))


def _without(demands: Mapping[str, Demand], holder: str) -> dict[str, Demand]:
    return {name: demand for name, demand in demands.items() if name != holder}


def _put(table: dict[str, T], key: str, value: T) -> None:
    """Nothing is kept that is empty."""
    if value:
        table[key] = value
    else:
        table.pop(key, None)
