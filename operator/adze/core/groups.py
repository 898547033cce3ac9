"""What the memory of admission is made of: demands, groups of slots, and what to do next."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from adze.core.model import Run
from adze.core.slots import Need, Slot, Wait, Want
from adze.core.strategies import Member

Key = tuple[str, str]
"""Of a want: UID of the run, holder. Of a group: namespace, digest."""


@dataclass(slots=True)
class Demand:
    """A want, and what has become of it."""

    run: Run
    want: Want
    decided: bool = False
    refused: str | None = None
    told: Wait | None = None
    lost: bool = False

    @property
    def key(self) -> Key:
        """Whose want it is."""
        return self.run.metadata.uid, self.want.holder


@dataclass(slots=True)
class Group:
    """The slots of a key, and who is interested in them."""

    slots: dict[str, Slot] = field(default_factory=dict)
    held: dict[Key, Slot] = field(default_factory=dict)
    members: dict[Key, Member] = field(default_factory=dict)
    turns: dict[str, int] = field(default_factory=dict)

    def put(self, slot: Slot) -> None:
        """A slot is taken, by whom its Lease says."""
        self.remove(slot)
        self.slots[slot.metadata.name] = slot
        self.held[slot.run_uid, slot.holder] = slot

    def remove(self, slot: Slot) -> None:
        """A slot is free."""
        if known := self.slots.pop(slot.metadata.name, None):
            key = (known.run_uid, known.holder)
            self.held.pop(key, None)
            # One holder may have two for a while, where two replicas took one each.
            if other := next((slot for slot in self.slots.values() if (slot.run_uid, slot.holder) == key), None):
                self.held[key] = other

    def free(self, limit: int, reserved: Iterable[int] = ()) -> Iterator[int]:
        """The numbers that may be taken now, smallest first.

        A slot with a number beyond the limit is left from a higher one. Each slot closes one place, those beyond the
        limit the highest free ones, the same for everybody who looks: so a lowered limit isn't exceeded either.
        """
        taken = {slot.number for slot in self.slots.values()} | set(reserved)
        below = (number for number in range(limit) if number not in taken)
        return islice(below, max(0, limit - len(taken)))


@dataclass(slots=True)
class Choice:
    """What admission does next: Leases to take and to give back; groups to list before anything else.

    `lost` names those whose slot is certainly gone while they use it, and its key: people must hear of it.
    """

    take: list[tuple[Demand, Need, int]] = field(default_factory=list)
    give_back: list[Slot] = field(default_factory=list)
    doubt: set[str] = field(default_factory=set)
    lost: list[tuple[Demand, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.take or self.give_back or self.doubt or self.lost)


@dataclass(frozen=True, slots=True)
class Known:
    """What was believed at a moment: slots, and UIDs of Leases that were deleted."""

    slots: Sequence[Slot]
    gone: frozenset[str]
