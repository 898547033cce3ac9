"""The recorder misses nothing when a watch can't be resumed, or says that it may have."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from aiohttp import web

from adze.shell.cluster import Cluster, Credentials
from tests.chaos.checker import Word, check
from tests.chaos.recorder import Recorder
from tests.serving import served

RUNS = "/apis/adze.dev/v1alpha1/namespaces/ns/workflowruns"
Items = dict[str, int]


class Etcd:
    """Serves runs: their state after every revision, one watch, and after `restart` none of the revisions before."""

    def __init__(self) -> None:
        self.states: list[Items] = [{}]
        self.oldest = 0
        self.compacted = 0
        self.changed = asyncio.Event()

    def put(self, name: str) -> None:
        """A revision in which a run is created or changed."""
        self.states.append(self.states[-1] | {name: len(self.states)})
        self.changed.set()

    def remove(self, name: str) -> None:
        """A revision in which a run is removed."""
        self.states.append({other: version for other, version in self.states[-1].items() if other != name})
        self.changed.set()

    def restart(self) -> None:
        """The watch cache begins anew."""
        self.oldest = len(self.states) - 1
        self.changed.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path != RUNS:
            return web.json_response({"metadata": {"resourceVersion": "0"}, "items": []})
        version = int(request.query.get("resourceVersion") or len(self.states) - 1)
        if "watch" in request.query:
            return await self._watch(request, version)
        if version < self.compacted:
            return web.json_response({"code": 410, "reason": "Expired"}, status=410)
        items = [_run(name, at) for name, at in self.states[version].items()]
        return web.json_response({"metadata": {"resourceVersion": str(version)}, "items": items})

    async def _watch(self, request: web.Request, version: int) -> web.StreamResponse:
        if version < self.oldest:
            return web.json_response({"code": 410, "reason": "Expired"}, status=410)
        response = web.StreamResponse()
        await response.prepare(request)
        oldest = self.oldest
        while self.oldest == oldest:
            while version < len(self.states) - 1:
                version += 1
                for name, at in self.states[version].items():
                    if at == version:
                        await response.write(json.dumps({"type": "ADDED", "object": _run(name, at)}).encode() + b"\n")
            self.changed.clear()
            await self.changed.wait()
        return response


def _run(name: str, version: int) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {}}


@pytest_asyncio.fixture
async def etcd() -> AsyncIterator[tuple[Etcd, Recorder]]:
    etcd = Etcd()
    application = web.Application()
    application.router.add_get("/{path:.*}", etcd.handle)
    async with served(application) as address:
        cluster = Cluster(Credentials(server=address), agent="test/1")
        recorder = Recorder(cluster, "ns")
        await recorder.start()
        yield etcd, recorder
        await recorder.stop()
        await cluster.close()


async def _seen(recorder: Recorder, count: int) -> list[tuple[int, str, bool]]:
    async with asyncio.timeout(10):
        while recorder.revisions < count:
            recorder.changed.clear()
            await recorder.changed.wait()
    return [(entry.version, entry.item.metadata.name, entry.removed) for entry in recorder.history().entries]


async def test_a_watch_that_cannot_be_resumed_is_made_good_revision_by_revision(etcd: tuple[Etcd, Recorder]) -> None:
    server, recorder = etcd
    server.put("a")
    await _seen(recorder, 1)
    # Within one breath: nobody is told of these, and one of them is gone again.
    server.put("b")
    server.put("a")
    server.remove("b")
    server.put("c")
    server.restart()
    assert await _seen(recorder, 5) == [
        (1, "a", False),
        (2, "b", False),
        (3, "a", False),
        (4, "b", True),
        (5, "c", False),
    ]
    assert not recorder.gaps


async def test_what_is_compacted_is_a_gap(etcd: tuple[Etcd, Recorder]) -> None:
    server, recorder = etcd
    server.put("a")
    await _seen(recorder, 1)
    server.put("b")
    server.put("a")
    server.compacted = 3
    server.restart()
    await _seen(recorder, 3)
    assert recorder.gaps
    assert check(recorder.history(), ended=False).word is Word.INCONCLUSIVE
