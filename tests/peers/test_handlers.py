"""What somebody else writes to an object in the middle of a pass makes nothing happen twice."""

import pytest

from tests.builders import step
from tests.peers.scene import Scene

CHAIN = (step("a"), step("b", parents=["a"]))


@pytest.mark.parametrize("moment", range(11))
def test_a_foreign_patch_between_any_two_calls_repeats_nothing(moment: int) -> None:
    """kopf#729, kopf#916 (fix PR#844): another's patch came between a handler and the patch that recorded its success;
    kopf saw an object without its mark and ran the handler again.
    """
    scene = Scene()
    scene.submit("r", *CHAIN)
    for made in scene.call_by_call():
        if made == moment:
            scene.api.touch_run("r")
    assert made >= moment, "a patch after the end proves nothing"
    scene.finish()
    assert scene.phases() == {"r": "Succeeded"}
    assert list(scene.made().values()) == [1, 1]
    assert len(scene.opened()) == 2


def test_patches_without_end_hold_nothing_up() -> None:
    """kopf#844: under a stream of patches handlers were skipped or repeated; here each costs at most one more pass."""
    scene = Scene()
    scene.submit("r", *CHAIN)
    for made in scene.call_by_call():
        if made % 3 == 0:
            scene.api.touch_run("r")
        assert made < 200
    assert scene.phases() == {"r": "Succeeded"}
    assert list(scene.made().values()) == [1, 1]
