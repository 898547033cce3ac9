"""One Pod for each attempt, however little an operator knows of what it has made."""

import pytest

from adze.core import calls
from tests.builders import step
from tests.peers.scene import LOSSES, Scene
from tests.sim.replica import Mode


@pytest.mark.parametrize("mode", [Mode.NORMAL, *LOSSES])
def test_a_create_that_no_list_shows_is_not_made_again_under_another_name(mode: Mode) -> None:
    """tkn#3126, tkn#3557, tkn#4358: the lister's cache lagged behind the controller's own create, the name had a random
    suffix, so one task got two TaskRuns, one TaskRun two Pods.
    """
    scene = Scene()
    scene.submit("r", step("a"))
    scene.until(calls.WriteStatus)
    for _ in range(3):
        scene.until(calls.CreatePod, mode, hears=False)
        scene.api.touch_run("r")  # tkn#3557 came with each change of the run's labels
        scene.replica.crash()
        scene.replica.start(pods=len(scene.api.pod_history))
    scene.finish()
    assert list(scene.made().values()) == [1]


def test_a_create_that_arrives_late_starts_nothing() -> None:
    """tkn#3656: a slow admission webhook held the create up; the reconcile after it found no Pod and made a second."""
    scene = Scene()
    scene.submit("r", step("a"))
    scene.until(calls.CreatePod, Mode.LATE)
    scene.wake()
    scene.go_on(3)
    scene.work()
    scene.collect_pods()
    assert (scene.phases(), scene.api.pods) == ({"r": "Succeeded"}, {})
    assert scene.replica.arrive(0)
    assert scene.pod().gated
    scene.finish()
    assert len(scene.opened()) == 1
    assert not scene.api.pods


@pytest.mark.parametrize("mode", LOSSES)
def test_no_pod_exists_that_the_status_does_not_name(mode: Mode) -> None:
    """tkn#2558: the children were created first and the status write that named them failed; nobody knew of them any
    longer, and others were made.
    """
    scene = Scene()
    scene.submit("r", step("a"), step("b"))
    scene.until(calls.WriteStatus, mode)
    scene.work(hears=False)
    assert scene.made() == {}
    scene.replica.crash()
    scene.finish()
    named = [attempt.pod for status in scene.run().status.steps for attempt in status.attempts]
    assert sorted(scene.made()) == sorted(named)
    assert set(scene.made().values()) == {1}
