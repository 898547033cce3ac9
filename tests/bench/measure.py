"""One measurement: a scenario by adze, or the same Pods by a bare client."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from adze.core.model import API_VERSION
from adze.shell.cluster import ApiError, Cluster, resource

from . import writes
from .observer import Observer
from .process import Operator
from .scenarios import Scenario

QUIET = 2.5
"""Seconds after the end until the last changes by the kubelet have been seen, and their CPU is counted."""
GONE_TIMEOUT = 120.0
CALLS = 40
"""Calls at once: about what the operator does."""


@dataclass
class Measure:
    """What one pass over a scenario gave. `reactions` are seconds from the end of a step to the next Pod."""

    seconds: float
    load: float = 0.0
    reactions: list[float] = field(default_factory=list)
    purposes: dict[str, int] = field(default_factory=dict)
    conflicts: int = 0
    reads: float = 0.0
    cpu: float = 0.0
    rss: float = 0.0


class Bench:
    """Runs scenarios in one namespace, one at a time."""

    def __init__(self, cluster: Cluster, observer: Observer, namespace: str, log: writes.Log) -> None:
        self._cluster = cluster
        self._observer = observer
        self._namespace = namespace
        self._log = log
        self._count = 0
        self._slots = asyncio.Semaphore(CALLS)

    async def adze(self, scenario: Scenario, operator: Operator) -> Measure:
        """The scenario as runs of a Workflow."""
        names = self._begin(scenario)
        await self._ensure_workflow(scenario)
        await asyncio.sleep(0.5)  # the operator reviews the Workflow: no part of any run
        reads = await self._reads(operator)
        self._log.mark()
        cpu, start = operator.cpu(), time.time()
        path = resource(API_VERSION, self._namespace, "workflowruns")
        await asyncio.gather(*(self._create(path, scenario.run(name)) for name in names))
        await self._ended(scenario, self._observer.finished, scenario.runs, "runs of adze")
        seconds = max(self._observer.finished.values()) - start
        await self._released()
        operator.check()
        cpu = operator.cpu() - cpu
        events = await self._log.events(self._cluster)
        purposes, conflicts = writes.count(events)
        return Measure(
            seconds=seconds,
            load=os.getloadavg()[0],
            reactions=self._reactions(scenario, names, events),
            purposes=dict(purposes),
            conflicts=conflicts,
            reads=await self._reads(operator) - reads,
            cpu=cpu,
            rss=operator.rss()[0],
        )

    async def bare(self, scenario: Scenario) -> Measure:
        """The scenario's Pods by a client that does nothing but create each once its parents have ended."""
        names = self._begin(scenario)
        pods = {name: scenario.pods(name, self._namespace) for name in names}
        path = resource("v1", self._namespace, "pods")
        ended: dict[str, set[str]] = {name: set() for name in names}
        creates: set[asyncio.Task[None]] = set()

        def create(run: str, step: str) -> None:
            creates.add(asyncio.create_task(self._create(path, pods[run][step])))

        def follow(run: str, step: str) -> None:
            if run in ended:
                ended[run].add(step)
                for child, parents in scenario.parents.items():
                    if step in parents and ended[run].issuperset(parents):
                        create(run, child)

        self._log.mark()
        start = time.time()
        self._observer.on_end = follow
        for run in names:
            for step, parents in scenario.parents.items():
                if not parents:
                    create(run, step)
        try:
            await self._ended(scenario, self._observer.ended, scenario.steps, "bare Pods")
        finally:
            self._observer.on_end = None
            await asyncio.gather(*creates)
        seconds = max(self._observer.ended.values()) - start
        await asyncio.sleep(QUIET)
        events = await self._log.events(self._cluster)
        return Measure(seconds, os.getloadavg()[0], self._reactions(scenario, names, events))

    async def clear(self) -> None:
        """Delete all runs and Pods, and wait until the kubelet has let go of them: the next pass begins as this did."""
        for path in (resource(API_VERSION, self._namespace, "workflowruns"), resource("v1", self._namespace, "pods")):
            await self._cluster.call("DELETE", path, {"propagationPolicy": "Background"})
        observer = self._observer
        observer.troubles.clear()
        await observer.until(
            "the removal of runs and Pods",
            lambda: not observer.live_runs and not observer.live_pods,
            GONE_TIMEOUT,
            lambda: f"{len(observer.live_runs)} runs, {len(observer.live_pods)} Pods",
        )
        await asyncio.sleep(1)

    async def _create(self, path: str, body: dict[str, Any]) -> None:
        async with self._slots:  # the client's time-outs count from here, and not while the call waits for its turn
            await self._cluster.call("POST", path, body)

    def _begin(self, scenario: Scenario) -> list[str]:
        self._count += 1
        self._observer.clear()
        return [f"{scenario.name}-{self._count}-{n}" for n in range(scenario.runs)]

    async def _ensure_workflow(self, scenario: Scenario) -> None:
        path = resource(API_VERSION, self._namespace, "workflows")
        try:
            await self._cluster.call("POST", path, scenario.workflow())
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    async def _reads(self, operator: Operator) -> float:
        return await writes.reads(self._cluster, await operator.metrics())

    async def _ended(self, scenario: Scenario, done: dict[str, Any], wanted: int, what: str) -> None:
        observer = self._observer

        def seen() -> str:
            phases = dict(Counter(observer.phases.values())) if observer.phases else ""
            return f"{len(done)}/{wanted} ended, {len(observer.ended)} Pods of {len(observer.created)} ended {phases}"

        await observer.until(f"{scenario.name}, {what}", lambda: len(done) >= wanted, scenario.timeout, seen)

    async def _released(self) -> None:
        """Wait for the end of the operator's work on the Pods."""
        observer = self._observer
        await observer.until(
            "the release of all Pods",
            lambda: not any(pod.held or not pod.ended for pod in observer.live_pods.values()),
            30,
            lambda: (
                f"{sum(pod.held for pod in observer.live_pods.values())} held, "
                f"{sum(not pod.ended for pod in observer.live_pods.values())} not ended"
            ),
        )
        await asyncio.sleep(QUIET)

    def _reactions(self, scenario: Scenario, runs: list[str], events: list[Any]) -> list[float]:
        pod_of = self._observer.pod_of
        edges = {
            pod_of[run, step]: tuple(pod_of[run, parent] for parent in parents)
            for run in runs
            for step, parents in scenario.parents.items()
            if (run, step) in pod_of
        }
        return writes.reactions(edges, events, created=self._observer.created, ended=self._observer.ended)
