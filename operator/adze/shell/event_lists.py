"""The events that runs wait for, listed once for all runs that ask at the same time.

A burst of events makes each run that waits for such ones look. A look needs a quorum LIST that begins after it was
asked for, and not one of its own: whoever asks while a LIST of the namespace is under way shares the next one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from adze.core.draft import Awaited
from adze.core.model import API_VERSION, Event
from adze.shell.cluster import Cluster, resource
from adze.shell.lists import pages

_event = msgspec.json.Decoder(Event).decode


@dataclass(slots=True)
class _Batch:
    """Those who share a LIST that has not begun: since when which types count for any of them."""

    task: "asyncio.Task[list[Event]] | None" = None
    awaits: dict[str, Awaited] = field(default_factory=dict)

    def join(self, awaits: Iterable[Awaited]) -> None:
        for awaited in awaits:
            known = self.awaits.get(awaited.pattern, awaited)
            self.awaits[awaited.pattern] = min(known, awaited, key=lambda one: one.since)


class EventLists:
    """Lists WorkflowEvents for runs."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._next: dict[str, _Batch] = {}
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def those(self, namespace: str, awaits: tuple[Awaited, ...]) -> list[Event]:
        """The events of a namespace that one of `awaits` means, as etcd has them at a moment after this call."""
        batch = self._next.setdefault(namespace, _Batch())
        batch.join(awaits)
        if batch.task is None:
            batch.task = asyncio.create_task(self._list(namespace, batch))
            batch.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        # One that is cancelled takes nothing from the others.
        found = await asyncio.shield(batch.task)
        return [event for event in found if any(awaited.means(event) for awaited in awaits)]

    async def _list(self, namespace: str, batch: _Batch) -> list[Event]:
        """In pages, of which only what counts for somebody is kept."""
        async with self._turns[namespace]:
            del self._next[namespace]  # who asks from now on needs a later one
            wanted, found = batch.awaits.values(), list[Event]()
            async for page in pages(self._cluster, resource(API_VERSION, namespace, "workflowevents")):
                found += [event for event in map(_event, page.items) if any(one.means(event) for one in wanted)]
            return found
