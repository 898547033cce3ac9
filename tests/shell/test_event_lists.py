"""Runs that wait for events share LISTs, and none is told what was before it asked."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from adze.core.draft import Awaited
from adze.shell.cluster import ApiError, Cluster
from adze.shell.event_lists import EventLists
from tests.shell.fake_cluster import FakeCluster, error

EARLY, LATE = datetime(2026, 3, 1, 11, tzinfo=UTC), datetime(2026, 3, 1, 13, tzinfo=UTC)
PAID = (Awaited("order:paid", EARLY),)


class Slow(FakeCluster):
    """It reads at once and answers when it's told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answering = asyncio.Semaphore(0)

    async def call(
        self, method: str, path: str, body: Any = None, kind: str = "application/json", **query: str
    ) -> bytes:
        answer = await super().call(method, path, body, kind, **query)
        await self.answering.acquire()
        return answer

    def event(self, name: str, kind: str = "order:paid", namespace: str = "shop") -> None:
        self.add("workflowevents", namespace, name, spec={"source": "/s", "id": name, "type": kind})


def play(scene: Callable[[Slow, EventLists], Awaitable[None]]) -> None:
    async def run() -> None:
        cluster = Slow()
        await asyncio.wait_for(scene(cluster, EventLists(cast(Cluster, cluster))), 5)

    asyncio.run(run())


async def asked(lists: EventLists, *awaits: Awaited, namespace: str = "shop") -> "asyncio.Task[list[str]]":
    """A run asks; what it's told comes later."""

    async def ask() -> list[str]:
        return [event.metadata.name for event in await lists.those(namespace, awaits or PAID)]

    task = asyncio.create_task(ask())
    for _ in range(4):
        await asyncio.sleep(0)
    return task


def test_those_who_ask_during_a_list_share_the_next_which_shows_what_came_before_they_asked() -> None:
    async def scene(cluster: Slow, lists: EventLists) -> None:
        first = await asked(lists)
        cluster.event("one")
        others = [await asked(lists) for _ in range(9)]
        cluster.answering.release()
        assert await first == []
        cluster.answering.release()
        assert await asyncio.gather(*others) == [["one"]] * 9
        assert len(cluster.calls) == 2

    play(scene)


def test_each_is_told_of_what_it_waits_for() -> None:
    async def scene(cluster: Slow, lists: EventLists) -> None:
        first = await asked(lists)
        cluster.event("paid")
        cluster.event("lost", "order:lost")
        cluster.event("user", "user:created")
        wanted = [(Awaited("order:*", EARLY),), (Awaited("order:lost", LATE),), (Awaited("order:lost", EARLY), *PAID)]
        others = [await asked(lists, *awaits) for awaits in wanted]
        cluster.answering.release()
        cluster.answering.release()
        assert await first == []
        assert await asyncio.gather(*others) == [["paid", "lost"], [], ["paid", "lost"]]

    play(scene)


def test_namespaces_wait_for_their_own_lists_only() -> None:
    async def scene(cluster: Slow, lists: EventLists) -> None:
        cluster.event("here")
        cluster.event("there", namespace="other")
        both = [await asked(lists), await asked(lists, namespace="other")]
        assert len(cluster.calls) == 2
        cluster.answering.release()
        cluster.answering.release()
        assert await asyncio.gather(*both) == [["here"], ["there"]]

    play(scene)


def test_a_failed_list_fails_those_who_share_it_and_nobody_else() -> None:
    async def scene(cluster: Slow, lists: EventLists) -> None:
        def away(method: str, path: str) -> None:
            if len(cluster.calls) == 2:
                raise error(503, "ServiceUnavailable")

        cluster.before = away
        cluster.event("one")
        first = await asked(lists)
        second, third = await asked(lists), await asked(lists)
        for _ in range(3):
            cluster.answering.release()
        assert await first == ["one"]
        for failed in (second, third):
            with pytest.raises(ApiError):
                await failed
        assert await (await asked(lists)) == ["one"]

    play(scene)


def test_one_that_stops_waiting_takes_nothing_from_the_others() -> None:
    async def scene(cluster: Slow, lists: EventLists) -> None:
        cluster.event("one")
        first, second = await asked(lists), await asked(lists)
        third = await asked(lists)
        for gone in (first, second):
            gone.cancel()
        cluster.answering.release()
        cluster.answering.release()
        assert await third == ["one"]

    play(scene)
