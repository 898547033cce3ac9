"""Many episodes: counted, timed, spread over processes, and each failure made short enough to read."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, process_time

from tests.sim.episode import Result, run, setting, shrink
from tests.sim.laboratory import laboratory

CORPUS = Path(__file__).parent / "corpus.txt"
STRIDE = 1_000_003
"""Between the first seeds of two processes: far enough for none to repeat the other's."""


@dataclass(slots=True)
class Figures:
    """What a number of episodes came to. `seconds` are of one core."""

    episodes: int = 0
    steps: int = 0
    seconds: float = 0.0
    slow: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)
    goals: Counter[str] = field(default_factory=Counter)

    @property
    def per_minute(self) -> float:
        """Steps a minute on one core."""
        return self.steps * 60 / self.seconds if self.seconds else 0.0

    def add(self, other: "Figures") -> None:
        """Take another's into account."""
        self.episodes += other.episodes
        self.steps += other.steps
        self.seconds += other.seconds
        self.slow += other.slow
        self.failures += other.failures
        self.goals += other.goals


def work(seed: int, episodes: int | None, seconds: float | None, profile: str | None = None) -> Figures:
    """Run episodes with consecutive seeds until there were enough of them, or the time is up."""
    figures = Figures()
    begin, clock = process_time(), monotonic()
    with laboratory():
        while (episodes is None or figures.episodes < episodes) and (seconds is None or monotonic() - clock < seconds):
            here = seed + figures.episodes
            result = run(setting(here, profile), goals=figures.goals)
            figures.episodes += 1
            figures.steps += result.steps
            figures.slow += result.slow
            if result.violation:
                figures.failures.append((here, str(result.violation)))
    figures.seconds = process_time() - begin
    return figures


def work_in_parallel(seed: int, episodes: int | None, seconds: float | None, profile: str | None, jobs: int) -> Figures:
    """The same on several cores, each with seeds of its own."""
    share = None if episodes is None else -(-episodes // jobs)
    total = Figures()
    with ProcessPoolExecutor(jobs) as pool:
        for part in [pool.submit(work, seed + index * STRIDE, share, seconds, profile) for index in range(jobs)]:
            total.add(part.result())
    return total


def replay(seed: int, profile: str | None = None, *, short: bool = True) -> Result:
    """The traced episode of a seed; a failing one is shrunk first, to the same kind of violation."""
    with laboratory():
        world = setting(seed, profile)
        words = world.words
        violation = run(world).violation
        if violation and short:
            code = violation.code

            def fails(fewer: list[int]) -> bool:
                found = run(world, fewer).violation
                return found is not None and found.code == code

            words = shrink(world, words, fails)
        return run(world, words, trace=True)


def corpus() -> Iterator[tuple[int, str | None]]:
    """The seeds that failed once, each with its profile: `SEED PROFILE  what it was`."""
    for line in CORPUS.read_text().splitlines():
        if line and not line.startswith("#"):
            seed, profile, *_ = line.split()
            yield int(seed), None if profile == "-" else profile
