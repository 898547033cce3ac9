"""Two trees of adze in the same minutes: an operator of each, with a wide run of its own, on one control plane.

    git worktree add ../before main
    python -m tests.bench.pair before=../before after=. [--items N] [--parallel N] [--rounds N]

What a CPU gets done changes within minutes where others share it, by more than most changes of code are worth. Side by
side both suffer alike: one tree beside itself differs by 1 or 2 %.
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import mean

from . import client, wide
from .process import Operator
from .simulated import SimulatedNode


async def measure(kubeconfig: Path, trees: list[Path], items: int, parallel: int) -> list[wide.Figures]:
    """One round: the figures of each tree."""
    async with AsyncExitStack() as stack:
        places = [await stack.enter_async_context(client.place(kubeconfig)) for _ in trees]
        node = SimulatedNode(places[0].cluster, 1.0)
        await node.start()
        stack.push_async_callback(node.stop)
        operators = []
        for tree, place in zip(trees, places, strict=True):
            settings = {"PYTHONPATH": str(tree.resolve() / "operator")}
            operators.append(Operator(place.kubeconfig, place.namespace, **settings))
            stack.callback(operators[-1].stop)
        for operator in operators:
            await operator.ready()
        pairs = zip(places, operators, strict=True)
        return await asyncio.gather(
            *(wide.follow(place.cluster, place.namespace, one, node, items, parallel) for place, one in pairs)
        )


async def run(options: argparse.Namespace) -> None:
    """All rounds, and what each tree costs beside the first."""
    kubeconfig = client.ready()
    names, trees = zip(*(tree.split("=", 1) for tree in options.trees), strict=True)
    rounds = []
    for _ in range(options.rounds):
        rounds.append(await measure(kubeconfig, [*map(Path, trees)], options.items, options.parallel))
        for name, figures in zip(names, rounds[-1], strict=True):
            print(f"{name}: {figures}", flush=True)
    costs = [mean(figures.cpu for figures in column) for column in zip(*rounds, strict=True)]
    for name, cost in zip(names, costs, strict=True):
        print(f"{name}: {cost:.2f} ms CPU an item, {cost / costs[0] - 1:+.0%}")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="+", metavar="NAME=TREE")
    parser.add_argument("--items", type=int, default=800)
    parser.add_argument("--parallel", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
