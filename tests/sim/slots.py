"""Predicates of concurrency keys: S11 to S13, checked at every revision. A key's own text tells its limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adze.core.model import Concurrency, Run
from adze.core.slots import Slot
from tests.sim.violation import Violation

if TYPE_CHECKING:
    from tests.sim.check import Checker


def limit(key: str) -> int:
    """The slots of a key."""
    return int(key.rpartition("-")[2])


class SlotLedger:
    """What is known of the slots, from the API server alone."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self.held: dict[str, Slot] = {}

    def changed(self, old: Slot | None, new: Slot | None) -> None:
        """A slot was taken, touched or freed."""
        if new is not None:
            self.held[new.metadata.name] = new
            same = [slot for slot in self.held.values() if slot.key == new.key]
            if len(same) > limit(new.key):
                raise Violation("S11", f"{len(same)} hold {new.key}")
            self._checker.goals["slot marked"] += old is not None
            return
        assert old is not None
        del self.held[old.metadata.name]
        self._freed(old)

    def _freed(self, slot: Slot) -> None:
        """S12: what may still run keeps its slot."""
        account = self._checker.accounts[slot.run_uid]
        self._checker.goals["slot freed after its run was gone"] += account.dead is not None
        run = account.run
        if any(
            (other.run_uid, other.holder, other.key) == (slot.run_uid, slot.holder, slot.key)
            for other in self.held.values()
        ):
            return  # two replicas took one each
        step = slot.holder.rpartition("#")[0]
        live = sorted(uid for name, uids in account.live.items() for uid in uids if slot.holder == "" or name == step)
        if slot.holder and not any(
            claim.attempt.number == int(slot.holder.rpartition("#")[2]) and claim.opened
            for claim in account.tries.get(step, ())
        ):
            live = []
        if live:
            raise Violation("S12", f"{slot.metadata.name} of {run.metadata.name}/{slot.holder} was freed, {live} run")
        self._checker.goals["slot given back"] += account.alive and not run.status.phase.final

    def run_changed(self, old: Run, new: Run) -> None:
        """How runs fare."""
        if new.status.start_time and not old.status.start_time and new.spec.workflow_spec:
            self._checker.goals["started with slots"] += bool(new.spec.workflow_spec.concurrency)
        self._checker.goals["queued"] += new.status.phase.value == "Queued" != old.status.phase.value
        if new.status.superseded_by and not old.status.superseded_by:
            self._checker.goals[f"gave way: {new.status.reason}"] += 1

    def opened(self, run: Run, entries: Sequence[Concurrency], holder: str) -> None:
        """S12: the gate of a holder's Pod opens only while each entry's key has a slot of it."""
        for entry in entries:
            if not any(
                (slot.run_uid, slot.holder, slot.key) == (run.metadata.uid, holder, entry.key)
                for slot in self.held.values()
            ):
                raise Violation("S12", f"{run.metadata.name} {holder} may run without a slot of {entry.key}")
