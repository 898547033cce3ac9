"""What a strategy sees of a group, and what it says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from adze.core.slots import Order, Want


@dataclass(frozen=True, slots=True)
class Member:
    """A want in one group: the run's name and UID, its key, and what it wants."""

    run: str
    uid: str
    key: str
    want: Want

    @property
    def order(self) -> Order:
        """Its place in a queue."""
        return self.want.order

    @property
    def age(self) -> Order:
        """Its place by creation alone: priority doesn't count."""
        return (0, *self.want.order[1:])


@dataclass(frozen=True, slots=True)
class Line:
    """A group: who waits (in order), who holds, the limit and how many slots are free.

    `turns` tells when each key was last served, as a number that grows.
    """

    waiting: Sequence[Member]
    holding: Sequence[Member]
    limit: int
    free: int
    turns: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Who is to be admitted, first to last, as far as there's room; and who gives way, to which run."""

    admit: Sequence[Member]
    dismiss: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """UID of a run to the reason and to the name of the run that it gives way to."""


Rank = Callable[[Line], Ranking]

LIMIT_REACHED = "LimitReached"
