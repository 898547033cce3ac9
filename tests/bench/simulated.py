"""A node without a kubelet, on a real control plane: its Pods end as fast as somebody can write it down.

What a wide fan-out costs API server, scheduler and operator can so be seen without ten thousand containers.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from adze.core import names
from adze.core.pods import Pod
from adze.shell.cluster import MERGE, STRATEGIC, ApiError, Cluster, resource
from adze.shell.watch import Watch

NODE = "adze-simulated"
HEARTBEAT = 10.0
WRITERS = 4
"""Statuses written at a time, as by KWOK (podPlayStageParallelism). A kubelet writes one after the other."""
_NODES = resource("v1", None, "nodes")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class SimulatedNode:
    """Takes the Pods of some namespaces while all other nodes are cordoned."""

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        """`seconds` is how long a Pod runs."""
        self._cluster = cluster
        self._seconds = seconds
        self._begun: set[str] = set()
        self._turn = asyncio.Semaphore(WRITERS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._cordoned: list[str] = []
        self._served: list[str] = []

    async def start(self) -> None:
        """Join the cluster and cordon the others."""
        await self._cluster.call("POST", _NODES, {"metadata": {"name": NODE, "labels": {names.GROUP: "simulated"}}})
        await self._beat()
        for node in await self._others():
            await self._cluster.call("PATCH", f"{_NODES}/{node}", {"spec": {"unschedulable": True}}, MERGE)
            self._cordoned.append(node)
        self._spawn(self._beat_on())

    async def serve(self, namespace: str, ended: Callable[[Pod], None]) -> dict[str, float]:
        """Take the Pods of a namespace. `ended` is told of each end. What is answered fills with when each was first
        seen, by name, in seconds of the monotonic clock."""
        created: dict[str, float] = {}
        self._served.append(namespace)

        def seen(old: Pod | None, new: Pod | None) -> None:
            pod = new or old
            assert pod is not None
            created.setdefault(pod.name, time.monotonic())
            if new and new.spec.node_name == NODE and not new.ended and new.metadata.uid not in self._begun:
                self._begun.add(new.metadata.uid)
                self._spawn(self._live(new, ended))

        watch = Watch(self._cluster, resource("v1", namespace, "pods"), names.RUN_UID, Pod, _identity, seen)
        self._spawn(watch.run())
        await watch.synced.wait()
        return created

    async def stop(self) -> None:
        """Leave the cluster as it was."""
        for task in self._tasks:
            task.cancel()
        for namespace in self._served:
            # Nobody would ever report that these have ended.
            alive = {"fieldSelector": f"spec.nodeName={NODE},status.phase!=Succeeded"}
            await self._cluster.call("DELETE", resource("v1", namespace, "pods"), {"gracePeriodSeconds": 0}, **alive)
        for node in self._cordoned:
            await self._cluster.call("PATCH", f"{_NODES}/{node}", {"spec": {"unschedulable": None}}, MERGE)
        await self._cluster.call("DELETE", f"{_NODES}/{NODE}")

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _others(self) -> list[str]:
        found = json.loads(await self._cluster.call("GET", _NODES))["items"]
        return [node["metadata"]["name"] for node in found if node["metadata"]["name"] != NODE]

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            await self._beat()

    async def _beat(self) -> None:
        size = {"cpu": "10k", "memory": "10Ti", "pods": "100k"}
        ready = {"type": "Ready", "status": "True", "reason": "Simulated", "lastHeartbeatTime": _now()}
        body = {"status": {"capacity": size, "allocatable": size, "conditions": [ready]}}
        await self._cluster.call("PATCH", f"{_NODES}/{NODE}/status", body, MERGE)

    async def _live(self, pod: Pod, told: Callable[[Pod], None]) -> None:
        path = resource("v1", pod.metadata.namespace, "pods", pod.name)
        started = _now()
        await asyncio.sleep(self._seconds)
        ended = {"exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": _now()}
        ended["message"] = f'{{"item": "{pod.metadata.labels.get(names.ITEM, "")}"}}'
        container = {"name": names.MAIN, "image": "none", "imageID": "", "ready": False, "restartCount": 0}
        status = {"phase": "Succeeded", "containerStatuses": [{**container, "state": {"terminated": ended}}]}
        while True:
            try:
                async with self._turn:
                    # Strategic, as a kubelet's: a merge patch would cost the API server half as much again.
                    await self._cluster.call("PATCH", f"{path}/status", {"status": status}, STRATEGIC)
                break
            except ApiError as error:
                if error.code == 404:
                    break
                await asyncio.sleep(1)
        told(pod)


def _identity(pod: Pod) -> tuple[str, str]:
    return pod.metadata.uid, pod.metadata.resource_version
