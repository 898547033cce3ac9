"""Crash at every write: the operator is killed right before and right after each write of a reference run.

Each crash must leave a run that ends like the reference: the same phases, exactly the same attempts, each with one Pod.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from adze.core.model import Run
from adze.core.pods import Pod

from .arena import Arena, Result, proxied
from .checker import Breach, Word
from .lab import Lab, say
from .proxy import Proxy, Trap

PATIENCE = 90.0
IN_FLIGHT = 0.3
"""Seconds in which other calls of a killed process may still arrive."""
Shape = Callable[[str], dict[str, Any]]
Outline = dict[str, tuple[str, tuple[tuple[int, str | None], ...]]]


def outline(run: Run) -> Outline:
    """Phase of each step, and number and reason of each attempt: what a crash of ours must not change."""
    return {
        step.name: (step.phase.value, tuple((attempt.number, attempt.reason) for attempt in step.attempts))
        for step in run.status.steps
    }


async def _one(lab: Lab, shape: Shape, seed: int, at: int, after: bool) -> tuple[Arena, Outline | None, Result, int]:
    """A run whose operator is killed at that write (0: never) and started again."""
    name = f"crash-{at}{'a' if after else 'b'}"
    async with Arena(lab, name, seed) as arena, Proxy(lab.credentials, seed) as proxy:
        (path,) = proxied(arena, [proxy])
        (operator,) = await arena.operate(via=[path])
        trap = Trap(at, after, operator.kill)
        proxy.trap = trap if at else None
        await arena.create([shape(f"r{at}")])
        if at:
            try:
                await asyncio.wait_for(trap.done.wait(), PATIENCE)
            except TimeoutError:
                arena.notes.append(f"write {at} was never reached")
            else:
                arena.faults[f"kill {'after' if after else 'before'} a write"] += 1
                await asyncio.sleep(IN_FLIGHT)
                arena.over()
                arena.start()
        result = await arena.result(PATIENCE)
        runs = list(arena.recorder.runs.values())
        return arena, outline(runs[0]) if runs else None, result, len(proxy.writes)


async def every_write(lab: Lab, shape: Shape, seed: int, lanes: int = 5, every: int = 1) -> Result:
    """The reference, then two crashes for each of its writes (or of each `every`-th), `lanes` at a time."""
    _, wanted, total, writes = await _one(lab, shape, seed, 0, False)
    say(f"the reference run makes {writes} writes: {2 * len(range(1, writes + 1, every))} crashes follow")
    total.name = "crash at every write"
    pods_wanted = _pods(wanted)
    places = asyncio.Semaphore(lanes)
    resumed: list[float] = []
    unreached = 0

    async def crash(at: int, after: bool) -> None:
        nonlocal unreached
        async with places:
            arena, found, result, _ = await _one(lab, shape, seed, at, after)
        where = f"killed {'after' if after else 'before'} write {at}"
        if found != wanted:
            result.verdict.breaches.append(Breach("S3", f"{where} the run ended as {found}, not as {wanted}"))
        pods = [entry.item for entry in arena.recorder.history().entries if isinstance(entry.item, Pod)]
        made = Counter(name for name, _ in {(pod.name, pod.metadata.uid) for pod in pods})
        if set(made.values()) - {1} or len(made) != pods_wanted:
            result.verdict.breaches.append(Breach("S1", f"{where} these Pods were made: {dict(made)}"))
        unreached += not arena.faults
        _add(total, result, where)
        if result.resumed is not None:
            resumed.append(result.resumed)

    await asyncio.gather(*(crash(at, after) for at in range(1, writes + 1, every) for after in (False, True)))
    if unreached:
        total.notes.append(f"{unreached} writes were not reached: the order of a batch varies")
    if resumed:
        total.resumed = max(resumed)
        total.notes.append(f"resumed {min(resumed):.1f} to {max(resumed):.1f} s after the kill, process start included")
    return total


def _pods(wanted: Outline | None) -> int:
    return sum(len(attempts) for _, attempts in (wanted or {}).values())


def _add(total: Result, one: Result, where: str) -> None:
    total.faults.update(one.faults)
    total.runs += one.runs
    total.writes += one.writes
    total.settled = max(total.settled, one.settled)
    total.notes += [f"{where}: {note}" for note in one.notes]
    total.verdict.breaches += one.verdict.breaches
    total.verdict.gaps += [f"{where}: {gap}" for gap in one.verdict.gaps]
    if total.verdict.gaps:
        total.verdict.word = Word.INCONCLUSIVE
    elif total.verdict.breaches:
        total.verdict.word = Word.BROKEN
