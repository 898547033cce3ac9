"""`python -m tests.chaos`: faults on a real cluster, and what the API server's history says about them."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from pathlib import Path

from adze.shell.cluster import ApiError

from . import table
from .arena import Result
from .checker import Verdict, Word
from .lab import Lab, directory, say
from .scenarios import ALL, OTHERS, Scenario


def main() -> int:
    """Run scenarios, print the table; 1 if one is Broken, 2 if none is but some are Inconclusive."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, help="go on in rounds with new seeds until the time is over")
    parser.add_argument("--only", action="append", choices=[*ALL, *OTHERS], metavar="NAME", help="may be repeated")
    parser.add_argument("--seed", type=int, default=None, help="of all chance; a random one otherwise")
    parser.add_argument("--node", type=Path, default=None, help=f"directory of the node [{directory()}]")
    parser.add_argument("--keep", action="store_true", help="leave the node running")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    chosen = {name: scenario for name, scenario in (ALL | OTHERS).items() if name in (options.only or ALL)}
    results = asyncio.run(_all(options, chosen, seed))
    print(table.render(results))
    print(table.details(results))
    words = {result.verdict.word for result in results}
    return 1 if Word.BROKEN in words else 2 if Word.INCONCLUSIVE in words else 0


async def _all(options: argparse.Namespace, chosen: dict[str, Scenario], seed: int) -> list[Result]:
    lab = Lab(options.node)
    ours = not await asyncio.to_thread(lab.node.is_ready)
    results: list[Result] = []
    try:
        await lab.open()
        end = time.monotonic() + 60 * (options.minutes or 0)
        for number in range(10**6):
            if number and time.monotonic() >= end:
                break
            for name, scenario in chosen.items():
                if number and time.monotonic() >= end:
                    break
                results.append(await one(lab, name, scenario, seed + number))
        await lab.close()
    finally:
        if ours and not options.keep:
            await asyncio.to_thread(lab.node.down)
    return results


async def one(lab: Lab, name: str, scenario: Scenario, seed: int) -> Result:
    """One scenario; what goes wrong with the scenario itself is Inconclusive."""
    say(f"{name} (seed {seed}): {(scenario.__doc__ or '').splitlines()[0]}")
    start = time.monotonic()
    try:
        result = await scenario(lab, seed)
    except (TimeoutError, RuntimeError, OSError, ApiError) as error:
        verdict = Verdict(Word.INCONCLUSIVE, gaps=[f"the scenario did not come to its end: {error}"])
        result = table.unfinished(name, verdict)
    result.name = f"{name} ({seed})"
    say(f"{name}: {result.verdict.word.value} ({time.monotonic() - start:.0f} s)")
    for breach in result.verdict.breaches:
        say(f"  {breach}")
    return result


__all__ = ["main", "one"]

if __name__ == "__main__":
    sys.exit(main())
