"""The operator begins to work, and is ready, only once it knows all runs and all Pods."""

import asyncio
from typing import Any

import pytest

from adze.core.model import Metadata, Run, RunSpec
from adze.shell import main
from adze.shell.settings import load


class Engine:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.told: list[Any] = []

    def start(self) -> None:
        self.started.set()

    def see_run(self, run: Run) -> None:
        self.told.append(run)

    def lose_run(self, uid: str) -> None:
        self.told.append(uid)


class Events:
    async def run(self) -> None:
        await asyncio.Event().wait()


class Watch:
    def __init__(self) -> None:
        self.synced = asyncio.Event()


class Schedules:
    def __init__(self) -> None:
        self.started = False

    def start(self) -> None:
        self.started = True


async def rest(*_: Any) -> None:
    """What else works in the background, at rest."""
    await asyncio.Event().wait()


def operator() -> tuple[main.Operator, Engine]:
    subject = main.Operator(load({}))
    engine = Engine()
    subject.engine = engine  # type: ignore[assignment]
    subject.schedules = Schedules()  # type: ignore[assignment]
    subject.cluster = object()  # type: ignore[assignment]
    subject.events = Events()  # type: ignore[assignment]
    return subject, engine


async def test_work_begins_when_every_watch_is_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "sweep", rest)
    subject, engine = operator()
    watches = [Watch(), Watch(), Watch()]
    subject.watches = watches  # type: ignore[assignment]
    work = asyncio.create_task(subject._work())
    for watch in watches:
        for _ in range(5):
            await asyncio.sleep(0)
        assert not engine.started.is_set()
        assert not subject.ready()
        watch.synced.set()
    async with asyncio.timeout(5):
        await engine.started.wait()
    assert subject.ready()
    assert subject.schedules is not None
    assert subject.schedules.started  # type: ignore[attr-defined]
    for task in subject.tasks:
        task.cancel()
    work.cancel()
    await asyncio.gather(work, *subject.tasks, return_exceptions=True)


async def test_a_run_that_vanished_is_lost() -> None:
    subject, engine = operator()
    run = Run(metadata=Metadata(name="r", namespace="x", uid="u", resource_version="1"), spec=RunSpec(workflow="w"))
    subject._see_run(None, run)
    subject._see_run(run, None)
    assert engine.told == [run, "u"]
