"""One run with a forEach over many items on a real control plane with a simulated node, and chains beside it.

    python -m tests.bench.wide [--items N] [--parallel N] [--seconds S]

Tells the operator's CPU, memory and API writes per item, the largest status, and how fast the chains' steps
follow each other meanwhile. All other nodes are cordoned while it runs: not for a cluster in use.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from adze.core.model import API_VERSION, Run, WorkflowSpec
from adze.core.pods import Pod
from adze.shell.cluster import Cluster, resource

from . import client
from .process import Operator
from .progress import say
from .simulated import SimulatedNode
from .table import quantile

CHAIN = 60
TIMEOUT = 3600.0
_CHAINED = re.compile(r"chain-(\d+)-s(\d+)-1-")


def _step(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "none", "command": ["true"], **fields}


def _run(name: str, steps: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    body = {"workflowSpec": {"steps": steps}, **spec}
    msgspec.convert(body["workflowSpec"], WorkflowSpec)
    return {"apiVersion": API_VERSION, "kind": "WorkflowRun", "metadata": {"name": name}, "spec": body}


class Neighbour:
    """Chains of steps that run beside, one after the other: from the end of a step to the next one's Pod."""

    def __init__(self) -> None:
        self._ends: dict[tuple[int, int], float] = {}

    async def run(self, cluster: Cluster, path: str) -> None:
        """A chain, and another, until cancelled."""
        steps = [_step(f"s{n}", parents=[f"s{n - 1}"] if n else []) for n in range(CHAIN)]
        for chain in itertools.count():
            await cluster.call("POST", path, _run(f"chain-{chain}", steps))
            run = await _seen(cluster, f"{path}/chain-{chain}")
            while not run.status.phase.final:
                await asyncio.sleep(1)
                run = await _seen(cluster, f"{path}/chain-{chain}")

    def ended(self, pod: Pod) -> None:
        """A Pod of any run has ended."""
        if found := _CHAINED.match(pod.name):
            self._ends[int(found[1]), int(found[2])] = time.monotonic()

    def reactions(self, created: dict[str, float]) -> list[float]:
        """Milliseconds, ascending."""
        starts = {(int(found[1]), int(found[2])): at for name, at in created.items() if (found := _CHAINED.match(name))}
        return sorted(1000 * (at - self._ends[chain, n - 1]) for (chain, n), at in starts.items() if n)


def writes(metrics: str) -> Counter[str]:
    """Calls by method, as the operator counts them."""
    found = re.findall(r'adze_api_calls_total\{code="(\d+)",method="(\w+)"\} ([\d.e+]+)', metrics)
    counted: Counter[str] = Counter()
    for _, method, count in found:
        counted[method] += int(float(count))
    return counted


@dataclass
class Figures:
    """What a wide run cost the operator and its neighbour. `cpu` and `writes` are per item or step beside, times in
    ms, sizes in KiB (`status`) and MiB (`rss`)."""

    items: int
    phase: str
    seconds: float
    cpu: float
    writes: float
    rss: float
    status: float
    steps: int
    p50: float
    p99: float

    def __str__(self) -> str:
        return (
            f"forEach: {self.items} items {self.phase} in {self.seconds:.0f} s; {self.cpu:.2f} ms CPU and "
            f"{self.writes:.2f} writes an item, RSS {self.rss:.0f} MiB, status {self.status:.0f} KiB; "
            f"{self.steps} steps beside it, next Pod after p50 {self.p50:.0f} ms, p99 {self.p99:.0f} ms "
            "(targets: 2 ms, 4, 250 MiB, 512 KiB, p99 200 ms)"
        )


async def measure(
    cluster: Cluster, namespace: str, operator: Operator, items: int = 1000, parallel: int = 100, pod_seconds: float = 1
) -> Figures:
    """Both runs, from their creation to their end, on a node of their own."""
    node = SimulatedNode(cluster, pod_seconds)
    await node.start()
    try:
        return await follow(cluster, namespace, operator, node, items, parallel)
    finally:
        await node.stop()


async def follow(
    cluster: Cluster, namespace: str, operator: Operator, node: SimulatedNode, items: int, parallel: int
) -> Figures:
    """Both runs, from their creation to their end, on a node that has joined."""
    neighbour = Neighbour()
    created = await node.serve(namespace, neighbour.ended)
    path = resource(API_VERSION, namespace, "workflowruns")
    pages = [f"page/{index}" for index in range(items)]
    each = _step("fetch", forEach="input.pages", args=["${item}"], maxParallel=parallel)
    before, cpu, start = writes(await operator.metrics()), operator.cpu(), time.monotonic()
    await cluster.call("POST", path, _run("wide", [each], input={"pages": pages}))
    await asyncio.sleep(2)
    async with _beside(neighbour.run(cluster, path)):
        run, largest, rss = await _followed(cluster, f"{path}/wide", operator, start)
    seconds = time.monotonic() - start
    await asyncio.sleep(3)
    spent, calls = operator.cpu() - cpu, writes(await operator.metrics()) - before
    changing = sum(count for method, count in calls.items() if method != "GET")
    gaps = neighbour.reactions(created) or [0.0]
    pods = items + len(gaps)
    return Figures(
        items=items,
        phase=run.status.phase.value,
        seconds=seconds,
        cpu=1000 * spent / pods,
        writes=changing / pods,
        rss=rss,
        status=largest / 1024,
        steps=len(gaps),
        p50=quantile(gaps, 0.5),
        p99=quantile(gaps, 0.99),
    )


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Something endless meanwhile; what ends it early is raised."""
    task = asyncio.create_task(work)
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()


async def _seen(cluster: Cluster, path: str) -> Run:
    return msgspec.json.decode(await cluster.call("GET", path), type=Run)


async def _followed(cluster: Cluster, path: str, operator: Operator, start: float) -> tuple[Run, int, float]:
    """The run once it has ended, with the bytes of its largest status and the operator's memory at most."""
    largest, rss, told = 0, 0.0, 0.0
    while True:
        await asyncio.sleep(2)
        operator.check()
        run = await _seen(cluster, path)
        largest = max(largest, len(msgspec.json.encode(run.status)))
        rss = max(rss, operator.rss()[0])
        if run.status.phase.final:
            return run, largest, rss
        if time.monotonic() > start + TIMEOUT:
            raise TimeoutError(f"forEach: {run.status.phase} after {TIMEOUT:.0f} s: {run.status.message}")
        if time.monotonic() > told + 20:
            told = time.monotonic()
            say(f"{told - start:.0f} s: {run.status.message}, RSS {rss:.0f} MiB")


async def run(options: argparse.Namespace) -> None:
    """An operator and a namespace of its own."""
    async with client.place(client.ready()) as (cluster, namespace, kubeconfig):
        operator = Operator(kubeconfig, namespace)
        try:
            await operator.ready()
            print(await measure(cluster, namespace, operator, options.items, options.parallel, options.seconds))
        finally:
            if operator.log():
                say(operator.log())
            operator.stop()


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--parallel", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long a Pod runs")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
