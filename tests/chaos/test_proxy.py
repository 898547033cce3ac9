"""The faulty proxy, before an API server that is made up here."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
from aiohttp import web

from adze.shell.cluster import MERGE, ApiError, Cluster, Credentials
from tests.chaos import faults
from tests.chaos.faults import Do, Fault, Request
from tests.chaos.proxy import Proxy, Trap
from tests.serving import served

RUN = "/apis/adze.dev/v1alpha1/namespaces/ns/workflowruns/r"
PODS = "/api/v1/namespaces/ns/pods"


class Upstream:
    """Counts what reaches it, and tells events to a watch."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.events: asyncio.Queue[bytes] = asyncio.Queue()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(f"{request.method} {request.path_qs}")
        if "watch" not in request.query:
            return web.json_response({"ok": True})
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while line := await self.events.get():
                await response.write(line + b"\n")
        return response


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[tuple[Upstream, str]]:
    upstream = Upstream()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", upstream.handle)
    async with served(application) as address:
        yield upstream, address
        upstream.events.put_nowait(b"")


@pytest_asyncio.fixture
async def proxy(upstream: tuple[Upstream, str]) -> AsyncIterator[Proxy]:
    async with Proxy(Credentials(server=upstream[1])) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def cluster(proxy: Proxy) -> AsyncIterator[Cluster]:
    cluster = Cluster(Credentials(server=f"http://127.0.0.1:{proxy.port}"), agent="test/1")
    yield cluster
    await cluster.close()


async def _patch(cluster: Cluster) -> int:
    """Write a run's status; the code of the failure, or 200."""
    try:
        await cluster.call("PATCH", f"{RUN}/status", {}, MERGE)
    except ApiError as error:
        return error.code
    return 200


async def test_everything_passes(upstream: tuple[Upstream, str], proxy: Proxy, cluster: Cluster) -> None:
    answer = await cluster.call("GET", PODS, labelSelector="a=b,c", limit="500")
    assert json.loads(answer) == {"ok": True}
    assert await _patch(cluster) == 200
    assert upstream[0].seen == [f"GET {PODS}?labelSelector=a%3Db,c&limit=500", f"PATCH {RUN}/status"]
    assert proxy.writes == ["PATCH workflowruns/status"]


async def test_the_nth_write_is_refused(proxy: Proxy, cluster: Cluster) -> None:
    proxy.faults = [faults.answer(429, faults.status_write, skip=1, times=1, retry_after=3)]
    await cluster.call("GET", RUN)
    assert [await _patch(cluster) for _ in range(3)] == [200, 429, 200]
    assert proxy.injected == {"429": 1}


@pytest.mark.parametrize(("do", "arrives"), [(Do.RESET_BEFORE, 0), (Do.RESET_AFTER, 1)])
async def test_a_broken_connection_before_or_after_the_commit(
    upstream: tuple[Upstream, str], proxy: Proxy, cluster: Cluster, do: Do, arrives: int
) -> None:
    proxy.faults = [Fault(faults.write, do, times=1)]
    assert await _patch(cluster) == 0
    assert len(upstream[0].seen) == arrives


async def test_a_stale_list_asks_for_an_old_version(
    upstream: tuple[Upstream, str], proxy: Proxy, cluster: Cluster
) -> None:
    proxy.faults = [Fault(lambda request: request.listing, Do.STALE, version="7")]
    await cluster.call("GET", PODS, labelSelector="adze.dev/run-uid")
    await cluster.call("GET", PODS, labelSelector="adze.dev/run-uid=u")  # a quorum LIST is never stale
    assert "resourceVersion=7&resourceVersionMatch=Exact" in upstream[0].seen[0]
    assert "resourceVersion" not in upstream[0].seen[1]


@pytest.mark.parametrize(("after", "arrives"), [(False, 1), (True, 2)])
async def test_a_trap_at_the_nth_write(
    upstream: tuple[Upstream, str], proxy: Proxy, cluster: Cluster, after: bool, arrives: int
) -> None:
    sprung: list[int] = []
    proxy.trap = Trap(2, after, lambda: sprung.append(len(upstream[0].seen)))
    assert [await _patch(cluster) for _ in range(3)] == [200, 0, 200]
    assert sprung == [arrives]
    assert proxy.trap.done.is_set()


async def test_watches_stall_lose_events_and_break(
    upstream: tuple[Upstream, str], proxy: Proxy, cluster: Cluster
) -> None:
    got: list[bytes] = []

    async def watch() -> None:
        async for line in cluster.watch(PODS):
            got.append(line)

    async def told(*lines: bytes) -> None:
        for line in lines:
            upstream[0].events.put_nowait(line)
        await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    await told(b"1")
    proxy.stall(True)
    await told(b"2", b"3")
    assert got == [b"1"]
    proxy.stall(False)
    await told(b"4")
    assert got == [b"1", b"2", b"3", b"4"]
    proxy.stall(True)
    await told(b"5")
    proxy.forget()
    proxy.stall(False)
    await told(b"6")
    assert got[4:] == [b"6"]
    proxy.cut()
    with suppress(ApiError):
        await asyncio.wait_for(watching, 5)
    assert watching.done()


async def test_one_event_is_dropped(upstream: tuple[Upstream, str], proxy: Proxy, cluster: Cluster) -> None:
    proxy.faults = [Fault(faults.watch_of("pods"), Do.DROP, times=1)]
    for line in (b'{"type":"BOOKMARK"}', b'{"type":"ADDED"}', b'{"type":"MODIFIED"}', b""):
        upstream[0].events.put_nowait(line)
    assert [line async for line in cluster.watch(PODS)] == [b'{"type":"BOOKMARK"}', b'{"type":"MODIFIED"}']


def test_what_a_request_is() -> None:
    def request(method: str, path: str, **query: str) -> Request:
        return Request(method, path, query)

    assert request("PATCH", f"{RUN}/status").kind == "workflowruns/status"
    assert request("POST", PODS).write and not request("POST", "/api/v1/namespaces/ns/events").write
    assert request("GET", PODS).listing and not request("GET", f"{PODS}/p").listing
    assert request("GET", PODS, watch="true").cache and not request("GET", PODS, watch="true").listing
