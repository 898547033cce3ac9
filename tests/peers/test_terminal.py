"""Nothing final is decided from a cache, and what is final stays."""

import pytest

from adze.core.model import Phase
from tests.builders import step
from tests.peers.scene import Scene


@pytest.mark.parametrize("lag", range(1, 6))
def test_an_attempt_does_not_fail_because_a_cache_says_so(lag: int) -> None:
    """tkn#9467 (fix PR#9640): a TaskRun looked failed in the informer's cache while it already ran again after an
    eviction; the PipelineRun was failed for ever.
    """
    scene = Scene()
    scene.submit("r", step("a"))
    scene.work()
    scene.go_on(2)
    scene.work()
    scene.wake()
    (status,) = scene.run().status.steps
    assert status.phase is Phase.RUNNING
    scene.replica.crash()
    scene.replica.start(pods=lag)
    scene.work(hears=False)
    assert scene.phases() == {"r": "Running"}
    scene.finish()
    assert scene.phases() == {"r": "Succeeded"}
    assert list(scene.made().values()) == [1]


def test_nothing_brings_a_failed_run_back() -> None:
    """tkn#7895: a TaskRun had failed with its Pod still in init; when that Pod was deleted, it got a new one, became
    Pending again and lost its completion time.
    """
    scene = Scene()
    scene.submit("r", step("a", start_timeout="5s"))
    scene.work()
    scene.go_on()
    scene.world.advance(3 * 16)  # no such image
    scene.work()
    while not scene.run().status.phase.final:
        scene.wake()
        scene.world.advance(0, kind=True)
        scene.work()
    ended = scene.run().status
    assert (ended.phase, ended.steps[0].reason) == (Phase.FAILED, "StartTimeout")
    scene.api.delete_pod(scene.pod().metadata.uid, force=True)
    for happens in (
        lambda: scene.api.change_run("r", suspend=True),
        lambda: scene.api.change_run("r", cancel=True),
        lambda: [scene.replica.repeat(kind) for kind in range(3)],
        lambda: (scene.replica.crash(), scene.replica.start(stale=3, pods=5)),
    ):
        happens()
        scene.work()
        assert scene.run().status == ended
    scene.finish()
    assert list(scene.made().values()) == [1]
