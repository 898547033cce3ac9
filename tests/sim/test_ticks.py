"""Each tick has exactly one run or is counted as missed, whatever happens to operators; broken code is found out."""

from collections.abc import Callable
from itertools import count

import msgspec
import pytest

from adze.core import cron, names, origin
from adze.core.cron import Sight
from adze.core.model import CronStatus
from adze.core.origin import Standing
from tests.sim.laboratory import Patch, patched
from tests.sim.ticks import Violation, World, episode

EPISODES = 150
SEEDS = range(2000)
NUMBERS = count()


def test_each_tick_has_one_run_or_is_missed() -> None:
    worlds = [episode(seed) for seed in range(1_000_000, 1_000_000 + EPISODES)]
    assert sum(len(world.began) for world in worlds) > 5 * EPISODES
    assert sum(world.workflow.status.cron[0].missed for world in worlds) > EPISODES
    refused = [run for world in worlds for run in world.runs.values() if run.status.reason == origin.DUPLICATE]
    assert refused, "a run that comes too late is met now and then"


def careless(world: World) -> None:
    world.checks_version = False


def forgetful(entry: CronStatus, sight: Sight) -> CronStatus:
    """Drops every recorded run that isn't known to wait."""
    runs = tuple(run for run in entry.runs if run.uid in sight.waiting.values())
    return msgspec.structs.replace(entry, runs=runs)


MUTANTS: dict[str, tuple[list[Patch], Callable[[World], None]]] = {
    "a run begins without a look at the record": ([(origin, "standing", lambda *_: Standing.ITS)], lambda world: None),
    "the record is written without compare-and-swap": ([], careless),
    "names of runs are by chance": (
        [(names, "tick_run", lambda *parts: f"w-{next(NUMBERS)}")],
        lambda world: None,
    ),
    "what isn't known is dropped from the record": ([(cron, "_pruned", forgetful)], lambda world: None),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_dies(name: str) -> None:
    patches, prepare = MUTANTS[name]
    with patched(patches):
        for seed in SEEDS:
            try:
                episode(seed, prepare)
            except Violation:
                return
    pytest.fail(f"{name}: survived {len(SEEDS)} episodes")
