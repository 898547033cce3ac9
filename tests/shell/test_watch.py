"""The Pod watch finds what its stream has lost, and doesn't list without pause (F11, F12)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from adze.core.pods import Pod
from adze.shell import watch as module
from adze.shell.watch import RESYNC, Watch


class Server:
    """Lists what it has, and ends every watch at once without a word. Time passes with each watch."""

    def __init__(self, seconds: float, rounds: int) -> None:
        self.seconds = seconds
        self.rounds = rounds
        self.now = 1000.0
        self.pods = ["a", "b"]
        self.lists = 0
        self.watched: list[dict[str, str]] = []
        self.done = asyncio.Event()

    async def call(self, method: str, path: str, **_: str) -> bytes:
        self.lists += 1
        items = [{"metadata": {"name": n, "namespace": "x", "uid": n, "resourceVersion": "7"}} for n in self.pods]
        return msgspec.json.encode({"metadata": {"resourceVersion": "9"}, "items": items})

    async def watch(self, path: str, **params: str) -> AsyncIterator[bytes]:
        self.watched.append(params)
        if len(self.watched) > self.rounds:
            self.done.set()
            await asyncio.Event().wait()
        self.pods = ["b"]  # gone, and the stream doesn't tell
        self.now += self.seconds
        return
        yield b""


async def watched(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the Pods that the watch has told of as gone, after the server's rounds."""
    gone: list[str] = []

    def changed(old: Pod | None, new: Pod | None) -> None:
        if old and new is None:
            gone.append(old.name)

    async def at_once(*_: Any) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(module, "jittered", at_once)
    identity = lambda pod: (pod.metadata.uid, pod.metadata.resource_version)  # noqa: E731
    subject = Watch(server, "/pods", "", Pod, identity, changed, clock=lambda: server.now)  # type: ignore[arg-type]
    task = asyncio.create_task(subject.run())
    async with asyncio.timeout(5):
        await server.done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return gone


async def test_what_the_stream_lost_is_found_by_the_next_list(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(seconds=RESYNC, rounds=1)
    assert await watched(server, monkeypatch) == ["a"]
    assert server.lists == 2


async def test_a_server_that_ends_watches_at_once_is_not_listed_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(seconds=1, rounds=20)
    assert await watched(server, monkeypatch) == []
    assert server.lists == 1
    assert {params["resourceVersion"] for params in server.watched} == {"9"}


async def test_a_watch_asks_for_its_own_end(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(seconds=1, rounds=1)
    await watched(server, monkeypatch)
    assert server.watched[0]["timeoutSeconds"] == str(RESYNC)
