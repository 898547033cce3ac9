"""Faults between the operator and the API server: refusals, broken connections, silent watches, old lists."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from adze.shell.cluster import resource

from . import faults, shapes
from .arena import Arena, Result, proxied
from .checker import Word
from .faults import Do, Fault
from .history import Breach
from .lab import Lab
from .proxy import Proxy

LAST_WORDS = 8.0
"""Seconds in which a kubelet may write about a Pod that has ended."""
RESYNC = 330.0
"""Seconds within which a lost event must be made good (F12 asks for a look at everything every five minutes)."""


async def _storm(
    lab: Lab, name: str, seed: int, storm: Sequence[Fault], seconds: float, runs: int = 8, patience: float = 120
) -> Result:
    """Runs that are created while the faults fall, and that go on when they stop."""
    async with Arena(lab, name, seed) as arena, Proxy(lab.credentials, seed) as proxy:
        await arena.operate(via=proxied(arena, [proxy]))
        proxy.faults = list(storm)
        await arena.traffic.start()
        await arena.create(shapes.several(runs, pause=0.5), every=seconds / runs)
        proxy.faults = []
        arena.over()
        arena.faults = proxy.injected
        return await arena.result(patience)


async def refusals(lab: Lab, seed: int, seconds: float = 20) -> Result:
    """409, 410, 429, 500, 503 and 504 to a third of all calls, watches included."""
    storm = [
        faults.answer(409, faults.write, share=0.1),
        faults.answer(410, lambda request: request.watch, share=0.3),
        faults.answer(429, lambda request: True, share=0.1, retry_after=1),
        faults.answer(500, lambda request: True, share=0.1),
        faults.answer(503, faults.call, share=0.05),
        faults.answer(504, faults.call, share=0.05),
    ]
    return await _storm(lab, "refusals", seed, storm, seconds)


async def broken(lab: Lab, seed: int, seconds: float = 20) -> Result:
    """A third of all calls lose their connection, before the commit or after it; others are slow."""
    storm = [
        Fault(faults.write, Do.RESET_AFTER, share=0.15),
        Fault(faults.call, Do.RESET_BEFORE, share=0.1),
        Fault(faults.call, Do.DELAY, share=0.1, seconds=0.7),
    ]
    return await _storm(lab, "broken", seed, storm, seconds)


async def every_write_lost(lab: Lab, seed: int, seconds: float = 15) -> Result:
    """Each write is committed, and each second answer is lost: nothing may be done twice."""
    return await _storm(lab, "lost-answers", seed, [Fault(faults.write, Do.RESET_AFTER, share=0.5)], seconds)


async def throttled(lab: Lab, seed: int, seconds: float = 12) -> Result:
    """429 with Retry-After to every write: the operator must come back neither at once nor all together."""
    pause = 4
    async with Arena(lab, "throttled", seed) as arena, Proxy(lab.credentials, seed) as proxy:
        await arena.operate(via=proxied(arena, [proxy]))
        proxy.faults = [faults.answer(429, faults.write, retry_after=pause)]
        await arena.create([shapes.pair(f"r{number}") for number in range(6)])
        await asyncio.sleep(seconds)
        tries = sum(code == 429 for _, _, _, code in proxy.calls)
        proxy.faults = []
        arena.over()
        arena.faults = proxy.injected
        fair = 6 * (seconds / pause + 1)
        arena.notes.append(f"{tries} tries of 6 runs in {seconds:.0f} s with Retry-After: {pause} (obeyed: {fair:.0f})")
        return await arena.result(90)


async def stalled(lab: Lab, seed: int) -> Result:
    """All open watches fall silent without an end. It must be noticed within 75 s, and all be made good."""
    async with Arena(lab, "stalled", seed) as arena, Proxy(lab.credentials, seed) as proxy:
        await arena.operate(via=proxied(arena, [proxy]))
        await arena.create([shapes.diamond(f"r{number}", pause=0.5) for number in range(3)])
        await asyncio.sleep(1.5)
        proxy.stall(True)
        await arena.create([shapes.diamond(f"s{number}") for number in range(3)])
        arena.over()
        arena.faults = proxy.injected
        # The stalled watches stay as they are: a new one is the operator's to open.
        return await arena.result(150)


async def dropped(lab: Lab, seed: int, patience: float = RESYNC) -> Result:
    """A watch loses events: the end of a Pod is never told. A look at everything now and then must find it."""
    async with Arena(lab, "dropped", seed) as arena, Proxy(lab.credentials, seed) as proxy:
        await arena.operate(via=proxied(arena, [proxy]))
        await arena.create([shapes.pair("r0", pause=2)])
        pods = arena.recorder.pods
        await arena.see("a container that runs", lambda: any(pod.main.running for pod in pods.values()))
        proxy.stall(True)
        await arena.see("its end", lambda: all(pod.ended for pod in pods.values()))
        await asyncio.sleep(LAST_WORDS)
        proxy.forget()
        proxy.stall(False)
        arena.over()
        arena.faults = proxy.injected
        return await arena.result(patience)


async def stale(lab: Lab, seed: int) -> Result:
    """The operator is killed again and again, and starts each time with lists of long ago (time travel)."""
    async with Arena(lab, "stale", seed) as arena, Proxy(lab.credentials, seed) as proxy:
        await arena.operate(via=proxied(arena, [proxy]))
        await arena.traffic.start()
        await arena.create(shapes.several(5, pause=1))
        for age in (1.0, 2.0, 3.0):
            old = await _version(lab, arena)
            await asyncio.sleep(age)
            proxy.faults = [Fault(lambda request: request.listing, Do.STALE, version=old)]
            arena.kill()
            await arena.operators[0].ready()
            proxy.faults = []
        arena.over()
        arena.faults.update(proxy.injected)
        return await arena.result(90)


async def _version(lab: Lab, arena: Arena) -> str:
    listed = await lab.call("GET", resource("v1", arena.namespace, "pods"))
    version: str = listed["metadata"]["resourceVersion"]
    return version


async def no_way(lab: Lab, seed: int, seconds: float = 30) -> Result:
    """The API server can't be reached from the operator at all for a while; then it must go on by itself."""
    async with Arena(lab, "no-way", seed) as arena, Proxy(lab.credentials, seed) as proxy:
        (operator,) = await arena.operate(via=proxied(arena, [proxy]))
        await arena.traffic.start()
        await arena.create(shapes.several(4, pause=1))
        await asyncio.sleep(2)
        proxy.down = True
        proxy.cut()
        await asyncio.sleep(seconds)
        alive = operator.alive
        proxy.down = False
        arena.over()
        arena.faults = proxy.injected
        arena.faults["API server unreachable"] += 1
        result = await arena.result(120)
        if not alive:
            breach = Breach("F42", "the operator's process ended because the API server was away")
            result.verdict.breaches.append(breach)
            result.verdict.word = Word.BROKEN
        return result
