"""Allowances: their Leases in memory, and the predicates S25 to S28. A key's own text tells limit and window."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from adze.core import names, rates
from adze.core.calls import Failure, Problem
from adze.core.model import Lease, RateLimit, Run
from tests.sim.violation import Violation

if TYPE_CHECKING:
    from tests.sim.check import Checker

CONFLICT = Problem(Failure.CONFLICT, "Conflict", "the object has been modified")
EXISTS = Problem(Failure.EXISTS, "AlreadyExists", "already exists")
NOT_FOUND = Problem(Failure.NOT_FOUND, "NotFound", "not found")
Changed = Callable[[str, str, rates.State, rates.State], None]


class Leases:
    """The Leases of allowances, with create-if-absent and compare-and-swap."""

    def __init__(self, version: Callable[[], str], changed: Changed) -> None:
        """`changed` is told name, key, and state before and after of every revision."""
        self._version = version
        self._changed = changed
        self.leases: dict[str, Lease] = {}

    def create(self, manifest: dict[str, Any]) -> Lease | Problem:
        """Create if absent."""
        return EXISTS if manifest["metadata"]["name"] in self.leases else self.put(manifest)

    def replace(self, lease: Lease, manifest: dict[str, Any]) -> Lease | Problem:
        """Compare-and-swap on the version of `lease`."""
        known = self.leases.get(lease.metadata.name)
        if known is None:
            return NOT_FOUND
        same = known.metadata.resource_version == lease.metadata.resource_version
        return self.put(manifest) if same else CONFLICT

    def put(self, manifest: dict[str, Any]) -> Lease:
        """Write, whatever is there."""
        new = msgspec.convert(manifest, Lease)
        metadata = msgspec.structs.replace(new.metadata, uid=new.metadata.name, resource_version=self._version())
        new = msgspec.structs.replace(new, metadata=metadata)
        old, self.leases[metadata.name] = self.leases.get(metadata.name), new
        key = manifest["metadata"]["annotations"][names.SLOT_KEY]
        self._changed(metadata.name, key, rates.state(old), rates.state(new))
        return new


@dataclass(slots=True)
class Taking:
    """Units that somebody has taken."""

    name: str
    at: int
    units: int


class RateLedger:
    """What has been taken of each key, from the API server alone. Only a claim makes a taking final."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._takings: dict[str, list[Taking]] = defaultdict(list)
        self._keys: dict[str, set[str]] = defaultdict(set)

    def changed(self, lease: str, key: str, old: rates.State, new: rates.State) -> None:
        """A Lease was written."""
        goals, takings = self._checker.goals, self._takings[lease]
        goals["key closed"] += new.closed_until is not None and new.closed_until != old.closed_until
        limit, per = bounds(key)
        fresh = [(name, taken) for name, taken in new.named.items() if old.named.get(name) != taken]
        for name, taken in fresh:
            if old.closed_until and taken.at < old.closed_until.timestamp() * 1000:
                raise Violation("S28", f"{name} has taken of {key}, which is closed until {old.closed_until}")
            before = [taking for taking in takings if taking.name == name and taking.at > taken.at - per]
            if name in old.named:
                # In place of those taken too long ago; the attempt starts once, and later moments only see more.
                goals["units taken anew"] += 1
                takings[:] = [taking for taking in takings if taking not in before[-1:]]
            elif before and not self._claimed(name):
                raise Violation("S27", f"{name} has taken of {key} twice")
            goals["units taken in vain"] += bool(before) and name not in old.named
            takings.append(Taking(name, taken.at, taken.units))
            self._keys[name].add(key)
        goals["units taken"] += bool(fresh)
        for last in takings[-20:]:
            used = sum(taking.units for taking in takings if last.at - per < taking.at <= last.at)
            if used > limit:
                raise Violation("S25", f"{used} units of {key} were taken within {per} ms")

    def _claimed(self, name: str) -> bool:
        uid, _, holder = name.partition("/")
        step, _, number = holder.rpartition("#")
        return len(self._checker.accounts[uid].tries.get(step, ())) >= int(number)

    def claimed(self, run: Run, entries: tuple[RateLimit, ...], holder: str) -> None:
        """S26: an attempt is claimed only once its units are taken."""
        name = rates.name_of(run.metadata.uid, holder)
        missing = {entry.key for entry in entries} - self._keys[name]
        if missing:
            raise Violation("S26", f"{name} was claimed and has taken nothing of {missing}")

    def waited(self, reason: str | None) -> None:
        """A step says why it waits."""
        self._checker.goals["waited for units"] += reason == "RateLimited"


def bounds(key: str) -> tuple[int, int]:
    """Limit, and the window in milliseconds, of a key such as rate-2-5."""
    _, limit, per = key.split("-")
    return int(limit), int(per) * 1000
