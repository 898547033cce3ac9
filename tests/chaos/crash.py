"""Crash at every write: the operator is killed right before and right after each write of a reference run.

Each crash must leave a run that ends like the reference: the same phases, exactly the same attempts, each with one Pod.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from adze.core.model import Run
from adze.core.pods import Pod

from .arena import Arena, Result, proxied
from .checker import Word
from .history import Breach
from .lab import Lab, say
from .proxy import Proxy, Trap

PATIENCE = 90.0
IN_FLIGHT = 0.3
"""Seconds in which other calls of a killed process may still arrive."""
CALM = 0.6
SOON = 3.0
"""Seconds from a new process's readiness within which it writes, if there's something to write."""
Shape = Callable[[str], dict[str, Any]]
"""A run, or a WorkflowEvent that starts one."""
Outline = dict[str, tuple[object, ...]]


def outline(run: Run) -> Outline:
    """Phase of each step, number and reason of each attempt, fate of each item: what a crash must not change."""
    return {
        step.name: (
            step.phase.value,
            *((attempt.number, attempt.reason) for attempt in step.attempts),
            *((step.items.succeeded, step.items.failed, step.items.cancelled) if step.items else ()),
        )
        for step in run.status.steps
    }


@dataclass
class Lane:
    """One crash after the other: the process that replaces a killed one is the next to be killed."""

    arena: Arena
    proxy: Proxy
    shape: Shape
    breaches: list[Breach] = field(default_factory=list)
    resumed: list[float] = field(default_factory=list)
    unreached: int = 0

    async def reference(self) -> tuple[Outline, int, int]:
        """A run without a crash: how it ends, how many Pods it has, and how many writes it takes."""
        before = len(self.proxy.writes)
        run = await self._run("reference")
        return outline(run), len(self._made(run)), len(self.proxy.writes) - before

    async def crash(self, at: int, after: bool, wanted: Outline, pods: int) -> None:
        """A run whose operator is killed at that write and started again."""
        where = f"{'after' if after else 'before'} write {at}"
        trap = self.proxy.trap = Trap(at, after, self.arena.operators[0].kill)
        killer = asyncio.create_task(self._replace(trap, after))
        run = await self._run(f"{'after' if after else 'before'}-{at}")
        if not trap.done.is_set():
            killer.cancel()
            self.unreached += 1
        await asyncio.gather(killer, return_exceptions=True)
        self.proxy.trap = None
        if outline(run) != wanted:
            self.breaches.append(Breach("S3", f"killed {where} it ended as {outline(run)}, not as {wanted}"))
        made = self._made(run)
        if set(made.values()) - {1} or len(made) != pods:
            self.breaches.append(Breach("S1", f"killed {where} these Pods were made: {dict(made)}"))

    async def _replace(self, trap: Trap, after: bool) -> None:
        await trap.done.wait()
        self.arena.faults[f"kill {'after' if after else 'before'} a write"] += 1
        await asyncio.sleep(IN_FLIGHT)
        killed, calls = time.monotonic(), len(self.proxy.calls)
        self.arena.start()
        await self.arena.operators[0].ready()
        ready = time.monotonic()
        # After the very last write there is nothing left to write.
        while time.monotonic() - ready < SOON:
            later = [moment for moment, method, _, code in self.proxy.calls[calls:] if method != "GET" and code < 400]
            if later:
                self.resumed.append(later[0] - killed)
                return
            await asyncio.sleep(0.1)

    async def _run(self, name: str) -> Run:
        await self.arena.create([self.shape(name)])

        def found() -> list[Run]:
            runs = self.arena.recorder.runs.values()
            return [run for run in runs if name in (run.metadata.name, run.metadata.labels.event)]

        await self.arena.see(f"run {name}", lambda: bool(found()))
        await self.arena.quiet(PATIENCE, calm=CALM)
        return found()[0]

    def _made(self, run: Run) -> Counter[str]:
        entries = self.arena.recorder.history().by_run()[run.metadata.uid]
        pods = {(entry.item.name, entry.item.metadata.uid) for entry in entries if isinstance(entry.item, Pod)}
        return Counter(name for name, _ in pods)


async def every_write(
    lab: Lab, shape: Shape, seed: int, lanes: int = 5, workflows: Sequence[dict[str, Any]] = ()
) -> Result:
    """The reference, then two crashes for each of its writes, `lanes` at a time. `workflows` are there before."""
    async with AsyncExitStack() as stack:
        places = await asyncio.gather(*(_lane(lab, shape, seed, stack) for _ in range(lanes)))
        for lane in places:
            await lane.arena.create(workflows)
        wanted, pods, writes = await places[0].reference()
        say(f"the reference run makes {writes} writes: {2 * writes} crashes follow")
        points = iter([(at, after) for at in range(1, writes + 1) for after in (False, True)])
        await asyncio.gather(*(_all(lane, points, wanted, pods) for lane in places))
        results = [await lane.arena.result(PATIENCE) for lane in places]
    total = results[0]
    total.name = "crash at every write"
    for lane, result in zip(places, results, strict=True):
        result.verdict.breaches += lane.breaches
        if result is not total:
            _add(total, result)
    total.verdict.word = _word(total)
    resumed = [moment for lane in places for moment in lane.resumed]
    if resumed:
        total.resumed = max(resumed)
        total.notes.append(f"resumed {min(resumed):.1f} to {max(resumed):.1f} s after the kill, process start included")
    if unreached := sum(lane.unreached for lane in places):
        total.notes.append(f"{unreached} writes were not reached: the order of a batch varies")
    return total


async def _lane(lab: Lab, shape: Shape, seed: int, stack: AsyncExitStack) -> Lane:
    proxy = await stack.enter_async_context(Proxy(lab.credentials, seed))
    arena = await stack.enter_async_context(Arena(lab, "crash", seed))
    await arena.operate(via=proxied(arena, [proxy]))
    return Lane(arena, proxy, shape)


async def _all(lane: Lane, points: Iterator[tuple[int, bool]], wanted: Outline, pods: int) -> None:
    for at, after in points:
        await lane.crash(at, after, wanted, pods)


def _word(total: Result) -> Word:
    if total.verdict.gaps:
        return Word.INCONCLUSIVE
    return Word.BROKEN if total.verdict.breaches else Word.HELD


def _add(total: Result, one: Result) -> None:
    total.faults.update(one.faults)
    total.runs += one.runs
    total.writes += one.writes
    total.settled = max(total.settled, one.settled)
    total.notes += one.notes
    total.verdict.breaches += one.verdict.breaches
    total.verdict.gaps += one.verdict.gaps
