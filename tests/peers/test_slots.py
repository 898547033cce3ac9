"""A slot belongs to one run that may still run, and to nobody for longer than that."""

from typing import Any

import pytest

from adze.core import calls
from adze.core.queues import Queues
from tests.builders import NOW, step
from tests.core.dialogue import UNKNOWN
from tests.core.test_admission import ONE, TWO, admit, asked, asking
from tests.peers.scene import LOSSES, Scene, key

BY_RUN: tuple[Any, Any] = (step("a"), {"concurrency": [key()]})
BY_STEP: tuple[Any, Any] = (step("a", concurrency=[key()]), {})
NAMES = ("r1", "r2", "r3")


def queue_up(a_step: Any, fields: Any, progress: int = 2) -> Scene:
    """Three runs that want the only slot; the first has it, and its Pod got that far."""
    scene = Scene()
    for name in NAMES:
        scene.submit(name, a_step, **fields)
    scene.work()
    if progress:
        scene.go_on(progress)
        scene.work()
    return scene


def delete(scene: Scene, name: str) -> None:
    """A user deletes a run."""
    scene.api.delete_run(name, scene.run(name).metadata.uid)


def cancel(scene: Scene, name: str) -> None:
    """A user cancels a run."""
    scene.api.change_run(name, cancel=True)


@pytest.mark.parametrize("away", [False, True], ids=["operator watches", "operator is away"])
@pytest.mark.parametrize("progress", [0, 2], ids=["unplaced", "running"])
@pytest.mark.parametrize("ends", [delete, cancel])
@pytest.mark.parametrize(("a_step", "fields"), [BY_RUN, BY_STEP], ids=["run's slot", "step's slot"])
def test_a_run_that_is_deleted_or_cancelled_frees_its_slot(
    a_step: Any, fields: Any, ends: Any, progress: int, away: bool
) -> None:
    """argo#4632, argo#6340: deleting workflows that held a semaphore freed nothing; argo#7633: nor did terminating
    some; those that waited waited until the controller was started again.
    """
    scene = queue_up(a_step, fields, progress)
    if away:
        scene.replica.crash()
    ends(scene, "r1")
    ends(scene, "r2")
    scene.finish()
    assert scene.phases()["r3"] == "Succeeded"
    assert not scene.api.slots


@pytest.mark.parametrize("limit", [1, 2])
def test_a_restart_admits_nobody_to_a_key_that_is_full(limit: int) -> None:
    """argo#11098 (fix PR#15609): the restarted controller dropped the first holder of each semaphore and admitted one
    too many.
    """
    scene = Scene()
    for name in NAMES:
        scene.submit(name, step("a"), concurrency=[key(limit)])
    scene.work()
    held = dict(scene.api.slots)
    assert len(held) == limit
    for lag in range(len(scene.api.run_history)):
        scene.replica.crash()
        scene.replica.start(stale=lag)
        scene.work(hears=False)
        assert sum(run.status.start_time is not None for run in scene.api.runs.values()) == limit
        assert scene.api.slots == held
    scene.finish()
    assert set(scene.phases().values()) == {"Succeeded"}


def test_what_cannot_be_looked_up_stays_closed() -> None:
    """argo PR#16160: a lock whose holders could not be read at the start was opened as if it were free; now it is
    poisoned.
    """
    queues = Queues()
    asking(queues, "r", ONE)
    for _ in range(3):
        dialogue = admit(queues, known=False)
        assert dialogue.kinds == ["ListSlots"]
        dialogue.answer(UNKNOWN)
        assert dialogue.heard == ["ListSlots"]
        assert dialogue.result is not None
        assert dialogue.result.again
    assert asked(admit(queues, known=False).answer({})) == [("adze-one-0", "r")]


def test_what_is_in_doubt_stays_closed() -> None:
    """argo PR#16160, later on: who did not learn whether a slot was taken asks before it goes on."""
    queues = Queues()
    asking(queues, "both", ONE, TWO)
    dialogue = admit(queues).answer(UNKNOWN, UNKNOWN)
    assert dialogue.kinds == ["ListSlots"]
    dialogue.answer(UNKNOWN)
    assert dialogue.heard == ["TakeSlot", "TakeSlot", "ListSlots"]
    assert queues.granted("both", NOW) == frozenset()


@pytest.mark.parametrize("mode", LOSSES)
@pytest.mark.parametrize("ends", [delete, cancel])
def test_a_slot_that_nobody_knows_of_is_freed(ends: Any, mode: Any) -> None:
    """argo#16772: the database session broke in the middle of admission; rows of workflows that had failed meanwhile
    were held for ever, as no status named them.
    """
    scene = Scene()
    for name in NAMES:
        scene.submit(name, step("a"), concurrency=[key()])
    scene.until(calls.TakeSlot, mode)
    scene.replica.crash()
    ends(scene, "r1")
    scene.finish()
    assert {scene.phases()[name] for name in ("r2", "r3")} == {"Succeeded"}
    assert not scene.api.slots
