"""The simulator, bounded: no violation, every mutant dead, every old failure still absent, every seed replayable."""

import pytest

from adze.core import draft, revision
from adze.core.rules import retry
from tests.sim.episode import run, setting
from tests.sim.goals import GOALS
from tests.sim.lab import corpus, replay, work
from tests.sim.laboratory import laboratory
from tests.sim.mutants import MUTANTS, Mutant, hunt

EPISODES = 4000
"""About 40 s on one core."""
RARE = 0.1
"""Share of the goals that a run as short as this may miss."""


def test_no_episode_violates_a_predicate() -> None:
    """A million steps of trouble, other ones than `python -m tests.sim run` begins with."""
    figures = work(seed=10_000_000, episodes=EPISODES, seconds=None)
    assert figures.failures == []
    assert figures.slow == 0
    missed = [goal for goal in GOALS if not figures.goals[goal]]
    assert len(missed) <= RARE * len(GOALS), missed


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_dies(mutant: Mutant) -> None:
    """Broken code is found out."""
    death = hunt(mutant)
    assert death.code, f"{mutant.name} survived {death.episodes} episodes of {mutant.profile}"


@pytest.mark.parametrize(("seed", "profile"), list(corpus()))
def test_old_failure_stays_away(seed: int, profile: str | None) -> None:
    """What failed once must not fail again."""
    result = replay(seed, profile)
    assert result.violation is None, "\n".join(result.trace)


@pytest.mark.parametrize("seed", range(20))
def test_a_seed_is_one_episode(seed: int) -> None:
    """The same seed gives the same trace, and tracing changes nothing."""
    with laboratory():
        traces = [run(setting(seed), trace=True) for _ in range(2)]
        silent = run(setting(seed))
    assert traces[0].trace == traces[1].trace
    assert silent.steps == traces[0].steps


def test_the_laboratory_cleans_up() -> None:
    """Tests beside this one see the code as it is."""
    before = (retry.INFRASTRUCTURE_BUDGET, draft.KEPT_ATTEMPTS, revision.compile_workflow)
    with laboratory():
        run(setting(1))
        assert before[0] != retry.INFRASTRUCTURE_BUDGET
    assert before == (retry.INFRASTRUCTURE_BUDGET, draft.KEPT_ATTEMPTS, revision.compile_workflow)
