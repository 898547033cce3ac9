"""The watch finds what its stream has lost, doesn't list without pause, waits for its kind, skips broken objects."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from adze.core.model import Run
from adze.shell import watch as module
from adze.shell.cluster import ApiError
from adze.shell.watch import RESYNC, Watch

BROKEN = {"spec": 7}


def run(name: str, version: int = 7, **fields: Any) -> dict[str, Any]:
    """A run as the API server sends it."""
    metadata = {"name": name, "namespace": "x", "uid": name, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"workflow": "w"}, **fields}


class Server:
    """Lists `items`, and plays one script of events a watch, then ends it; after the last it hangs.

    The first `missing` lists are answered 404. Each watch takes `seconds`. A function in a script is called.
    """

    def __init__(self, *items: dict[str, Any], scripts: list[list[Any]], seconds: float = 1, missing: int = 0) -> None:
        self.items = list(items)
        self.scripts = scripts
        self.seconds = seconds
        self.missing = missing
        self.now = 1000.0
        self.lists: list[dict[str, str]] = []
        self.watched: list[dict[str, str]] = []
        self.pauses: list[float] = []
        self.done = asyncio.Event()

    async def call(self, method: str, path: str, **params: str) -> bytes:
        self.lists.append(params)
        if len(self.lists) <= self.missing:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return msgspec.json.encode({"metadata": {"resourceVersion": "9"}, "items": self.items})

    async def watch(self, path: str, **params: str) -> AsyncIterator[bytes]:
        self.watched.append(params)
        self.now += self.seconds
        if len(self.watched) > len(self.scripts):
            self.done.set()
            await asyncio.Event().wait()
        for event in self.scripts[len(self.watched) - 1]:
            if callable(event):
                event()
            elif isinstance(event, bytes):
                yield event
            else:
                yield msgspec.json.encode({"type": event[0], "object": event[1]})


async def watched(server: Server, monkeypatch: pytest.MonkeyPatch, labels: str = "") -> list[str]:
    """What the watch has told, as `+name version` and `-name`, once the scripts are played."""
    told: list[str] = []

    def changed(old: Run | None, new: Run | None) -> None:
        item = new or old
        assert item is not None
        told.append(f"+{item.metadata.name} {item.metadata.resource_version}" if new else f"-{item.metadata.name}")
        if item.metadata.name == "unbearable":
            raise ValueError(item.metadata.name)

    async def at_once(seconds: float, _: int) -> None:
        server.pauses.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(module, "jittered", at_once)
    identity = lambda item: (item.metadata.uid, item.metadata.resource_version)  # noqa: E731
    subject = Watch(server, "/runs", labels, Run, identity, changed, clock=lambda: server.now)  # type: ignore[arg-type]
    task = asyncio.create_task(subject.run())
    async with asyncio.timeout(5):
        await server.done.wait()
    assert subject.synced.is_set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return told


async def test_what_the_stream_lost_is_found_by_the_next_list(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(run("a"), run("b"), seconds=RESYNC, scripts=[[lambda: server.items.pop(0)]])
    assert await watched(server, monkeypatch) == ["+a 7", "+b 7", "-a"]
    assert len(server.lists) == 2


async def test_a_server_that_ends_watches_at_once_is_not_listed_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(run("a"), scripts=[[]] * 20)
    assert await watched(server, monkeypatch) == ["+a 7"]
    assert len(server.lists) == 1
    assert {params["resourceVersion"] for params in server.watched} == {"9"}


async def test_a_watch_asks_for_its_own_end_and_for_its_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    for labels in ("", "a=b"):
        server = Server(run("a"), scripts=[])
        await watched(server, monkeypatch, labels)
        assert server.watched[0]["timeoutSeconds"] == str(RESYNC)
        for params in (server.watched[0], server.lists[0]):
            assert params.get("labelSelector", "") == labels


async def test_a_broken_object_hides_no_other_in_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(run("a"), run("b", **BROKEN), run("c"), scripts=[])
    with capture_logs() as logs:
        assert await watched(server, monkeypatch) == ["+a 7", "+c 7"]
    assert [entry["object"] for entry in logs] == ["x/b"]


async def test_a_broken_object_stops_no_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [("ADDED", run("b", 10, **BROKEN)), ("ADDED", run("c", 11)), ("DELETED", run("b", 12, **BROKEN))]
    server = Server(run("a"), scripts=[events])
    assert await watched(server, monkeypatch) == ["+a 7", "+c 11"]
    assert server.watched[1]["resourceVersion"] == "12"
    assert len(server.lists) == 1


async def test_an_object_that_breaks_later_is_kept_as_it_was_until_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = run("a", 10, **BROKEN)
    listing = [("MODIFIED", broken), lambda: server.items.__setitem__(0, broken)]
    server = Server(run("a"), seconds=RESYNC, scripts=[listing, [("DELETED", run("a", 11, **BROKEN))]])
    assert await watched(server, monkeypatch) == ["+a 7", "-a"]
    assert len(server.lists) == 3


async def test_a_change_that_its_receiver_fails_at_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(run("unbearable"), run("a"), scripts=[[("ADDED", run("b", 10))]])
    assert await watched(server, monkeypatch) == ["+unbearable 7", "+a 7", "+b 10"]


async def test_a_line_that_is_no_event_leads_to_a_new_list(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(run("a"), scripts=[[b"<html>"]])
    assert await watched(server, monkeypatch) == ["+a 7"]
    assert len(server.lists) == 2


async def test_a_kind_that_is_not_installed_is_asked_for_until_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(run("a"), missing=1200, scripts=[])
    with capture_logs() as logs:
        assert await watched(server, monkeypatch) == ["+a 7"]
    assert max(server.pauses) <= 2
    assert [entry["event"] for entry in logs] == ["waiting for the kind: is its CRD installed?"]


async def test_a_version_that_is_too_old_leads_to_a_new_list(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = [lambda: server.items.pop(0), ("ERROR", {"code": 410, "reason": "Expired", "message": "too old"})]
    server = Server(run("a"), run("b"), scripts=[gone])
    assert await watched(server, monkeypatch) == ["+a 7", "+b 7", "-a"]
    assert len(server.lists) == 2


async def test_pauses_grow_only_while_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[Any] = [b"<html>"]
    server = Server(run("a"), scripts=[cut, cut, [("ADDED", run("b", 10)), b"<html>"]])
    await watched(server, monkeypatch)
    assert server.pauses == pytest.approx([0.4, 0.8, 0.4])
