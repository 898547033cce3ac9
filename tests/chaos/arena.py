"""One scenario's namespace: its operators, its runs, its recorder, and its result."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

from adze.core.model import API_VERSION, Run
from adze.shell.cluster import ApiError, resource
from tests.cluster.audit import Event

from . import checker
from .checker import LEASES, OPERATOR, Verdict, Word
from .history import Breach
from .lab import Lab, say
from .process import Operator
from .proxy import Proxy
from .recorder import Recorder
from .traffic import Traffic

CALM = 1.5
"""Seconds without a change after which what looks ended is taken as such."""
STILL = 3.0
"""Seconds in which the operator must write nothing once all has ended."""
HEARTBEAT = 15.0
WORDS = ("events", LEASES)
"""What the operator writes beside the state of runs."""
_numbers = itertools.count(1)


@dataclass
class Result:
    """A line of the report."""

    name: str
    faults: Counter[str]
    runs: int
    writes: int
    resumed: float | None
    settled: float
    verdict: Verdict
    notes: list[str] = field(default_factory=list)


class Arena:
    """Used as a context: the namespace is made before and removed after."""

    def __init__(self, lab: Lab, name: str, seed: int) -> None:
        self.lab = lab
        self.name = name
        self.namespace = f"{name}-{os.getpid()}-{next(_numbers)}"
        self.chance = Random(f"{seed}/{name}")
        self.recorder = Recorder(lab.cluster, self.namespace)
        self.operators: list[Operator] = []
        self.traffic = Traffic(self)
        self.faults: Counter[str] = Counter()
        self.notes: list[str] = []
        self.created = 0
        self.may_end = False
        self.prelude = ""
        self.fault_over: float | None = None
        self._mark = lab.mark()
        self._tending: asyncio.Task[None] | None = None
        self._paths: list[Path] = []
        self._lease = ""

    async def __aenter__(self) -> Arena:
        await self.lab.namespace(self.namespace)
        await self.recorder.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tending:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)
        await self.traffic.close()
        for operator in self.operators:
            operator.close()
        await self.recorder.stop()
        with suppress(RuntimeError):
            await self.sweep()

    async def sweep(self) -> None:
        """Remove the namespace, and our finalizers from what is left in it."""
        await self.lab.kubectl("delete", "namespace", self.namespace, "--wait=false", "--ignore-not-found")
        for pod in list(self.recorder.pods.values()):
            if pod.held:
                path = resource("v1", self.namespace, "pods", pod.name)
                with suppress(TimeoutError, ApiError):
                    await self.lab.patch(path, {"metadata": {"finalizers": None}})

    # Operators

    async def operate(self, number: int = 1, via: Sequence[Path] = (), lease: str = "") -> list[Operator]:
        """Start operators, each by its own kubeconfig if given, and wait until they work; tend them from now on."""
        paths = list(via) or [self.lab.node.kubeconfig] * number
        self._paths, self._lease = paths, lease
        self.operators = [Operator(path, self.namespace, lease, self.prelude) for path in paths]
        await asyncio.gather(*(operator.ready() for operator in self.operators))
        if self._tending is None:
            self._tending = asyncio.create_task(self._tend())
        return self.operators

    def kill(self, index: int = 0) -> None:
        """kill -9 of an operator; what a Deployment does then, happens."""
        self.faults["kill -9 operator"] += 1
        self.operators[index].kill()
        self.start(index)

    def start(self, index: int = 0) -> None:
        """A new process in the place of one that has ended."""
        self.operators[index].close()
        self.operators[index] = Operator(self._paths[index], self.namespace, self._lease, self.prelude)

    async def _tend(self) -> None:
        """Start an operator that ended by itself again, as the kubelet would, and note it: it never should."""
        while True:
            await asyncio.sleep(0.5)
            for index, operator in enumerate(self.operators):
                if not operator.alive and not operator.killed:
                    said = operator.log(4).strip()
                    if not self.may_end:
                        self.notes.append(f"operator {index} ended by itself: {said[-300:]}")
                        say(f"{self.name}: {self.notes[-1]}")
                    self.start(index)
                    await asyncio.sleep(2)

    async def leader(self) -> str:
        """Who holds the Lease; empty if nobody does."""
        path = resource("coordination.k8s.io/v1", self.namespace, "leases", "adze")
        found = await self.lab.until("the Lease", lambda: self.lab.call("GET", path), 20)
        return str(found["spec"].get("holderIdentity") or "")

    async def kill_leader(self) -> str:
        """kill -9 of the operator that holds the Lease; its identity."""
        holder = await self.leader()
        self.kill(self._index(holder))
        return holder

    async def freeze_leader(self) -> str:
        """Stop the operator that holds the Lease; its identity."""
        holder = await self.leader()
        self.operators[self._index(holder)].freeze()
        self.faults["leader frozen"] += 1
        return holder

    def _index(self, holder: str) -> int:
        names = [operator.instance for operator in self.operators]
        return names.index(holder.partition("_")[0])

    def thaw_all(self) -> None:
        """Let every operator go on."""
        for operator in self.operators:
            operator.thaw()

    # Runs

    async def create(self, runs: Sequence[dict[str, Any]], every: float = 0.0) -> None:
        """Create runs, or what starts one, at once or one each `every` seconds."""
        self.created += len(runs)
        if not every:
            await asyncio.gather(*(self.lab.create(self.namespace, run) for run in runs))
            return
        for run in runs:
            await self.lab.create(self.namespace, run)
            await asyncio.sleep(every)

    def path(self, plural: str, name: str = "", sub: str = "") -> str:
        """The path of one of the namespace's objects."""
        group = API_VERSION if plural.startswith("workflow") else "v1"
        return resource(group, self.namespace, plural, name, sub)

    @property
    def running(self) -> list[Run]:
        """Runs that have not ended."""
        return [run for run in self.recorder.runs.values() if not run.status.phase.final]

    def over(self) -> None:
        """From here on there are no faults."""
        self.fault_over = time.time()

    async def quiet(
        self, patience: float, may_wait: Callable[[Run], bool] = lambda run: False, calm: float = CALM
    ) -> float:
        """Wait until every run has ended and nothing is left of it; the seconds that took. It gives up in the end."""
        start = spoke = time.monotonic()
        calm_since = start
        revisions = self.recorder.revisions
        while True:
            now = time.monotonic()
            if self.recorder.revisions != revisions:
                revisions, calm_since = self.recorder.revisions, now
            runs = [run for run in self.running if not may_wait(run)]
            left = [pod for pod in self.recorder.pods.values() if checker.left_over(pod)]
            events = [event for event in self.recorder.events.values() if not event.status.processed_time]
            slots = len(self.recorder.slots)
            if not (runs or left or events or slots) and now - calm_since >= calm:
                return calm_since - start
            seen = f"{len(runs)} runs have not ended, {len(left)} Pods, {len(events)} events, {slots} slots are left"
            if now - start > patience:
                examples = [f"{run.metadata.name}: {run.status.reason} {run.status.message}" for run in runs[:3]]
                self.notes.append(f"not quiet within {patience:.0f} s: {seen} {examples}")
                return now - start
            if now - spoke > HEARTBEAT:
                say(f"{self.name}: {seen} ({now - start:.0f} s)")
                spoke = now
            await asyncio.sleep(0.2)

    async def see(self, what: str, condition: Callable[[], bool], timeout: float = 60) -> None:
        """Wait until the recorded state satisfies a condition."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {timeout:.0f} s for {what}; saw {[*map(str, self.recorder.last())]}")
            self.recorder.changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.recorder.changed.wait(), 0.5)

    # The result

    async def result(
        self, patience: float = 120, *, stripped: bool = False, may_wait: Callable[[Run], bool] = lambda run: False
    ) -> Result:
        """Wait for quiet, then decide."""
        if self.fault_over is None:
            self.over()
        await self.traffic.end()
        settled = await self.quiet(patience, may_wait)
        await self.recorder.complete()
        breaches = await self._stillness()
        events = self.lab.audit(self._mark, self.namespace)
        history = self.recorder.history()
        self.notes.append(str(history))
        verdict = checker.check(history, stripped=stripped, audit=events, may_wait=may_wait)
        if breaches and not verdict.gaps:
            verdict.breaches += breaches
            verdict.word = Word.BROKEN
        writes = [event for event in events if event.client == OPERATOR and event.resource not in WORDS]
        if self.recorder.catch_ups:
            self.notes.append(f"the recorder read {self.recorder.catch_ups} times what its watch had missed")
        return Result(
            self.name, self.faults, self.created, len(writes), self._resumed(writes), settled, verdict, self.notes
        )

    async def _stillness(self) -> list[Breach]:
        """L1, second half: once all has ended, our writes end too."""
        await asyncio.sleep(1)  # the log is written a little later
        mark = self.lab.mark()
        await asyncio.sleep(STILL)
        noted = self.lab.audit(mark, self.namespace)
        some = [event for event in noted if event.client == OPERATOR and event.resource != LEASES]
        if not some:
            return []
        shown = ", ".join(f"{event.verb} {event.resource} {event.name} {event.status}" for event in some[:5])
        return [Breach("L1", f"{len(some)} writes of the operator in {STILL:.0f} s of quiet: {shown}")]

    def _resumed(self, writes: Sequence[Event]) -> float | None:
        """Seconds from the end of the faults to the operator's next write that succeeded."""
        assert self.fault_over is not None
        moments = [datetime.fromisoformat(event.time).timestamp() for event in writes if 0 < event.status < 400]
        later = [moment - self.fault_over for moment in moments if moment >= self.fault_over]
        return min(later, default=None)


async def for_seconds(seconds: float, every: Callable[[], float], act: Callable[[], Awaitable[None]]) -> None:
    """Do something again and again, with a pause before each, until the time is over."""
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        await asyncio.sleep(min(every(), max(0.0, end - now)))
        if time.monotonic() < end:
            await act()


def proxied(arena: Arena, proxies: Sequence[Proxy]) -> list[Path]:
    """A kubeconfig for each proxy."""
    return [
        proxy.kubeconfig(arena.lab.work / f"{arena.namespace}-{index}.kubeconfig")
        for index, proxy in enumerate(proxies)
    ]
