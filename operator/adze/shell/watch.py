"""A list and watch of one resource: paged, label-selected, typed. It notices what vanished while it wasn't looking.

Rules of the API server that this keeps: a list without resourceVersion is consistent; a watch may end at any time; 410
means that the version is too old, so list again and compare, as deletions in between are never told.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
import structlog

from adze.shell.cluster import ApiError, Cluster, Status, jittered

log = structlog.get_logger()
T = TypeVar("T")

PAGE = "500"
RECONNECT = (0.2, 30.0)
"""First and longest pause before a watch is opened again."""
RESYNC = 240
"""Seconds after which a list is compared with what is known: whatever a watch has lost is found then (F12)."""


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] = []


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct):
    metadata: _ListMeta


class Watch(Generic[T]):
    """Calls `changed(old, new)` for every difference: old None is an appearance, new None a disappearance."""

    def __init__(
        self,
        cluster: Cluster,
        path: str,
        labels: str,
        kind: type[T],
        identity: Callable[[T], tuple[str, str]],
        changed: Callable[[T | None, T | None], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`identity` gives an object's UID and resourceVersion."""
        self._cluster = cluster
        self._path = path
        self._labels = labels
        self._kind = kind
        self._identity = identity
        self._changed = changed
        self._objects: dict[str, T] = {}
        self._version = ""
        self._clock = clock
        self._listed = 0.0
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """List and watch until cancelled."""
        failures = 0
        while True:
            try:
                if not self._version:
                    await self._list()
                    self.synced.set()
                await self._watch()
                failures = 0
                # Not at each end of a watch: a server that ends them at once must not be listed without pause.
                if self._clock() >= self._listed + RESYNC:
                    self._version = ""
            except ApiError as error:
                failures += 1
                if error.code == 410:
                    self._version = ""
                log.warning("watch interrupted", path=self._path, error=str(error), failures=failures)
            first, longest = RECONNECT
            await jittered(min(first * 2**failures, longest), hash(self._path) + failures)

    async def _list(self) -> None:
        found: dict[str, T] = {}
        params = {"labelSelector": self._labels, "limit": PAGE}
        while True:
            page = msgspec.json.decode(await self._cluster.call("GET", self._path, **params), type=_Page)
            items: list[T] = [msgspec.json.decode(item, type=self._kind) for item in page.items]
            found |= {self._identity(item)[0]: item for item in items}
            if not page.metadata.continue_:
                break
            params["continue"] = page.metadata.continue_
        self._listed = self._clock()
        before, self._objects = self._objects, found
        self._version = page.metadata.resource_version
        for uid, item in before.items():
            if uid not in found:
                self._changed(item, None)
        for uid, item in found.items():
            old = before.get(uid)
            if old is None or self._identity(old)[1] != self._identity(item)[1]:
                self._changed(old, item)

    async def _watch(self) -> None:
        decode_event = msgspec.json.Decoder(_Event).decode
        decode = msgspec.json.Decoder(self._kind).decode
        params = {"labelSelector": self._labels, "resourceVersion": self._version, "timeoutSeconds": str(RESYNC)}
        lines = self._cluster.watch(self._path, **params)
        async for line in lines:
            event = decode_event(line)
            if event.type == "BOOKMARK":
                self._version = msgspec.json.decode(event.object, type=_Bookmark).metadata.resource_version
            elif event.type == "ERROR":
                status = msgspec.json.decode(event.object, type=Status)
                raise ApiError(status.code, status.reason, status.message)
            else:
                self._apply(event.type, decode(event.object))

    def _apply(self, event: str, item: T) -> None:
        uid, self._version = self._identity(item)
        old = self._objects.get(uid)
        if event == "DELETED":
            self._objects.pop(uid, None)
            self._changed(old or item, None)
        else:
            self._objects[uid] = item
            self._changed(old, item)
