"""Records every revision of a namespace's runs, and of all that belongs to them, from the real API server.

A watch tells of every revision. After an API server restart its cache begins anew and answers 410 to an older version;
then the revisions in between are read one by one: a LIST at exactly that version shows the state there. Only when etcd
has compacted them is there a gap, and then no verdict but Inconclusive.
"""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec

from adze.core.model import API_VERSION, Event, Run, Workflow
from adze.core.names import RUN_UID, SLOTS
from adze.core.pods import Pod
from adze.core.slots import Slot
from adze.shell.cluster import ApiError, Cluster, Status, resource

from .history import Entry, History, Page, Started

T = TypeVar("T", Run, Pod, Slot, Page, Workflow, Event)

RETRY = 0.3
AT_ONCE = 8
MOST_REVISIONS = 6000
"""Revisions that are read one by one after a 410; more of them are a gap."""
DEEP = 25_000
"""Levels of nesting: the API server takes 10,000, and a recorder must not die of what it records."""
_VERSION = re.compile(rb'"resourceVersion":"(\d+)"')


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct):
    metadata: _Meta


@dataclass
class _Kind(Generic[T]):
    """One resource that is followed: the state at `version`, and all that led to it."""

    type: type[T]
    path: str
    labels: str
    version: int = 0
    items: dict[str, T] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    unreadable: int = 0


class Recorder:
    """The history of one namespace, from `start` to `stop`."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        sys.setrecursionlimit(max(sys.getrecursionlimit(), DEEP))
        self._cluster = cluster
        self._runs: _Kind[Run] = _Kind(Started, resource(API_VERSION, namespace, "workflowruns"), "")
        self._pods = _Kind(Pod, resource("v1", namespace, "pods"), RUN_UID)
        self._slots = _Kind(Slot, resource("coordination.k8s.io/v1", namespace, "leases"), SLOTS)
        self._workflows = _Kind(Workflow, resource(API_VERSION, namespace, "workflows"), "")
        self._events = _Kind(Event, resource(API_VERSION, namespace, "workflowevents"), "")
        pages = _Kind(Page, resource("v1", namespace, "configmaps"), RUN_UID)
        self._kinds: tuple[_Kind[Any], ...] = (
            *(self._runs, self._pods, self._slots),
            *(self._workflows, self._events, pages),
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.gaps: list[str] = []
        self.catch_ups = 0
        self.changed = asyncio.Event()

    @property
    def runs(self) -> dict[str, Run]:
        """The runs as they are now, by UID."""
        return self._runs.items

    @property
    def pods(self) -> dict[str, Pod]:
        """The Pods as they are now, by UID."""
        return self._pods.items

    @property
    def slots(self) -> dict[str, Slot]:
        """The slots that are taken now, by UID of their Leases."""
        return self._slots.items

    @property
    def workflows(self) -> dict[str, Workflow]:
        """The Workflows as they are now, by UID."""
        return self._workflows.items

    @property
    def events(self) -> dict[str, Event]:
        """The WorkflowEvents as they are now, by UID."""
        return self._events.items

    @property
    def revisions(self) -> int:
        """How many revisions were recorded."""
        return sum(len(kind.entries) for kind in self._kinds)

    async def start(self) -> None:
        """Record what is there, and follow what comes."""
        for kind in self._kinds:
            version, items = await self._list(kind)
            self._difference(kind, version, items)
            self._tasks.append(asyncio.create_task(self._follow(kind)))

    async def stop(self) -> None:
        """End the watches."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def complete(self, patience: float = 20) -> None:
        """Wait until all that the API server shows now is recorded; if that doesn't come about, it's a gap."""
        for kind in self._kinds:
            _, items = await self._list(kind)
            wanted = {uid: int(item.metadata.resource_version) for uid, item in items.items()}
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    while missing := self._missing(kind, wanted):
                        self.changed.clear()
                        with suppress(TimeoutError):
                            await asyncio.wait_for(self.changed.wait(), 1)
            if missing := self._missing(kind, wanted):
                self.gaps.append(f"{len(missing)} of {kind.path} were never seen as the API server shows them")

    @staticmethod
    def _missing(kind: _Kind[Any], wanted: dict[str, int]) -> list[str]:
        newest = {entry.item.metadata.uid: entry.version for entry in kind.entries}
        return [uid for uid, version in wanted.items() if newest.get(uid, 0) < version]

    def history(self) -> History:
        """What was recorded so far, in order."""
        entries = [entry for kind in self._kinds for entry in kind.entries]
        return History(sorted(entries, key=lambda entry: entry.version), list(self.gaps))

    def last(self, count: int = 6) -> list[Entry]:
        """The newest entries."""
        return self.history().entries[-count:]

    # Following one kind

    async def _follow(self, kind: _Kind[Any]) -> None:
        while True:
            try:
                await self._watch(kind)
            except ApiError as error:
                if error.code == 410:
                    await self._catch_up(kind)
            await asyncio.sleep(RETRY)

    async def _watch(self, kind: _Kind[Any]) -> None:
        params = {"resourceVersion": str(kind.version)} | ({"labelSelector": kind.labels} if kind.labels else {})
        async for line in self._cluster.watch(kind.path, **params):
            event = msgspec.json.decode(line, type=_Event)
            if event.type == "BOOKMARK":
                kind.version = int(msgspec.json.decode(event.object, type=_Bookmark).metadata.resource_version)
            elif event.type == "ERROR":
                status = msgspec.json.decode(event.object, type=Status)
                raise ApiError(status.code, status.reason, status.message)
            else:
                self._note(kind, self._decode(kind, event.object, line), event.type == "DELETED")

    def _decode(self, kind: _Kind[T], data: msgspec.Raw, line: bytes) -> T | None:
        try:
            return msgspec.json.decode(data, type=kind.type)
        except msgspec.MsgspecError:
            kind.unreadable += 1
            if found := _VERSION.search(line):
                kind.version = int(found[1])
            return None

    def _note(self, kind: _Kind[T], item: T | None, removed: bool) -> None:
        if item is None:
            return
        version, uid = int(item.metadata.resource_version), item.metadata.uid
        kind.version = max(kind.version, version)
        kind.entries.append(Entry(version, item, removed, datetime.now(UTC)))
        if removed:
            kind.items.pop(uid, None)
        else:
            kind.items[uid] = item
        self.changed.set()

    # Where no watch tells

    async def _catch_up(self, kind: _Kind[Any]) -> None:
        """Read the state at every version since the last one, in order."""
        try:
            newest, _ = await self._list(kind)
            missed = range(kind.version + 1, newest + 1)
            if len(missed) > MOST_REVISIONS:
                self.gaps.append(f"{len(missed)} revisions of {kind.path} after {kind.version} are too many to read")
                missed = range(newest, newest + 1)
            for start in range(0, len(missed), AT_ONCE):
                some = missed[start : start + AT_ONCE]
                states = await asyncio.gather(*(self._list(kind, version) for version in some))
                for version, (_, items) in zip(some, states, strict=True):
                    self._difference(kind, version, items)
            self.catch_ups += 1
        except ApiError as error:
            if error.code == 410:
                self.gaps.append(f"revisions of {kind.path} after {kind.version} are compacted")
                version, items = await self._list(kind)
                self._difference(kind, version, items)

    def _difference(self, kind: _Kind[T], version: int, items: dict[str, T]) -> None:
        for uid, item in list(kind.items.items()):
            if uid not in items:
                gone = msgspec.structs.replace(item.metadata, resource_version=str(version))
                self._note(kind, msgspec.structs.replace(item, metadata=gone), True)
        for uid, item in items.items():
            known = kind.items.get(uid)
            if known is None or int(known.metadata.resource_version) < int(item.metadata.resource_version):
                self._note(kind, item, False)
        kind.version = max(kind.version, version)

    async def _list(self, kind: _Kind[T], version: int | None = None) -> tuple[int, dict[str, T]]:
        params = {"labelSelector": kind.labels} if kind.labels else {}
        if version is not None:
            params |= {"resourceVersion": str(version), "resourceVersionMatch": "Exact"}
        answer = await self._cluster.call("GET", kind.path, **params)
        page: _Page[T] = msgspec.json.decode(answer, type=_Page[kind.type])  # type: ignore[name-defined]
        return int(page.metadata.resource_version), {item.metadata.uid: item for item in page.items}


class _Page(msgspec.Struct, Generic[T]):
    metadata: _Meta
    items: list[T] = []
