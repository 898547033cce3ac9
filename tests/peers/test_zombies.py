"""Every run ends, though nobody is told of what became of its Pods."""

import pytest

from tests.builders import SIDE, Drive, failed, step, with_sidecar, with_status, workflow
from tests.peers.scene import Scene


def test_an_end_that_no_watch_told_of_is_found() -> None:
    """argo#4560: under load the controller never saw the changes of Pods; they had long completed, their workflows ran
    on for ever.
    """
    scene = Scene()
    scene.submit("r", step("a"))
    scene.work()
    changes = len(scene.api.pod_history)
    scene.go_on(3)
    for _ in range(len(scene.api.pod_history) - changes):
        assert scene.replica.lose(0)
    scene.work()
    assert scene.phases() == {"r": "Running"}
    scene.replica.relist("pods")  # as `shell.watch` does every four minutes
    scene.work()
    assert scene.phases() == {"r": "Succeeded"}


@pytest.mark.parametrize("away", [False, True], ids=["operator watches", "operator is away"])
@pytest.mark.parametrize("how_far", [0, 1, 2], ids=["unplaced", "placed", "running"])
def test_a_pod_that_is_simply_not_there_ends_its_attempt(how_far: int, away: bool) -> None:
    """argo#3006: the Pod was gone, nobody had seen it go, and the workflow stayed Running with nothing behind it."""
    scene = Scene()
    scene.submit("r", step("a"))
    scene.work()
    if how_far:
        scene.go_on(how_far)
    scene.work()
    if how_far == 2:
        scene.wake()  # what runs for two seconds is shown
    if away:
        scene.replica.crash()
    uid = scene.pod().metadata.uid
    scene.checker.stripped = True
    scene.api.put_pod(uid, finalizers=())
    scene.api.delete_pod(uid, force=True)
    scene.finish()
    (status,) = scene.run().status.steps
    if away and how_far < 2:
        # Nothing tells that there ever was a Pod; so it's made, and that is the same attempt.
        assert (status.phase, len(status.attempts)) == ("Succeeded", 1)
    else:
        assert (status.phase, status.reason) == ("Failed", "PodLost")


def test_a_container_out_of_memory_ends_its_step_though_another_runs_on() -> None:
    """argo#8456: the main container was killed for want of memory, the executor's own ran on and waited; the workflow
    was Running for ever.
    """
    drive = Drive(workflow(step("a"))).until_quiet().start("a")
    drive.change(
        "a", lambda one: with_status(with_sidecar(failed(one, 137, reason="OOMKilled"), SIDE), phase="Running")
    )
    assert drive.step("a").reason == "OOMKilled"
    assert drive.until_wake().phase == "Failed", "the other container gets ten seconds"
