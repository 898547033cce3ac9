"""What has ended stays ended, whatever old version of it an operator acts upon."""

from adze.core import calls
from tests.builders import step
from tests.peers.scene import Scene

CHAIN = (step("a"), step("b", parents=["a"]))


def test_no_old_version_of_a_finished_run_starts_a_step_again() -> None:
    """argo#16294, argo#4798, argo#15090: a version from before the end was replayed; the finished step's Pod was made
    anew and ran, hours after the run had succeeded.
    """
    scene = Scene()
    scene.submit("r", *CHAIN)
    scene.finish()
    scene.collect_pods()
    ended, opened = scene.run(), scene.opened()
    for lag in range(len(scene.api.run_history)):
        scene.replica.crash()
        scene.replica.start(stale=lag, pods=0)
        scene.work(hears=False)
        scene.finish()
        assert scene.run() == ended
        assert scene.opened() == opened, f"{lag} changes behind"
    assert scene.goals["gated Pod made for an ended run"], "no version was old enough to tempt it"


def test_an_operator_that_slept_through_the_end_starts_nothing() -> None:
    """argo#16294: the same with a controller that never crashed: it was about to create when it fell asleep."""
    scene = Scene(replicas=2)
    sleeper, other = scene.replicas
    scene.submit("r", step("a"))
    scene.until(calls.WriteStatus, replica=sleeper)
    sleeper.freeze(True)
    scene.work(other)
    scene.go_on(3)
    scene.work(other)
    scene.collect_pods()
    assert (scene.phases(), scene.api.pods) == ({"r": "Succeeded"}, {})
    sleeper.freeze(False)
    scene.until(calls.CreatePod, replica=sleeper)
    assert scene.pod().gated
    scene.finish()
    assert len(scene.opened()) == 1
    assert not scene.api.pods, "what it made too late is gone"


def test_a_cache_that_goes_back_in_time_changes_nothing() -> None:
    """argo#4798, argo#15090: the informer put an older version over the newer one that the controller had written."""
    scene = Scene()
    scene.submit("r", *CHAIN)
    scene.work()
    scene.go_on(3)
    scene.work()
    assert [len(status.attempts) for status in scene.run().status.steps] == [1, 1]
    for lag in range(len(scene.api.run_history)):
        scene.replica.relist("runs", lag)
        scene.work(hears=False)
    scene.finish()
    assert list(scene.made().values()) == [1, 1]
