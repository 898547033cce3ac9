"""Mutants of concurrency keys: each element of the protocol of slots (docs/adr/0024) broken in turn."""

from collections.abc import Sequence
from typing import Any

from adze.core import admission, calls, hands, protocol, upkeep
from adze.core.calls import Problem
from adze.core.pods import Pod
from adze.core.queues import Queues
from adze.core.rules import admit
from adze.core.slots import Slot
from tests.sim.driver import Driver
from tests.sim.mutant import Mutant, chores_with


class SlotsRepeat(Driver):
    """Lease names may repeat."""

    def take_slot(self, call: calls.TakeSlot) -> Slot | Problem:
        """Create under a name that is free."""
        return self.api.take_slot(call.manifest, unique=False)


class NoMark(Driver):
    """A mark is believed to be there, and isn't."""

    def mark_slot(self, call: calls.MarkSlot) -> Slot | Problem:
        """Nothing is written."""
        return self.api.slots.get(call.slot.metadata.name) or super().mark_slot(call)


def _free_at_once(namespace: str, name: str | None, uid: str, pods: Sequence[Pod], slots: Any = ()) -> Any:
    steps = _abandon(namespace, name, uid, pods)
    if slots:
        yield [calls.FreeSlot(slot) for slot in slots]
    return (yield from steps)


_abandon = protocol.abandon


def _closed_is_idle(run: Any, observed: Any, holder: str) -> bool:
    if holder == "" or run.status.phase.final:
        return bool(run.status.phase.final)
    name, _, number = holder.rpartition("#")
    status = next(status for status in run.status.steps if status.name == name)
    return any(attempt.number == int(number) and attempt.finish_time for attempt in status.attempts)


SLOT_MUTANTS = (
    Mutant("slots' names are not unique", list, "queues", 300, SlotsRepeat),
    Mutant("gate opened without reading the slots", lambda: [(hands, "needed", lambda *_: [])], "queues", 3000),
    Mutant("slot given back whatever the run says", lambda: [(admission, "claimed", lambda *_: False)], "queues", 3000),
    Mutant("slot given back without a mark", list, "handover", 20000, NoMark),
    Mutant("slot freed while its Pod ends", lambda: [(admit, "_idle", _closed_is_idle)], "queues", 3000),
    Mutant("slots of dead runs freed at once", lambda: [(protocol, "abandon", _free_at_once)], "queues", 3000),
    Mutant("slots never freed", lambda: [(upkeep, "chores", chores_with(free=()))], "queues", 300),
    Mutant("nobody tells the admitted", lambda: [(Queues, "news", lambda self: set())], "queues", 300),
)
