"""Events are processed once, whatever fails between the calls (design, section 4.8)."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from adze.core.events import Sight
from adze.shell import events as module
from adze.shell.events import Events
from tests.builders import NOW
from tests.shell.fake_cluster import FakeCluster, Object, error


class World:
    """A cluster with a Workflow that waits for everything, and replicas that process its events."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.now = NOW
        self.allowed = True
        self.cluster.add("workflows", "shop", "welcome", spec={"on": {"events": [{"name": "*"}]}})
        self.tasks: list[asyncio.Task[None]] = []

    def event(self, name: str, namespace: str = "shop", **spec: Any) -> Object:
        identity = {"source": "/shop", "id": name, "type": "user:created", "ttl": "1h", **spec}
        return self.cluster.add("workflowevents", namespace, name, spec=identity)

    def replica(self) -> Events:
        """A fresh process that has listed the events, and works."""
        replica = Events(self.cluster, "me", lambda: self.allowed, lambda: self.now)  # type: ignore[arg-type]
        self.cluster.changed = lambda item: replica.see(None, msgspec.convert(item, Sight))
        for item in self.cluster.of("workflowevents"):
            replica.see(None, msgspec.convert(item, Sight))
        self.tasks.append(asyncio.create_task(replica.run()))
        return replica

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; AssertionError shows the calls."""
        try:
            async with asyncio.timeout(5):
                while not holds():  # noqa: ASYNC110
                    await asyncio.sleep(0)
        except TimeoutError:
            raise AssertionError(self.cluster.calls[-20:]) from None

    async def processed(self, *names: str) -> list[Object]:
        """The statuses of these events, once processed."""
        found = [self.cluster.objects["workflowevents", "shop", name] for name in names]
        await self.until(lambda: all("processedTime" in item.get("status", {}) for item in found))
        return [item["status"] for item in found]

    async def kill(self) -> None:
        """End the replicas where they stand."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(module, "RETRY", (0.001, 0.01))
    world = World()
    yield world
    await world.kill()


def reason(status: Object) -> str:
    (condition,) = status["conditions"]
    found: str = condition["reason"]
    return found


async def test_an_event_starts_its_run_and_says_so(world: World) -> None:
    world.event("a")
    world.replica()
    (status,) = await world.processed("a")
    assert reason(status) == "RunsStarted"
    (run,) = world.cluster.of("workflowruns")
    assert list(status["runs"]) == [{"workflow": "welcome", "name": run["metadata"]["name"]}]


async def test_an_operator_killed_between_run_and_status_starts_no_second_run(world: World) -> None:
    world.event("a")
    died = asyncio.Event()

    def die(method: str, path: str) -> None:
        if method == "POST" and path.endswith("workflowruns"):
            died.set()
            raise asyncio.CancelledError

    world.cluster.after = die
    world.replica()
    await asyncio.wait_for(died.wait(), 5)
    await world.kill()
    assert "status" not in world.cluster.objects["workflowevents", "shop", "a"]
    world.cluster.after = lambda method, path: None
    world.replica()
    (status,) = await world.processed("a")
    assert (reason(status), status["started"]) == ("RunsStarted", 1)
    assert len(world.cluster.of("workflowruns")) == 1


def origins(world: World) -> list[tuple[str, str]]:
    """Workflow and event of each run that was ever created."""
    metadata = [(run["spec"]["workflow"], run["metadata"]["annotations"]) for run in world.cluster.of("workflowruns")]
    return sorted((workflow, annotations["adze.dev/event-id"]) for workflow, annotations in metadata)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_crash_at_any_call_changes_nothing(world: World, moment: str) -> None:
    events = ("a", "b", "c")
    world.cluster.add("workflows", "shop", "audit", spec={"on": {"events": [{"name": "user:*"}]}})
    wanted = sorted((workflow, event) for workflow in ("welcome", "audit") for event in events)
    crashes = 0
    while True:
        for event in events:
            world.event(event)
        died, left = asyncio.Event(), crashes

        def crash(method: str, path: str, died: asyncio.Event = died) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                died.set()
                raise asyncio.CancelledError

        setattr(world.cluster, moment, crash)
        world.replica()
        # The last round is one without a crash.
        await world.until(lambda died=died: died.is_set() or len(done(world)) == len(events))  # type: ignore[misc]
        await world.kill()
        setattr(world.cluster, moment, lambda method, path: None)
        world.replica()
        await world.processed(*events)
        assert origins(world) == wanted, f"after a crash {moment} call {crashes}"
        await world.kill()
        if not died.is_set():
            break
        crashes += 1
        for kind in ("workflowevents", "workflowruns"):
            world.cluster.objects = {key: item for key, item in world.cluster.objects.items() if key[0] != kind}
    assert crashes >= 13, "a list, and for each event a GET, two POSTs and a PATCH"


def done(world: World) -> list[Object]:
    """The events that are processed."""
    return [item for item in world.cluster.of("workflowevents") if "processedTime" in item.get("status", {})]


async def test_a_burst_with_crashes_starts_each_run_once(world: World) -> None:
    chance, count = random.Random(7), 1000
    for number in range(count):
        world.event(f"e-{number}")
    crashes = 0
    while len(done(world)) < count:
        died, calls = asyncio.Event(), chance.randrange(1, 400)

        def crash(method: str, path: str, died: asyncio.Event = died) -> None:
            nonlocal calls
            calls -= 1
            if calls < 0:
                died.set()
                raise asyncio.CancelledError

        setattr(world.cluster, chance.choice(("before", "after")), crash)
        world.replica()
        await world.until(lambda died=died: died.is_set() or len(done(world)) == count)  # type: ignore[misc]
        await world.kill()
        world.cluster.before = world.cluster.after = lambda method, path: None
        crashes += 1
    assert crashes > 10
    assert origins(world) == sorted(("welcome", f"e-{number}") for number in range(count))


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("verb", ["GET", "POST", "PATCH"])
async def test_a_call_without_an_answer_is_made_again(world: World, moment: str, verb: str) -> None:
    world.event("a")
    failed: set[str] = set()

    def fail(method: str, path: str) -> None:
        if method == verb and path not in failed:
            failed.add(path)
            raise error(0, "Unreachable")

    setattr(world.cluster, moment, fail)
    world.replica()
    await world.processed("a")
    assert failed
    assert len(world.cluster.of("workflowruns")) == 1


async def test_an_event_that_cannot_start_its_run_yet_waits_and_says_why(world: World) -> None:
    world.event("a")
    full = True

    def quota(method: str, path: str) -> None:
        if full and method == "POST" and path.endswith("workflowruns"):
            raise error(403, "Forbidden", "exceeded quota: runs")

    world.cluster.before = quota
    world.replica()
    item = world.cluster.objects["workflowevents", "shop", "a"]
    await world.until(lambda: "status" in item)
    assert reason(item["status"]) == "Waiting"
    assert "exceeded quota" in item["status"]["conditions"][0]["message"]
    full = False
    (status,) = await world.processed("a")
    assert reason(status) == "RunsStarted"


async def test_a_run_that_is_refused_for_good_is_told_of(world: World) -> None:
    world.event("a")

    def refuse(method: str, path: str) -> None:
        if method == "POST" and path.endswith("workflowruns"):
            raise error(422, "Invalid", "spec.input: too long")

    world.cluster.before = refuse
    world.replica()
    (status,) = await world.processed("a")
    assert reason(status) == "RunRefused"
    await world.until(lambda: bool(world.cluster.of("events")))
    (told,) = world.cluster.of("events")
    assert told["involvedObject"]["kind"] == "Workflow"


async def test_twins_give_one_run(world: World) -> None:
    for name in ("a", "b", "c"):
        world.event(name, id="42")
    world.replica()
    statuses = await world.processed("a", "b", "c")
    assert sorted(map(reason, statuses)) == ["Duplicate", "Duplicate", "RunsStarted"]
    assert len(world.cluster.of("workflowruns")) == 1


async def test_a_twin_gives_none_when_the_run_is_gone(world: World) -> None:
    world.event("a", id="42")
    replica = world.replica()
    await world.processed("a")
    world.cluster.objects = {key: item for key, item in world.cluster.objects.items() if key[0] != "workflowruns"}
    replica.see(None, msgspec.convert(world.event("b", id="42"), Sight))
    (status,) = await world.processed("b")
    assert reason(status) == "Duplicate"
    assert world.cluster.of("workflowruns") == []


async def test_two_replicas_at_once_give_one_run_an_event(world: World) -> None:
    for number in range(50):
        world.event(f"e-{number}")
    world.replica()
    world.replica()
    await world.processed(*(f"e-{number}" for number in range(50)))
    assert len(world.cluster.of("workflowruns")) == 50


async def test_a_replica_that_comes_too_late_takes_nothing_back(world: World) -> None:
    item = world.event("a")
    done = {"processedTime": "2026-03-01T12:00:00Z", "conditions": [{"reason": "RunsStarted"}]}

    def overtaken(method: str, path: str) -> None:
        if method == "POST" and path.endswith("workflowruns"):
            item["status"] = done
            world.cluster.version += 1
            item["metadata"]["resourceVersion"] = str(world.cluster.version)
            raise error(403, "Forbidden", "exceeded quota: runs")

    world.cluster.before = overtaken
    world.replica()
    await world.until(lambda: any(method == "PATCH" for method, _ in world.cluster.calls))
    await world.kill()
    assert item["status"] == done


async def test_one_namespace_that_cannot_be_listed_does_not_stop_another(world: World) -> None:
    world.event("a")
    world.event("b", namespace="closed")

    def closed(method: str, path: str) -> None:
        if "namespaces/closed/workflows" in path and method == "GET":
            raise error(403, "Forbidden", "no")

    world.cluster.before = closed
    world.replica()
    await world.processed("a")
    other = world.cluster.objects["workflowevents", "closed", "b"]
    await world.until(lambda: "status" in other)
    assert reason(other["status"]) == "Waiting"


async def test_a_workflow_that_cannot_be_read_does_not_stop_another(world: World) -> None:
    world.cluster.add("workflows", "shop", "broken", spec={"on": 7})
    world.event("a")
    world.replica()
    (status,) = await world.processed("a")
    assert reason(status) == "RunsStarted"


async def test_a_replica_that_may_not_work_starts_nothing(world: World) -> None:
    world.allowed = False
    world.event("a")
    replica = world.replica()
    await world.until(lambda: "shop" in replica._pending and not replica._pending["shop"])
    assert world.cluster.of("workflowruns") == []
    assert world.cluster.calls == []


async def test_events_share_one_list_of_workflows(world: World) -> None:
    for number in range(60):
        world.event(f"e-{number}")
    world.replica()
    await world.processed(*(f"e-{number}" for number in range(60)))
    assert sum(path.endswith("/workflows") for _, path in world.cluster.calls) == 1


async def test_a_burst_tells_a_workflow_of_its_broken_filter_once(world: World) -> None:
    world.cluster.add("workflows", "shop", "bad", spec={"on": {"events": [{"name": "*", "filter": "event.data.x"}]}})
    for number in range(60):
        world.event(f"e-{number}")
    world.replica()
    await world.processed(*(f"e-{number}" for number in range(60)))
    await world.until(lambda: bool(world.cluster.of("events")))
    assert len(world.cluster.of("events")) == 1


async def test_a_processed_event_is_deleted_after_its_ttl_and_not_before(world: World) -> None:
    world.event("young", ttl="1h")
    world.event("old", ttl="30m")
    world.now = NOW + timedelta(minutes=31)
    world.replica()
    await world.until(lambda: [item["metadata"]["name"] for item in world.cluster.of("workflowevents")] == ["young"])
    assert len(world.cluster.of("workflowruns")) == 2, "an event that was old before it could be processed still counts"
