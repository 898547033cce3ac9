"""The worker of schedules: it starts ticks at their time, follows the clock, and no workflow stops another."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from adze.core import calls
from adze.core.model import Metadata, Run, Workflow
from adze.core.policy import Policy
from adze.shell import schedules
from adze.shell.engine import Engine
from adze.shell.schedules import Schedules
from tests.builders import step, workflow

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATIENCE = 20.0


class Clock:
    """A wall clock that runs like the loop's, and can be set."""

    def __init__(self) -> None:
        self.ahead = NOON - timedelta(milliseconds=50) - datetime.fromtimestamp(0, UTC)
        self.started: float | None = None

    def __call__(self) -> datetime:
        loop = asyncio.get_running_loop().time()
        self.started = self.started or loop
        return datetime.fromtimestamp(0, UTC) + self.ahead + timedelta(seconds=loop - self.started)


class Server:
    """An API server of Workflows and runs, as far as schedules need one."""

    def __init__(self) -> None:
        self.workflows: dict[str, Workflow] = {}
        self.runs: dict[str, Run] = {}
        self.heard: list[calls.Call] = []
        self.changed = asyncio.Event()
        self.broken: set[str] = set()
        self._version = 1

    def stamp(self) -> str:
        self._version += 1
        return str(self._version)

    def put(self, name: str, schedule: str, **fields: Any) -> Workflow:
        """A user applies a Workflow."""
        spec = workflow(step("a"), on={"cron": [{"schedule": schedule, **fields}]})
        metadata = Metadata(name=name, namespace="shop", uid=name, resource_version=self.stamp(), generation=1)
        self.workflows[name] = Workflow(metadata=metadata, spec=spec)
        return self.workflows[name]

    async def do(self, call: calls.Call) -> Any:
        self.heard.append(call)
        self.changed.set()
        if isinstance(call, calls.CreateRun):
            return self._create(call)
        if isinstance(call, calls.ReadWorkflow):
            return self.workflows[call.name]
        assert isinstance(call, calls.WriteWorkflow)
        name = call.workflow.metadata.name
        if name in self.broken:
            raise RuntimeError("a bug")
        metadata = msgspec.structs.replace(call.workflow.metadata, resource_version=self.stamp())
        self.workflows[name] = msgspec.structs.replace(call.workflow, metadata=metadata, status=call.status)
        return self.workflows[name]

    def _create(self, call: calls.CreateRun) -> Run:
        run = msgspec.convert(call.manifest, Run)
        metadata = msgspec.structs.replace(run.metadata, uid=run.metadata.name, resource_version=self.stamp())
        self.runs[run.metadata.name] = msgspec.structs.replace(run, metadata=metadata)
        return self.runs[run.metadata.name]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something is the case, looking whenever a call comes."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not holds():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            pytest.fail(f"not within {PATIENCE} s; calls: {self.heard}")


class Told(Engine):
    """An engine that only notes which runs it is to look at."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, Policy())  # type: ignore[arg-type]
        self.told: list[str] = []
        self._server = server

    def look(self, uid: str) -> None:
        self.told.append(uid)
        self._server.changed.set()


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def engine(server: Server) -> Told:
    return Told(server)


@pytest.fixture
async def subject(server: Server, clock: Clock, engine: Told) -> AsyncIterator[Schedules]:
    made = Schedules(server, engine, clock=clock)  # type: ignore[arg-type]
    yield made
    await made.stop()


async def test_a_tick_is_started_at_its_time_and_then_the_engine_is_told(
    server: Server, engine: Told, subject: Schedules
) -> None:
    subject.start()
    subject.see_workflow(server.put("w", "0 12 * * *"))
    await server.until(lambda: bool(engine.told))
    (name,) = server.runs
    assert name.startswith("w-20260301-120000-")
    assert set(engine.told) == {name}
    kinds = [type(call).__name__ for call in server.heard]
    assert kinds == ["WriteWorkflow", "CreateRun", "WriteWorkflow"], "the first sight, the run, its record"


async def test_a_replica_that_waits_starts_nothing_until_it_leads(server: Server, subject: Schedules) -> None:
    subject.see_workflow(server.put("w", "* * * * * *"))
    await asyncio.sleep(0)
    assert server.heard == []
    subject.start()
    await server.until(lambda: bool(server.runs))


async def test_what_comes_back_of_its_own_writes_is_no_news(server: Server, subject: Schedules) -> None:
    subject.start()
    subject.see_workflow(server.put("w", "0 13 * * *"))
    await server.until(lambda: bool(server.workflows["w"].status.cron))
    subject.see_workflow(server.workflows["w"])
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(server.heard) == 1


async def test_a_clock_that_jumps_is_noticed(
    server: Server, clock: Clock, subject: Schedules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "CLOCK_CHECK", 0.01)
    subject.start()
    subject.see_workflow(server.put("w", "0 13 * * *"))
    await server.until(lambda: bool(server.workflows["w"].status.cron))
    clock.ahead += timedelta(hours=1)
    await server.until(lambda: bool(server.runs))


async def test_a_broken_workflow_stops_no_other(server: Server, subject: Schedules) -> None:
    server.broken.add("bad")
    subject.start()
    subject.see_workflow(server.put("bad", "* * * * * *"))
    subject.see_workflow(server.put("good", "* * * * * *"))
    await server.until(lambda: bool(server.runs))
    assert all(name.startswith("good-") for name in server.runs)


async def test_the_late_news_of_a_deletion_ends_no_newer_workflow(server: Server, subject: Schedules) -> None:
    subject.start()
    subject.see_workflow(server.put("w", "* * * * * *"))
    subject.lose_workflow(("shop", "w"), "the UID of one before")
    await server.until(lambda: bool(server.runs))


async def test_a_deleted_workflow_starts_nothing_more(server: Server, clock: Clock, subject: Schedules) -> None:
    subject.start()
    subject.see_workflow(server.put("w", "* * * * * *"))
    await server.until(lambda: bool(server.runs))
    subject.lose_workflow(("shop", "w"))
    heard = len(server.heard)
    other = server.put("other", "* * * * * *")
    subject.see_workflow(other)
    await server.until(lambda: any(name.startswith("other-") for name in server.runs))
    assert all(
        call.manifest["spec"]["workflow"] == "other"
        for call in server.heard[heard:]
        if isinstance(call, calls.CreateRun)
    )
