"""An event's record, and a run that repeats another, survive whatever interrupts them."""

from collections.abc import AsyncIterator

import pytest

from adze.core.model import Phase, RerunOf, RunSpec
from adze.shell import events as module
from tests.builders import step
from tests.peers.scene import Scene
from tests.shell.fake_cluster import error
from tests.shell.test_events import World


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(module, "RETRY", (0.001, 0.01))
    world = World()
    yield world
    await world.kill()


@pytest.mark.parametrize("lost", ["POST", "PATCH"])
async def test_an_event_records_each_of_its_runs_once(world: World, lost: str) -> None:
    """Hatchet #4758: an event that was processed again left two records of one run."""
    unanswered: list[str] = []

    def no_answer(method: str, path: str) -> None:
        if method == lost and path not in unanswered:
            unanswered.append(path)
            raise error(0, "Unreachable")

    world.event("a")
    world.cluster.after = no_answer
    world.replica()
    world.replica()
    (status,) = await world.processed("a")
    assert unanswered
    (run,) = world.cluster.of("workflowruns")
    assert (status["started"], list(status["runs"])) == (1, [{"workflow": "welcome", "name": run["metadata"]["name"]}])


def failed_run() -> Scene:
    """A run of which the first step has succeeded and the second has failed."""
    scene = Scene()
    scene.submit("r", step("a"), step("b", parents=["a"]))
    scene.work()
    scene.go_on(3)
    scene.work()
    scene.api.delete_pod(next(pod.metadata.uid for pod in scene.api.pods.values() if not pod.ended))
    scene.finish()
    assert [status.phase for status in scene.run().status.steps] == [Phase.SUCCEEDED, Phase.FAILED]
    return scene


@pytest.mark.parametrize("moment", range(7))
def test_a_rerun_loses_no_status_whenever_it_is_interrupted(moment: int) -> None:
    """Hatchet #4165: a replayed task lost the status that it had."""
    scene = failed_run()
    source = scene.run()
    scene.api.create_run("again", RunSpec(rerun_of=RerunOf(run="r", from_="Failed")))
    for made in scene.call_by_call():
        if made == moment:
            break
    assert made == moment, "a crash after the end proves nothing"
    scene.replica.crash()
    scene.replica.start(stale=moment % 3, pods=moment)
    scene.finish()
    assert scene.run() == source
    kept, repeated = scene.run("again").status.steps
    assert (kept.phase, kept.output, kept.attempts) == (Phase.SUCCEEDED, source.status.steps[0].output, ())
    assert (repeated.phase, len(repeated.attempts)) == (Phase.SUCCEEDED, 1)
    assert set(scene.made().values()) == {1}
