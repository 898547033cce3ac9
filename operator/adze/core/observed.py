"""What a plan is made from besides the run itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from adze.core.carrier import Carrier
from adze.core.model import Entry, Event
from adze.core.revision import Revision
from adze.core.slots import Dismissal, Slot, Wait


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the API server refused to create a Pod. A lasting refusal would be repeated for ever: the attempt fails."""

    reason: str
    message: str
    lasting: bool
    since: datetime
    pause: timedelta
    retry_at: datetime


@dataclass(frozen=True, slots=True)
class Observed:
    """The Pods of one run, its Jobs, child runs and slots, as they were last seen.

    `fresh` says that `pods` is a quorum LIST made after the run was read; until then a Pod that isn't here may exist.
    `vanished` names Pods that were seen and then disappeared with their finalizer on. `pages` are those pages of
    outputs, large ones too, by name, that a plan has asked for; None is one that is gone. So are `entries` those of the
    cache; None is one that isn't there, or can't be had.
    `slots` are the Leases that bear the run's name; `granted` are the holders that may rely on theirs; `waits` tells
    why others have none yet. `live` is the run's Workflow as it is now, whose limits count.
    `events` are those that a plan has asked for. `refused` is how often in a row the API server has found the status
    that a plan gave too large.
    """

    pods: Mapping[str, Carrier] = field(default_factory=dict)
    fresh: bool = False
    vanished: frozenset[str] = frozenset()
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    pages: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    entries: Mapping[str, Entry | None] = field(default_factory=dict)
    slots: tuple[Slot, ...] = ()
    granted: frozenset[str] = frozenset()
    waits: Mapping[str, Wait] = field(default_factory=dict)
    dismissal: Dismissal | None = None
    live: Revision | None = None
    events: Sequence[Event] = ()
    refused: int = 0

    def pod(self, name: str, owner: str) -> Carrier | None:
        """The Pod of that name if the run with the UID `owner` controls it; somebody else's is nobody's attempt."""
        pod = self.pods.get(name)
        return pod if pod and pod.owned_by(owner) else None

    def owned(self, owner: str) -> Iterator[Carrier]:
        """The Pods that the run with the UID `owner` controls."""
        return (pod for pod in self.pods.values() if pod.owned_by(owner))
