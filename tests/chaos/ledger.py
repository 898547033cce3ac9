"""Lets the simulator's ledger (tests/sim/check.py) hear a recorded history, one run at a time.

The ledger tells "changed" from "the same" by identity, as the simulator shares unchanged parts. Decoded objects share
nothing, so equal parts are replaced by those that it knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import msgspec

from adze.core import names
from adze.core.model import Run, StepStatus
from adze.core.pods import Pod
from adze.core.rules import retry
from adze.core.slots import Slot
from tests.sim import check
from tests.sim.check import Checker
from tests.sim.violation import Violation

from .history import Entry, Page

EPOCH = datetime.fromtimestamp(0, UTC)
BUDGET = retry.INFRASTRUCTURE_BUDGET
"""The operator's own budget of lost attempts; the simulator plays with a smaller one."""


class World:
    """What the ledger asks of an API server: the present revision and time."""

    def __init__(self) -> None:
        self.revision = 0
        self.now = EPOCH
        self.runs: dict[str, Run] = {}
        self.pods: dict[str, Pod] = {}
        self.pages: dict[str, dict[str, Any]] = {}
        self.refused: frozenset[str] = frozenset()


class Ledger:
    """One run with its Pods, slots and pages."""

    def __init__(self, *, stripped: bool) -> None:
        """`stripped` says that somebody took finalizers away, which the promises exclude."""
        self.world = World()
        self._slots: dict[str, Slot] = {}
        self.goals: Counter[str] = Counter()
        self._checker = Checker(self.goals, stripped=stripped)
        api: Any = self.world
        self._checker.api = api

    def hear(self, entry: Entry) -> None:
        """The next entry. Violation tells that it breaks a predicate."""
        with mock.patch.object(check, "INFRASTRUCTURE_BUDGET", BUDGET):
            self._hear(entry)

    def _hear(self, entry: Entry) -> None:
        self.world.revision = entry.version
        self.world.now = entry.at or self.world.now
        uid = entry.item.metadata.uid
        if isinstance(entry.item, Page):
            self.world.pages[entry.item.metadata.name] = msgspec.json.decode(entry.item.data[names.PAGE])
        elif isinstance(entry.item, Slot):
            self._slot(uid, None if entry.removed else entry.item)
        elif isinstance(entry.item, Pod):
            self._pod(uid, None if entry.removed else entry.item)
        elif isinstance(entry.item, Run):
            self._run(uid, None if entry.removed else entry.item)

    def _run(self, uid: str, new: Run | None) -> None:
        old = self.world.runs.pop(uid, None)
        if new is not None:
            self.world.runs[uid] = new = shared(old, new)
            self._created(old, new)
        elif old is not None:
            self._checker.run_changed(old, None)

    def _pod(self, uid: str, new: Pod | None) -> None:
        old = self.world.pods.pop(uid, None)
        if new is not None:
            self.world.pods[uid] = new
        if old or new:
            self._checker.pod_changed(old, new)

    def _slot(self, uid: str, new: Slot | None) -> None:
        old = self._slots.pop(uid, None)
        if new is not None:
            self._slots[uid] = new
        if old or new:
            self._checker.slots.changed(old, new)

    def _created(self, old: Run | None, new: Run) -> None:
        if old is None and new.status.workflow_spec is not None:
            # It had begun when the recording did.
            self._checker.run_changed(None, msgspec.structs.replace(new, status=type(new.status)()))
            old = msgspec.structs.replace(new, status=type(new.status)())
        self._checker.run_changed(old, new)


def shared(old: Run | None, new: Run) -> Run:
    """`new` with those parts of `old` that are equal."""
    if old is None:
        return new
    if old.status == new.status:
        return msgspec.structs.replace(new, status=old.status)
    before = {step.name: step for step in old.status.steps}
    steps = tuple(_shared_step(before.get(step.name), step) for step in new.status.steps)
    return msgspec.structs.replace(new, status=msgspec.structs.replace(new.status, steps=steps))


def _shared_step(old: StepStatus | None, new: StepStatus) -> StepStatus:
    if old is None:
        return new
    if old == new:
        return old
    known = {attempt.number: attempt for attempt in old.attempts}
    attempts = tuple(
        known[attempt.number] if known.get(attempt.number) == attempt else attempt for attempt in new.attempts
    )
    return msgspec.structs.replace(new, attempts=attempts)


def first_violation(entries: Iterable[Entry], *, stripped: bool) -> tuple[Violation, Entry] | None:
    """The first predicate that the entries of one run break, and the entry that does."""
    ledger = Ledger(stripped=stripped)
    for entry in entries:
        try:
            ledger.hear(entry)
        except Violation as violation:
            return violation, entry
    return None
