"""Allowances: at most so many units of a key in any window of a length.

Each key has one Lease, and what was taken of it when is an annotation that changes by compare-and-swap. What an attempt
takes bears the attempt's name, so a process that takes over knows that it has been taken
(docs/adr/0025-allowances-are-logs.md).
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Protocol, Self

import msgspec

from adze.core import names, slots
from adze.core.expressions import INT, Lookup, Program, Scope, Template
from adze.core.model import LEASE_API_VERSION, MICROTIME, MOST_UNITS, Lease, RateLimit, Run
from adze.core.slots import InvalidKey, Take

SHORTEST, LONGEST = timedelta(seconds=1), timedelta(hours=744)
"""Bounds of a window's length."""
KEPT = 128
"""Entries of the log of what was taken. Of more, neighbours become one that counts from the later's time."""
FRESH = timedelta(seconds=5)
"""How long units that were taken let an attempt start; after that they are taken anew, in place of the old ones."""
PREFIX = "adze-rate-"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)


class InvalidRate(ValueError):
    """A key, a limit or units that can't be used; the text says which and why."""


class Compiler(Protocol):
    """What compiles the texts of a workflow, and notes what is wrong with them (`core.revision`)."""

    def template(self, value: Any, scope: Scope, field: str) -> Template:
        """A text with expressions."""
        ...

    def program(self, source: str | None, scope: Scope, field: str, want: Any) -> Program | None:
        """An expression."""
        ...

    def limit(self, text: str | None, field: str) -> timedelta | None:
        """A duration."""
        ...

    def complain(self, field: str, message: str) -> None:
        """Note what is wrong."""
        ...


@dataclass(frozen=True, slots=True)
class Rate:
    """A `rateLimit` entry of a step, compiled."""

    spec: RateLimit
    key: Template
    limit: int | Program
    units: int | Program
    per: timedelta


def compile_rates(compiler: Compiler, entries: Sequence[RateLimit], scope: Scope, field: str) -> tuple[Rate, ...]:
    """The entries of a step; those that can't be compiled are left out, and complained of."""
    found = []
    for index, entry in enumerate(entries):
        place = f"{field}.rateLimit[{index}]"
        key = compiler.template(entry.key, scope, f"{place}.key")
        numbers = [
            given if isinstance(given, int) else compiler.program(given, scope, f"{place}.{name}", INT)
            for name, given in (("limit", entry.limit), ("units", entry.units))
        ]
        per = compiler.limit(entry.per, f"{place}.per")
        if per and not SHORTEST <= per <= LONGEST:
            compiler.complain(f"{place}.per", "must be between 1s and 744h")
        limit, units = numbers
        if limit is not None and units is not None and per:
            found.append(Rate(entry, key, limit, units, per))
    return tuple(found)


def take(rate: Rate, run: Run, values: Lookup, live: Rate | None = None) -> Take:
    """What an attempt takes by an entry. `live` is the entry as the Workflow has it now: its limit counts.

    InvalidRate if the key is no text of 1 to 253 characters, or limit or units no number from 1 up, or units too many.
    """
    try:
        key = slots.text_of_key(rate.key, values)
        limit = slots.whole_number("limit", (live or rate).limit, values, MOST_UNITS)
        units = slots.whole_number("units", rate.units, values, MOST_UNITS)
    except InvalidKey as error:
        raise InvalidRate(str(error)) from None
    if units > limit:
        raise InvalidRate(f"key {key!r}: an attempt takes {units} units, and limit allows {limit}")
    # Windows of another length are another allowance: its log needn't be kept for both.
    group = slots.group(rate.spec, run, f"rate/{rate.per.total_seconds()}", key)
    return Take(group, key, limit, units, rate.per)


def name_of(run_uid: str, holder: str) -> str:
    """The name under which an attempt takes units."""
    return f"{run_uid}/{holder}"


class Taken(msgspec.Struct, frozen=True, array_like=True):
    """Units, and when they were taken, in milliseconds since 1970."""

    at: int
    units: int


class State(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What an allowance's annotation says: takings of attempts that have started, those of named ones, both in order.

    Nothing is taken before `closed_until`.
    """

    log: tuple[Taken, ...] = ()
    named: Mapping[str, Taken] = {}
    closed_until: datetime | None = None

    def fresh(self, name: str, per: timedelta, now: datetime) -> bool:
        """Whether a name's units let it start now."""
        taken = self.named.get(name)
        return taken is not None and taken.at > _ms(now) - min(FRESH, per) // MS

    def used(self, per: timedelta, now: datetime) -> int:
        """Units of the window that ends now."""
        since = _ms(now) - per // MS
        return sum(taken.units for taken in (*self.log, *self.named.values()) if taken.at > since)

    def over(self, per: timedelta, now: datetime) -> bool:
        """Whether nothing of this matters any more."""
        return self.used(per, now) == 0 and not (self.closed_until and self.closed_until > now)

    def after(self, new: Mapping[str, Taken], started: Iterable[str], per: timedelta, now: datetime) -> Self:
        """With `new` taken now. `started` names need theirs no more; what has left the window is dropped."""
        since = _ms(now) - per // MS
        named = {name: taken for name, taken in {**self.named, **new}.items() if taken.at > since}
        nameless = [named.pop(name) for name in started if name in named and name not in new]
        log = sorted([taken for taken in (*self.log, *nameless) if taken.at > since], key=lambda taken: taken.at)
        closed = self.closed_until if self.closed_until and self.closed_until > now else None
        return type(self)(tuple(_shortened(log)), named, closed)


def _ms(moment: datetime) -> int:
    return (moment - EPOCH) // MS


def _shortened(log: list[Taken]) -> list[Taken]:
    """At most KEPT entries. One that is merged counts from the later time: it leaves the window late, never early."""
    while len(log) > KEPT:
        gaps = [later.at - earlier.at for earlier, later in pairwise(log)]
        place = gaps.index(min(gaps))
        log[place : place + 2] = [Taken(log[place + 1].at, log[place].units + log[place + 1].units)]
    return log


class Window:
    """The window of an allowance as it moves on: what fits now, and for those in line, when theirs will fit."""

    def __init__(self, state: State, per: timedelta, now: datetime) -> None:
        self._per = per // MS
        self._now = _ms(now)
        takings = [*((taken, "") for taken in state.log), *((taken, name) for name, taken in state.named.items())]
        self._line = deque(sorted(takings, key=lambda item: item[0].at))
        self._total = sum(taken.units for taken, _ in self._line)
        self._named = {name: taken.units for name, taken in state.named.items()}
        newest = self._line[-1][0].at if self._line else 0
        # Times never go back, whichever process's clock they are from.
        self._moment = max(self._now, newest, _ms(state.closed_until) if state.closed_until else 0)

    def fits(self, take: Take, name: str) -> bool:
        """Whether the units can be taken now, in the order of the line."""
        self._pass()
        return self._moment <= self._now and self._total - self._named.get(name, 0) + take.units <= take.limit

    def reserve(self, take: Take, name: str) -> datetime:
        """When the units can be taken; who comes later in the line takes theirs not sooner."""
        self._total -= self._named.pop(name, 0)
        self._pass()
        while self._line and self._total + take.units > take.limit:
            self._moment = max(self._moment, self._line[0][0].at + self._per)
            self._pass()
        self._line.append((Taken(self._moment, take.units), ""))
        self._total += take.units
        return EPOCH + self._moment * MS

    def _pass(self) -> None:
        """What has left the window counts no more; what a name has taken earlier, and takes anew, neither."""
        while self._line and self._line[0][0].at + self._per <= self._moment:
            taken, name = self._line.popleft()
            self._total -= self._named.pop(name, 0) if name else taken.units


def stamp(now: datetime, units: int) -> Taken:
    """Units that are taken now."""
    return Taken(_ms(now), units)


def state(lease: Lease | None) -> State:
    """What the Lease says; nothing, if there is none or it can't be read."""
    try:
        return msgspec.json.decode(lease.metadata.annotations.rate, type=State) if lease else State()
    except msgspec.MsgspecError:
        return State()


def over(lease: Lease, now: datetime) -> bool:
    """Whether nothing that an allowance's Lease says matters any more."""
    return state(lease).over(timedelta(seconds=lease.spec.lease_duration_seconds or 0), now)


def lease_name(group: str) -> str:
    """Name of the Lease of an allowance."""
    return f"{PREFIX}{group}"


def manifest(namespace: str, take: Take, new: State, now: datetime) -> dict[str, Any]:
    """The Lease of an allowance."""
    return {
        "apiVersion": LEASE_API_VERSION,
        "kind": "Lease",
        "metadata": {
            "name": lease_name(take.group),
            "namespace": namespace,
            "labels": {names.MANAGED_BY: "adze", names.LEASE: names.ALLOWANCE},
            "annotations": {names.SLOT_KEY: take.key, names.RATE: msgspec.json.encode(new).decode()},
        },
        "spec": {
            "renewTime": now.strftime(MICROTIME),
            "leaseDurationSeconds": -(take.per // -timedelta(seconds=1)),
        },
    }
