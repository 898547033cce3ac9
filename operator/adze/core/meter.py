"""Who waits for units of which allowances, and whose turn it is: the counterpart of `queues` for rates.

What is known here of an allowance may lag behind the API server. Then the compare-and-swap fails, its Lease is read
again, and nothing was taken.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import nsmallest
from typing import Any

from adze.core import duration, rates
from adze.core.groups import Demand, Key
from adze.core.model import Lease, Run, version
from adze.core.rates import State, Window
from adze.core.slots import Take, Wait, Want, claimed

TOLD_AGAIN = timedelta(seconds=10)
"""A wait for units is told anew after this much time, or when it should have ended."""
IN_LINE = 256
"""Those in front whose turn is worked out in one pass, and names that a Lease may hold."""
REMEMBERED = 1000
"""Allowances that are remembered while nobody waits for them."""


@dataclass(slots=True)
class Allowance:
    """One allowance as it was last seen; `known` is False until its Lease has been read."""

    known: bool = False
    lease: Lease | None = None
    state: State = field(default_factory=State)
    members: set[Key] = field(default_factory=set)
    started: set[str] = field(default_factory=set)

    def show(self, lease: Lease | None) -> bool:
        """Its Lease was seen, or that there's none; whether that is news."""
        if self.known and lease and self.lease and version(lease) <= version(self.lease):
            return False
        self.known, self.lease, self.state = True, lease, rates.state(lease)
        self.started &= self.state.named.keys()
        return True


@dataclass(frozen=True, slots=True)
class Write:
    """A taking: the Lease over which it's written, if there is one; what is written; and for whom."""

    group: str
    lease: Lease | None
    manifest: dict[str, Any]
    members: Collection[Key]


class Meter:
    """All allowances that one operator process has to do with."""

    def __init__(self, runs: Mapping[str, Run]) -> None:
        """`runs` are all runs that are known, by UID."""
        self._runs = runs
        self._demands: dict[str, dict[Key, Demand]] = defaultdict(dict)
        self._allowances: dict[Key, Allowance] = defaultdict(Allowance)
        self._moments: dict[Key, datetime] = {}
        self._dirty: set[str] = set()
        self._news: set[str] = set()
        self._stalled: set[Key] = set()
        self._eased = False
        self.wakes: dict[str, datetime | None] = {}
        """By namespace: when the next units become free for somebody who waits."""

    # What is known

    def join(self, demand: Demand, now: datetime) -> None:
        """A want, as it stands now."""
        run, want = demand.run, demand.want
        if not want.takes:
            return
        namespace, key = run.metadata.namespace, (run.metadata.uid, want.holder)
        known = self._demands[namespace].get(key)
        if known is None or known.want != want or (self._taken(demand) and not self.has(demand, now)):
            self._dirty.add(namespace)
        self._demands[namespace][key] = demand
        for take in want.takes:
            self._allowances[namespace, take.group].members.add(key)

    def leave(self, run: Run, want: Want) -> None:
        """A want is no more: its attempt has started, or never will."""
        if not want.takes:
            return
        namespace, key = run.metadata.namespace, (run.metadata.uid, want.holder)
        self._demands[namespace].pop(key, None)
        self._moments.pop(key, None)
        for take in want.takes:
            allowance = self._allowances[namespace, take.group]
            allowance.members.discard(key)
            if claimed(run, want.holder):
                allowance.started.add(rates.name_of(*key))
        self._dirty.add(namespace)

    def hear(self, lease: Lease) -> None:
        """An allowance as a call's answer shows it."""
        if not lease.metadata.name.startswith(rates.PREFIX):
            return
        key = lease.metadata.namespace, lease.metadata.name.removeprefix(rates.PREFIX)
        allowance = self._allowances.get(key)
        if allowance is None:
            return
        first = not allowance.known
        if allowance.show(lease):
            self._dirty.add(key[0])
        if first:
            allowance.started |= {name for name in allowance.state.named if self._started(name)}

    def _started(self, name: str, *, unknown: bool = False) -> bool:
        """Whether the attempt of a name has started; `unknown` is the answer for runs that nobody knows."""
        uid, _, holder = name.partition("/")
        run = self._runs.get(uid)
        return claimed(run, holder) if run else unknown

    def absent(self, namespace: str, group: str) -> None:
        """There is no Lease of an allowance."""
        self._allowances[namespace, group].show(None)

    def doubt(self, namespace: str, group: str) -> None:
        """What is known of an allowance isn't true: it's read before anything is taken of it."""
        self._allowances[namespace, group].known = False
        self._dirty.add(namespace)

    def touch(self, namespace: str) -> None:
        """Somebody who waits may have got its slots."""
        if self._demands.get(namespace):
            self._dirty.add(namespace)

    def touch_all(self) -> None:
        """Somebody who waits, anywhere, may take now."""
        self._dirty |= {namespace for namespace, demands in self._demands.items() if demands}

    # What a run's pass is told

    def has(self, demand: Demand, now: datetime) -> bool:
        """Whether the units of a demand are taken, and not too long ago."""
        namespace = demand.run.metadata.namespace
        return all(self._fresh(namespace, take, _name(demand), now) for take in demand.want.takes)

    def waits(self, demand: Demand) -> bool:
        """Whether it's known that a demand has to wait for units."""
        return demand.key in self._moments

    def _fresh(self, namespace: str, take: Take, name: str, now: datetime) -> bool:
        allowance = self._allowances.get((namespace, take.group))
        return allowance is not None and allowance.known and allowance.state.fresh(name, take.per, now)

    def _taken(self, demand: Demand) -> bool:
        namespace = demand.run.metadata.namespace
        found = (self._allowances.get((namespace, take.group)) for take in demand.want.takes)
        return any(allowance and _name(demand) in allowance.state.named for allowance in found)

    def explain(self, demand: Demand, now: datetime) -> Wait:
        """Why a demand has no units yet."""
        namespace = demand.run.metadata.namespace
        moment = self._moments.get(demand.key)
        texts = []
        for take in demand.want.takes:
            state = self._allowances[namespace, take.group].state
            if state.closed_until and state.closed_until > now:
                texts.append(f"key {take.key!r} is closed until {_clock(state.closed_until)}")
            elif state.used(take.per, now) + take.units > take.limit:
                used = f"{state.used(take.per, now)} of {take.limit} units per {duration.show(take.per)} in use"
                texts.append(f"key {take.key!r}: {used}, {take.units} needed")
        text = "; ".join(texts) or "its turn comes after others'"
        again = max(now + TOLD_AGAIN, moment or now)
        return Wait(f"{text}; not before {_clock(moment)}" if moment else text, again, "RateLimited")

    def news(self) -> set[str]:
        """UIDs of the runs that have something new to hear."""
        news, self._news = self._news, set()
        return news

    # What the pass does

    def namespaces(self) -> list[str]:
        """Where something has changed that no pass has looked at."""
        return list(self._dirty)

    def due(self, namespace: str, now: datetime) -> bool:
        """Whether a pass has something to do."""
        wake = self.wakes.get(namespace)
        return namespace in self._dirty or (wake is not None and wake <= now)

    def unknown(self, namespace: str) -> list[str]:
        """The allowances that somebody waits for and that must be read first."""
        return [
            group
            for (place, group), allowance in self._allowances.items()
            if place == namespace and allowance.members and not allowance.known
        ]

    def stalled(self) -> tuple[set[Key], bool]:
        """Whose units turned out not to be there yet, and whether somebody's have become free since."""
        found = self._stalled, self._eased
        self._stalled, self._eased = set(), False
        return found

    def choose(
        self, namespace: str, now: datetime, ready: Callable[[Demand], bool], placed: Callable[[Demand], bool]
    ) -> list[Write]:
        """Who takes now, of those who are `ready` and have a place. Who can't yet is told when it will."""
        self._dirty.discard(namespace)
        demands = [d for d in self._demands[namespace].values() if not self.has(d, now) and ready(d)]
        windows: dict[str, Window] = {}
        taking: dict[str, list[tuple[Demand, Take]]] = defaultdict(list)
        wake: datetime | None = None
        for demand in nsmallest(IN_LINE, demands, key=lambda demand: demand.want.order):
            name = _name(demand)
            takes = [take for take in demand.want.takes if not self._fresh(namespace, take, name, now)]
            for take in takes:
                if take.group not in windows:
                    windows[take.group] = Window(self._allowances[namespace, take.group].state, take.per, now)
            if any(self._crowded(namespace, take, len(taking.get(take.group, ()))) for take in takes):
                continue
            # Who waits for one key doesn't hold up those who need another.
            late = [take for take in takes if not windows[take.group].fits(take, name)]
            if not late and not placed(demand):
                self._eased |= self._moments.pop(demand.key, None) is not None
                continue
            moments = [windows[take.group].reserve(take, name) for take in late or takes]
            if late:
                self._wait(demand, max(moments))
                wake = min(wake or max(moments), max(moments))
                continue
            for take in takes:
                taking[take.group].append((demand, take))
        self.wakes[namespace] = wake
        self._tidy()
        return [self._write(namespace, group, takers, now) for group, takers in taking.items()]

    def _crowded(self, namespace: str, take: Take, more: int) -> bool:
        """Whether a Lease has no room for another name; those of runs that are gone make room then."""
        allowance = self._allowances[namespace, take.group]
        if len(allowance.state.named.keys() - allowance.started) + more < IN_LINE:
            return False
        allowance.started |= {name for name in allowance.state.named if self._started(name, unknown=True)}
        return len(allowance.state.named.keys() - allowance.started) + more >= IN_LINE

    def _wait(self, demand: Demand, moment: datetime) -> None:
        key = demand.key
        if key not in self._moments or not demand.decided:
            demand.decided, demand.told = True, None
            self._stalled.add(key)
            self._news.add(demand.run.metadata.uid)
        self._moments[key] = moment

    def _write(self, namespace: str, group: str, takers: list[tuple[Demand, Take]], now: datetime) -> Write:
        allowance = self._allowances[namespace, group]
        take = takers[0][1]
        new = {_name(demand): rates.stamp(now, take.units) for demand, take in takers}
        state = allowance.state.after(new, allowance.started, take.per, now)
        manifest = rates.manifest(namespace, take, state, now)
        members = [demand.key for demand, _ in takers]
        return Write(group, allowance.lease, manifest, members)

    def _tidy(self) -> None:
        if len(self._allowances) > REMEMBERED:
            for key in [key for key, allowance in self._allowances.items() if not allowance.members]:
                del self._allowances[key]

    def granted(self, namespace: str, write: Write) -> None:
        """A taking has been written."""
        for key in write.members:
            if demand := self._demands[namespace].get(key):
                demand.refused = None
            self._moments.pop(key, None)
            self._news.add(key[0])

    def refuse(self, namespace: str, write: Write, message: str, again: datetime) -> None:
        """The API server takes no Lease; it's tried again."""
        for key in write.members:
            if demand := self._demands[namespace].get(key):
                demand.refused, demand.decided = message, True
            self._news.add(key[0])
        self.wakes[namespace] = min(self.wakes.get(namespace) or again, again)


def _name(demand: Demand) -> str:
    return rates.name_of(*demand.key)


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
