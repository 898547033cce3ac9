"""Thousands of events at once, and the operator killed in the middle of them."""

from __future__ import annotations

import asyncio
import time

from . import traffic
from .arena import Arena, Result
from .checker import Word
from .history import Breach
from .lab import Lab, say

AT_ONCE = 32
"""Events on their way to the API server."""
AGAIN = 20
"""Each so many-th event is sent once more, under another name."""
KILLS = 3
PATIENCE = 600.0


async def burst(lab: Lab, seed: int, events: int = 5000, prelude: str = "") -> Result:
    """5,000 WorkflowEvents as fast as the API server takes them, the operator killed thrice: one run for each."""
    async with Arena(lab, "burst", seed) as arena:
        arena.prelude = prelude
        await arena.operate()
        await arena.create([traffic.ALL])
        start = time.monotonic()
        killer = asyncio.create_task(_kill(arena, events))
        await _send(arena, events)
        sent = time.monotonic() - start
        say(f"burst: {events} events were accepted in {sent:.1f} s")
        await killer
        arena.over()
        result = await arena.result(PATIENCE)
        took, runs = time.monotonic() - start, len(arena.recorder.runs)
        arena.notes.append(
            f"{events} events accepted in {sent:.1f} s ({events / sent:.0f} a second), "
            f"all runs ended after {took:.1f} s: {runs} runs"
        )
        if runs != events:
            result.verdict.breaches.append(Breach("S14", f"{events} events, {runs} runs"))
            result.verdict.word = Word.BROKEN
        return result


async def _send(arena: Arena, events: int) -> None:
    numbers = iter(range(events))

    async def send_on() -> None:
        for number in numbers:
            await arena.create([traffic.event(f"e{number}", number)])
            if number % AGAIN == 0:
                await arena.create([traffic.event(f"e{number}-again", number)])

    await asyncio.gather(*(send_on() for _ in range(AT_ONCE)))


async def _kill(arena: Arena, events: int) -> None:
    """kill -9 of the operator each time that another share of the runs is there."""
    for share in range(1, KILLS + 1):
        wanted = events * share // (KILLS + 1)

        def enough(wanted: int = wanted) -> bool:
            return len(arena.recorder.runs) >= wanted

        await arena.see(f"{wanted} runs", enough, PATIENCE)
        arena.kill()
        await arena.operators[0].ready()
