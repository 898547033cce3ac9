"""Users at their worst: they delete, evict, cancel, suspend, strip finalizers, and create what nobody expects."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from adze.core import names
from adze.core.model import Run
from adze.core.pods import Pod
from adze.shell.cluster import MERGE, ApiError
from tests.cluster.images import BUSYBOX_IMAGE

from . import shapes
from .arena import Arena, Result, for_seconds
from .checker import Word
from .history import Breach
from .lab import Lab

PATIENCE = 180.0
DEPTHS = (900, 1500, 9000)
"""Levels of nesting of an input. The API server takes 10,000."""


class User:
    """Does one random thing at a time to the Pods and runs of an arena."""

    def __init__(self, arena: Arena, *, strips: bool = False) -> None:
        self._arena = arena
        self._lab = arena.lab
        self._chance = arena.chance
        self._pod_acts = [self._delete, self._force, self._evict, *([self._strip] if strips else [])]
        self._run_acts = [self._cancel, self._suspend, self._resume, self._delete_run]

    async def act(self) -> None:
        """Something; the API server may well refuse it."""
        pods = [pod for pod in self._arena.recorder.pods.values() if not pod.ended]
        runs = sorted(self._arena.running, key=lambda run: run.metadata.name)
        with suppress(ApiError):
            if runs and self._chance.random() < 0.25:
                await self._chance.choice(self._run_acts)(self._chance.choice(runs))
            elif pods:
                pods.sort(key=lambda pod: pod.name)
                await self._chance.choice(self._pod_acts)(self._chance.choice(pods))

    def _did(self, what: str) -> None:
        self._arena.faults[what] += 1

    async def _delete(self, pod: Pod) -> None:
        await self._lab.call("DELETE", self._arena.path("pods", pod.name), {"gracePeriodSeconds": 1})
        self._did("Pod deleted")

    async def _force(self, pod: Pod) -> None:
        await self._lab.call("DELETE", self._arena.path("pods", pod.name), {"gracePeriodSeconds": 0})
        self._did("Pod force-deleted")

    async def _evict(self, pod: Pod) -> None:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod.name}}
        await self._lab.call("POST", self._arena.path("pods", pod.name, "eviction"), body)
        self._did("Pod evicted")

    async def _strip(self, pod: Pod) -> None:
        body = {"metadata": {"finalizers": None}}
        await self._lab.call("PATCH", self._arena.path("pods", pod.name), body, MERGE)
        await self._force(pod)
        self._did("finalizer stripped")

    async def _spec(self, run: Run, what: str, **fields: bool) -> None:
        await self._lab.call("PATCH", self._arena.path("workflowruns", run.metadata.name), {"spec": fields}, MERGE)
        self._did(what)

    async def _cancel(self, run: Run) -> None:
        await self._spec(run, "run cancelled", cancel=True)

    async def _suspend(self, run: Run) -> None:
        await self._spec(run, "run suspended", suspend=True)

    async def _resume(self, run: Run) -> None:
        if run.spec.suspend:
            await self._spec(run, "run resumed", suspend=False)

    async def _delete_run(self, run: Run) -> None:
        policy = self._chance.choice(("Background", "Foreground", "Orphan"))
        path = self._arena.path("workflowruns", run.metadata.name)
        await self._lab.call("DELETE", path, {"propagationPolicy": policy})
        self._did(f"run deleted ({policy})")

    async def resume_all(self) -> None:
        """A suspended run needn't end; so wake them all."""
        for run in self._arena.running:
            with suppress(ApiError):
                await self._resume(run)


async def users(lab: Lab, seed: int, seconds: float = 40, runs: int = 16) -> Result:
    """A random user deletes, force-deletes and evicts Pods; cancels, suspends and deletes runs."""
    return await _harassed(lab, "users", seed, seconds, runs, strips=False)


async def strippers(lab: Lab, seed: int, seconds: float = 30, runs: int = 10) -> Result:
    """The same, with finalizers torn off: a step may run twice then, but every run must still come to its end."""
    return await _harassed(lab, "strippers", seed, seconds, runs, strips=True)


async def _harassed(lab: Lab, name: str, seed: int, seconds: float, runs: int, *, strips: bool) -> Result:
    async with Arena(lab, name, seed) as arena:
        await arena.operate()
        await arena.traffic.start()
        kinds = (shapes.hardy, shapes.hardy_fan)
        shaped = [kinds[number % 2](f"r{number}", pause=1) for number in range(runs)]
        coming = asyncio.create_task(arena.create(shaped, every=seconds / runs))
        user = User(arena, strips=strips)
        await for_seconds(seconds, lambda: arena.chance.uniform(0.1, 0.8), user.act)
        await coming
        await user.resume_all()
        arena.over()
        return await arena.result(PATIENCE, stripped=strips)


async def poison(lab: Lab, seed: int) -> Result:
    """Objects that nobody expects. None may stop the operator or another run."""
    async with Arena(lab, "poison", seed) as arena:
        (operator,) = await arena.operate()
        await arena.create([shapes.pair("before")])
        for depth in DEPTHS:
            await lab.kubectl("create", "-n", arena.namespace, "-f", "-", stdin=_deep(f"deep-{depth}", depth))
            arena.created += 1
            arena.faults["deep input"] += 1
        await lab.call("POST", arena.path("pods"), _spoof(arena, "spoof"))
        arena.faults["Pod with our labels"] += 1
        await asyncio.sleep(3)
        died = not operator.alive or operator is not arena.operators[0]
        await arena.create([shapes.pair("after")])
        arena.over()
        result = await arena.result(60)
        if died:
            result.verdict.breaches.append(Breach("F43", "the operator's process ended because of one object"))
            result.verdict.word = Word.BROKEN
        return result


def _deep(name: str, depth: int) -> str:
    run: dict[str, Any] = shapes.run(name, shapes.step("a"), spec={"input": "@"})
    return json.dumps(run).replace('"@"', '{"a":' * depth + "1" + "}" * depth)


def _spoof(arena: Arena, name: str) -> dict[str, Any]:
    """A Pod that says that it belongs to a run, and doesn't."""
    run = next(iter(arena.recorder.runs.values()))
    labels = {names.RUN_UID: run.metadata.uid, names.RUN: run.metadata.name, names.STEP: "a", names.ATTEMPT: "1"}
    container = {"name": names.MAIN, "image": BUSYBOX_IMAGE, "command": ["false"]}
    spec = {"restartPolicy": "Never", "containers": [container]}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}
