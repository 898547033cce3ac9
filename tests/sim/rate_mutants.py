"""Mutants of allowances: what keeps them from being exceeded (docs/adr/0025) broken in turn."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from adze.core import calls
from adze.core.calls import Problem
from adze.core.meter import Meter
from adze.core.model import Lease
from adze.core.rates import State, Taken, Window
from tests.sim.driver import Driver
from tests.sim.mutant import Mutant

_after, _init = State.after, Window.__init__


class NoSwap(Driver):
    """An allowance is written whatever version it has."""

    def replace_lease(self, call: calls.ReplaceLease) -> Lease | Problem:
        """Without a precondition."""
        return self.api.leases.put(call.manifest)


def _without_log(self: State, new: Mapping[str, Taken], started: Iterable[str], per: timedelta, now: datetime) -> State:
    return msgspec.structs.replace(_after(self, new, started, per, now), log=())


def _short(self: Window, state: State, per: timedelta, now: datetime) -> None:
    _init(self, state, per * 0.8, now)


def _open(self: Window, state: State, per: timedelta, now: datetime) -> None:
    _init(self, msgspec.structs.replace(state, closed_until=None), per, now)


RATE_MUTANTS = (
    Mutant("units written whatever the version", list, "rates", 3000, NoSwap),
    Mutant("a window that is too short", lambda: [(Window, "__init__", _short)], "rates", 300),
    Mutant("units forgotten once an attempt has started", lambda: [(State, "after", _without_log)], "rates", 3000),
    Mutant("attempts claimed without units", lambda: [(Meter, "has", lambda *_: True)], "rates", 300),
    Mutant("units taken of a closed key", lambda: [(Window, "__init__", _open)], "rates", 3000),
)
