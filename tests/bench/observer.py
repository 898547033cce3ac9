"""Watches the bench's runs and Pods, and notes when it saw what. It never polls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from adze.core import names
from adze.core.model import API_VERSION
from adze.core.pods import Pod
from adze.shell.cluster import Cluster, resource, selector
from adze.shell.watch import Watch

from .progress import say

HEARTBEAT = 10.0
FINAL = frozenset({"Succeeded", "Failed", "Cancelled"})


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    uid: str
    resource_version: str


class _Status(msgspec.Struct):
    phase: str = ""
    reason: str = ""
    message: str = ""


class _Run(msgspec.Struct):
    """Just enough of a run: decoding the rest of a wide one would disturb what is measured."""

    metadata: _Metadata
    status: _Status = msgspec.field(default_factory=_Status)


class Observer:
    """What was seen since `clear`: Pods and runs by name, with times of arrival in seconds since the epoch."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        pods = resource("v1", namespace, "pods")
        runs = resource(API_VERSION, namespace, "workflowruns")
        labels = selector({names.MANAGED_BY: "adze"})
        self._watches: list[Watch[Any]] = [
            Watch(cluster, pods, labels, Pod, lambda pod: (pod.metadata.uid, pod.metadata.resource_version), self._pod),
            Watch(cluster, runs, "", _Run, lambda run: (run.metadata.uid, run.metadata.resource_version), self._run),
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self.live_pods: dict[str, Pod] = {}
        self.live_runs: set[str] = set()
        self.on_end: Callable[[str, str], None] | None = None
        """Called with run and step as soon as a step's container has ended well."""
        self.clear()

    def clear(self) -> None:
        """Forget the times."""
        self.pod_of: dict[tuple[str, str], str] = {}
        self.created: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.finished: dict[str, float] = {}
        self.phases: dict[str, str] = {}
        self.troubles: list[str] = []

    async def start(self) -> None:
        """Begin to watch; returns once what is there is known."""
        self._tasks = [asyncio.create_task(watch.run()) for watch in self._watches]
        for watch in self._watches:
            await asyncio.wait_for(watch.synced.wait(), 15)

    async def stop(self) -> None:
        """End the watches."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _pod(self, old: Pod | None, new: Pod | None) -> None:
        now = time.time()
        if new is None:
            assert old is not None
            self.live_pods.pop(old.name, None)
        else:
            self.live_pods[new.name] = new
            self._note(new, now)
        self._changed.set()

    def _note(self, pod: Pod, now: float) -> None:
        labels = pod.metadata.labels
        key = labels.get(names.RUN, ""), labels.get(names.STEP, "")
        if pod.name not in self.created:
            self.created[pod.name] = now
            self.pod_of[key] = pod.name
        terminated = pod.main.terminated
        if terminated and pod.name not in self.ended:
            self.ended[pod.name] = now
            if terminated.exit_code:
                self.troubles.append(f"Pod {pod.name}: exit code {terminated.exit_code} {terminated.message}")
            elif self.on_end:
                self.on_end(*key)
        elif pod.status.phase == "Failed" and not terminated:
            self.troubles.append(f"Pod {pod.name}: {pod.status.reason} {pod.status.message}")

    def _run(self, old: _Run | None, new: _Run | None) -> None:
        now = time.time()
        if new is None:
            assert old is not None
            self.live_runs.discard(old.metadata.name)
        else:
            name, status = new.metadata.name, new.status
            self.live_runs.add(name)
            self.phases[name] = status.phase
            if status.phase in FINAL and name not in self.finished:
                self.finished[name] = now
                if status.phase != "Succeeded":
                    self.troubles.append(f"run {name}: {status.phase}: {status.reason}: {status.message}")
        self._changed.set()

    async def until(self, what: str, done: Callable[[], bool], timeout: float, seen: Callable[[], str]) -> None:
        """Wait for a condition; says what it sees as it waits. TimeoutError, or RuntimeError once something failed."""
        start = time.monotonic()
        spoke = start
        while not done():
            if self.troubles:
                raise RuntimeError(f"{what}: {'; '.join(self.troubles[:3])}")
            now = time.monotonic()
            if now - start > timeout:
                raise TimeoutError(f"waited {timeout:.0f} s for {what}; saw {seen()}")
            if now - spoke > HEARTBEAT:
                say(f"  waiting for {what}: {seen()} ({now - start:.0f} s)")
                spoke = now
            self._changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 1)
