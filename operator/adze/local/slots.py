"""Slots of concurrency keys where there is one run: the same Leases, in memory only.

A run that is resumed takes its slots again, as it would where somebody had deleted them.
"""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec

from adze.core import calls, names
from adze.core.calls import Failure, Problem
from adze.core.slots import Slot

EXISTS = Problem(Failure.EXISTS, "AlreadyExists", "already exists")
NOT_FOUND = Problem(Failure.NOT_FOUND, "NotFound", "not found")
replace = msgspec.structs.replace


class Slots:
    """The slots that are taken, and the calls' verbs on them."""

    def __init__(self, version: Callable[[], str]) -> None:
        """`version` gives the next resourceVersion."""
        self._version = version
        self._taken: dict[str, Slot] = {}
        self.verbs: dict[type, Callable[[Any], Any]] = {
            calls.ListSlots: lambda call: {
                name: slot for name, slot in self._taken.items() if call.group in (None, slot.group)
            },
            calls.TakeSlot: self._take,
            calls.ReadSlot: lambda call: self._taken.get(call.slot.metadata.name, NOT_FOUND),
            calls.MarkSlot: self._mark,
            calls.FreeSlot: self._free,
        }

    def _take(self, call: calls.TakeSlot) -> Slot | Problem:
        slot = msgspec.convert(call.manifest, Slot)
        if slot.metadata.name in self._taken:
            return EXISTS
        return self._put(slot, uid=str(uuid4()))

    def _put(self, slot: Slot, **changes: Any) -> Slot:
        new = replace(slot, metadata=replace(slot.metadata, resource_version=self._version(), **changes))
        self._taken[slot.metadata.name] = new
        return new

    def _mark(self, call: calls.MarkSlot) -> Slot | Problem:
        slot = self._taken.get(call.slot.metadata.name)
        if slot is None:
            return NOT_FOUND
        others = {key: value for key, value in slot.metadata.annotations.items() if key != names.GIVING_BACK}
        mark = {names.GIVING_BACK: "true"} if call.marked else {}
        return self._put(slot, annotations=others | mark)

    def _free(self, call: calls.FreeSlot) -> Problem | None:
        return None if self._taken.pop(call.slot.metadata.name, None) else NOT_FOUND
