"""A list and watch of one resource: paged, label-selected, typed. It notices what vanished while it wasn't looking.

Rules of the API server that this keeps: a list without resourceVersion is consistent; a watch may end at any time; 410
means that the version is too old, so list again and compare, as deletions in between are never told. An object that
can't be decoded is logged and stays as it was last understood; it stops neither the list nor the watch.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
import structlog

from adze.core.backoff import growing
from adze.shell.cluster import ApiError, Cluster, Status, jittered

log = structlog.get_logger()
T = TypeVar("T")

PAGE = "500"
RECONNECT = (0.2, 30.0)
"""First and longest pause before a watch is opened again."""
MISSING = (0.2, 2.0)
"""The same while the API server doesn't know the kind: its CRD is applied at any moment."""
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


class _Metadata(msgspec.Struct, rename="camel"):
    uid: str = ""
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Bare(msgspec.Struct):
    """What any object has, also one whose rest is beyond us. Of a bookmark, it is all."""

    metadata: _Metadata


_bare = msgspec.json.Decoder(_Bare).decode


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
        """`labels` selects; "" takes all. `identity` gives an object's UID and resourceVersion."""
        self._cluster = cluster
        self._path = path
        self._selection = {"labelSelector": labels} if labels else {}
        self._kind = kind
        self._decode = msgspec.json.Decoder(kind).decode
        self._identity = identity
        self._changed = changed
        self._objects: dict[str, T] = {}
        self._version = ""
        self._clock = clock
        self._listed = 0.0
        self._failures = 0
        self._missing = False
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            pauses = RECONNECT
            try:
                if not self._version:
                    await self._list()
                    self.synced.set()
                await self._watch()
                self._failures = 0
                # Not at each end of a watch: a server that ends them at once must not be listed without pause.
                if self._clock() >= self._listed + RESYNC:
                    self._version = ""
            except (ApiError, msgspec.DecodeError) as error:
                self._failures += 1
                if not isinstance(error, ApiError) or error.code in (404, 410):
                    self._version = ""
                if isinstance(error, ApiError) and error.code == 404:
                    pauses = MISSING
                self._complain(error)
            await jittered(growing(pauses, self._failures), hash(self._path) + self._failures)

    def _complain(self, error: Exception) -> None:
        """Log what keeps the watch from going on; that the kind isn't there, only once."""
        missing = isinstance(error, ApiError) and error.code == 404
        if not missing:
            log.warning("watch interrupted", path=self._path, error=str(error), failures=self._failures)
        elif not self._missing:
            log.warning("waiting for the kind: is its CRD installed?", path=self._path, error=str(error))
        self._missing = missing

    async def _list(self) -> None:
        found: dict[str, T] = {}
        before = self._objects
        params = {**self._selection, "limit": PAGE}
        while True:
            page = msgspec.json.decode(await self._cluster.call("GET", self._path, **params), type=_Page)
            for raw in page.items:
                item = self._decoded(raw)
                if item is not None:
                    found[self._identity(item)[0]] = item
                elif (uid := _bare(raw).metadata.uid) in before:
                    found[uid] = before[uid]
            if not page.metadata.continue_:
                break
            params["continue"] = page.metadata.continue_
        self._listed = self._clock()
        self._missing = False
        self._objects = found
        self._version = page.metadata.resource_version
        for uid, item in before.items():
            if uid not in found:
                self._tell(item, None)
        for uid, item in found.items():
            old = before.get(uid)
            if old is None or self._identity(old)[1] != self._identity(item)[1]:
                self._tell(old, item)

    async def _watch(self) -> None:
        decode_event = msgspec.json.Decoder(_Event).decode
        params = {**self._selection, "resourceVersion": self._version, "timeoutSeconds": str(RESYNC)}
        lines = self._cluster.watch(self._path, **params)
        async for line in lines:
            event = decode_event(line)
            if event.type == "ERROR":
                status = msgspec.json.decode(event.object, type=Status)
                raise ApiError(status.code, status.reason, status.message)
            self._failures = 0
            if event.type == "BOOKMARK":
                self._version = _bare(event.object).metadata.resource_version
            else:
                self._apply(event)

    def _apply(self, event: _Event) -> None:
        item = self._decoded(event.object)
        if item is not None:
            uid, self._version = self._identity(item)
        else:
            metadata = _bare(event.object).metadata
            uid, self._version = metadata.uid, metadata.resource_version
        old = self._objects.get(uid)
        if event.type == "DELETED":
            self._objects.pop(uid, None)
            if old is not None or item is not None:
                self._tell(old or item, None)
        elif item is not None:
            self._objects[uid] = item
            self._tell(old, item)

    def _decoded(self, raw: msgspec.Raw) -> T | None:
        """The object, or None if it isn't one: a broken object must not stop the others."""
        try:
            return self._decode(raw)
        except (msgspec.ValidationError, RecursionError) as error:
            metadata = _bare(raw).metadata
            where = f"{metadata.namespace}/{metadata.name}"
            log.error("an object breaks its schema", kind=self._kind.__name__, object=where, error=str(error))
            return None

    def _tell(self, old: T | None, new: T | None) -> None:
        try:
            self._changed(old, new)
        except Exception:
            log.exception("a change was not taken in", path=self._path)
