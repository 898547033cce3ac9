"""`python -m tests.sim run | mutants | replay SEED`: run episodes, break the code to prove the point, look at one."""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.sim.goals import GOALS, gaps
from tests.sim.lab import Figures, replay, work_in_parallel
from tests.sim.mutants import MUTANTS, Death, hunt
from tests.sim.profiles import PROFILES


def show(figures: Figures) -> None:
    """The figures of a run of episodes."""
    print(
        f"{figures.episodes} episodes, {figures.steps} steps, "
        f"{figures.per_minute / 1e6:.2f} M steps a minute on one core, {figures.slow} slow"
    )
    width = max(map(len, GOALS))
    for goal in GOALS:
        print(f"  {goal:{width}} {figures.goals[goal] or 'NEVER'}")
    for gap in gaps(figures.goals):
        print(f"gap: {gap}")
    for seed, violation in figures.failures:
        print(f"violation: seed {seed}: {violation}")
    print(f"{len(figures.failures)} violations, {len(gaps(figures.goals))} gaps")


def table(deaths: Sequence[Death]) -> str:
    """Which mutant died of what, and how soon."""
    lines = [f"{'mutant':48} {'died of':8} {'profile':9} {'episodes':>8} {'seconds':>8}"]
    lines += [
        f"{death.name:48} {death.code or 'LIVES':8} {death.profile:9} {death.episodes:8} {death.seconds:8.1f}"
        for death in deaths
    ]
    killed = sum(bool(death.code) for death in deaths)
    return "\n".join([*lines, f"{killed} of {len(deaths)} killed"])


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="run episodes")
    runs.add_argument("--minutes", type=float, help="for so long (default: 1, unless --episodes is given)")
    runs.add_argument("--episodes", type=int, help="so many")
    runs.add_argument("--seed", type=int, default=0, help="the first seed")
    runs.add_argument("--jobs", type=int, default=1, help="processes")
    runs.add_argument("--profile", choices=PROFILES, help="one kind of trouble only")
    mutants = commands.add_parser("mutants", help="kill each broken version of the code")
    mutants.add_argument("--jobs", type=int, default=1, help="processes")
    again = commands.add_parser("replay", help="print the trace of one seed")
    again.add_argument("seed", type=int)
    again.add_argument("--profile", choices=PROFILES, help="as it was run")
    again.add_argument("--whole", action="store_true", help="don't leave out what the violation doesn't need")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run a command; 1 if it found something."""
    options = parser().parse_args(arguments)
    if options.command == "run":
        minutes = options.minutes if options.minutes or options.episodes else 1.0
        seconds = minutes * 60 if minutes else None
        figures = work_in_parallel(options.seed, options.episodes, seconds, options.profile, options.jobs)
        show(figures)
        return bool(figures.failures)
    if options.command == "mutants":
        with ProcessPoolExecutor(options.jobs) as pool:
            deaths = [future.result() for future in [pool.submit(_hunt, index) for index in range(len(MUTANTS))]]
        print(table(deaths))
        return not all(death.code for death in deaths)
    result = replay(options.seed, options.profile, short=not options.whole)
    print("\n".join(result.trace))
    return result.violation is not None


def _hunt(index: int) -> Death:
    return hunt(MUTANTS[index])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
