"""What carries an attempt out: a Pod, a Job or a child run. What adze needs to know of any of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adze.core import names
from adze.core.model import OwnerReference, Record


class PodMetadata(Record, frozen=True, kw_only=True, gc=False):
    """Identity of an object and what holds it."""

    name: str
    namespace: str
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class PodCondition(Record, frozen=True, kw_only=True, gc=False):
    """A condition of a Pod or a Job."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. `reason` is None when it succeeded; the output of a failed one is for `rules.closing`."""

    reason: str | None = None
    message: str | None = None
    exit_code: int | None = None
    start: datetime | None = None
    finish: datetime | None = None
    output: dict[str, Any] | None = None
    infrastructure: bool = False


class Carrier(Record, frozen=True, kw_only=True, gc=False):
    """An object that carries an attempt out."""

    metadata: PodMetadata

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    @property
    def held(self) -> bool:
        """Whether our finalizer is on it."""
        return names.FINALIZER in self.metadata.finalizers

    @property
    def done(self) -> bool:
        """Whether it has ended and was let go: nothing of it matters any more."""
        return names.RELEASED in self.metadata.labels

    @property
    def deleting(self) -> bool:
        """Whether its end has been asked for."""
        return self.metadata.deletion_timestamp is not None

    def owned_by(self, uid: str) -> bool:
        """Whether the object with that UID controls it. Labels alone can be written by anybody."""
        return any(owner.controller and owner.uid == uid for owner in self.metadata.owner_references)

    @property
    def gated(self) -> bool:
        """Whether our gate is still on it: nothing of it has started."""
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs, now or later."""
        raise NotImplementedError

    @property
    def started(self) -> datetime | None:
        """Since when it runs, if it runs now."""
        raise NotImplementedError

    @property
    def node(self) -> str | None:
        """The node that it is on."""
        return None

    def outcome(self) -> Outcome | None:
        """The end of the attempt, or None while it may still run."""
        raise NotImplementedError

    def waiting(self) -> tuple[str, str] | None:
        """Why it should run but doesn't, as (reason, message); None where it's just on its way."""
        return None

    def facts(self) -> tuple[object, ...]:
        """All of it that a plan can depend on."""
        return (self.started, self.ended, self.deleting, self.held, self.gated, self.waiting(), self.outcome())


def condition(conditions: Iterable[Any], kind: str) -> Any:
    """The condition of that type, or None."""
    return next((one for one in conditions if one.type == kind), None)
