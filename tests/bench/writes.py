"""What the API server noted: the operator's writes by purpose, and how fast one Pod follows another."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from adze.shell.cluster import Cluster, resource
from tests.cluster import audit

OPERATOR = "adze-operator"
PURPOSES = ("status", "create", "gate", "finalizer", "delete", "event", "other")
CONFLICT = 409
NOTED_TIMEOUT = 15.0


class Log:
    """The audit log from `mark` on, of one namespace. Without a log there are no writes to count."""

    def __init__(self, path: Path | None, namespace: str) -> None:
        self.path = path
        self._namespace = namespace
        self._offset = 0
        self._marks = 0

    def mark(self) -> None:
        """Begin here."""
        if self.path:
            self._offset = audit.end(self.path)

    async def events(self, cluster: Cluster) -> list[audit.Event]:
        """The writes since `mark`, once the API server has noted all of them: it does so a little later, in order."""
        if not self.path:
            return []
        self._marks += 1
        name = f"mark-{self._marks}"
        configmap = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        await cluster.call("POST", resource("v1", self._namespace, "configmaps"), configmap)
        deadline = time.monotonic() + NOTED_TIMEOUT
        while True:
            some = [event for event in audit.events(self.path, self._offset) if event.namespace == self._namespace]
            if any(event.resource == "configmaps" and event.name == name for event in some):
                return some
            if time.monotonic() > deadline:
                raise TimeoutError(f"ConfigMap {name} is not in {self.path} after {NOTED_TIMEOUT:.0f} s")
            await asyncio.sleep(0.3)


def count(events: Iterable[audit.Event]) -> tuple[Counter[str], int]:
    """The operator's writes by purpose, and how many of them met a conflict.

    Gate and finalizer are both patches of a Pod, and only their bodies differ, which the log doesn't hold; but the
    protocol opens a gate before it lets go.
    """
    purposes: Counter[str] = Counter()
    conflicts = 0
    opened: set[str] = set()
    for event in events:
        if event.client != OPERATOR:
            continue
        purposes[_purpose(event, opened)] += 1
        conflicts += event.status == CONFLICT
        if (event.verb, event.resource) == ("patch", "pods") and event.status < 400:
            opened.add(event.name)
    return purposes, conflicts


def _purpose(event: audit.Event, opened: set[str]) -> str:
    match event.verb, event.resource:
        case "patch" | "update", "workflowruns.adze.dev/status":
            return "status"
        case "create", "pods":
            return "create"
        case "patch", "pods":
            return "finalizer" if event.name in opened else "gate"
        case "delete", "pods":
            return "delete"
        case "create", "events":
            return "event"
    return "other"


def reactions(
    edges: Mapping[str, tuple[str, ...]],
    events: Iterable[audit.Event],
    *,
    created: Mapping[str, float],
    ended: Mapping[str, float],
) -> list[float]:
    """Seconds from the moment when a Pod's last parent had ended to the moment when it was created.

    `edges` gives each Pod's parents; `created` and `ended` are what a watch saw, and when. Both moments are those at
    which the API server had answered a write: the create, and the kubelet's status patch that told of the ended
    container. That is the one nearest to the watch's sight of the end: hundreds of milliseconds lie between the
    kubelet's patches of a Pod, and a watch may well tell of one before a busy server notes it answered. Without an
    audit log both moments are the watch's.
    """
    creates: dict[str, float] = {}
    patches: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.status >= 400:
            continue
        if (event.verb, event.resource) == ("create", "pods"):
            creates[event.name] = _seconds(event.time)
        elif (event.verb, event.resource) == ("patch", "pods/status"):
            patches[event.name].append(_seconds(event.time))
    exact = {pod: _nearest(seen, patches[pod]) for pod, seen in ended.items() if pod in patches}
    if not creates:
        creates, exact = dict(created), dict(ended)
    return [
        creates[pod] - max(exact[parent] for parent in parents)
        for pod, parents in edges.items()
        if parents and pod in creates and all(parent in exact for parent in parents)
    ]


def _nearest(moment: float, others: Iterable[float]) -> float:
    return min(others, key=lambda other: abs(other - moment))


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


_SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+)$")


def total(metrics: str, name: str, **labels: str) -> float | None:
    """The sum of a counter's samples that carry these labels in a Prometheus text; None if it has no sample at all."""
    found = [match for line in metrics.splitlines() if line.startswith(name) and (match := _SAMPLE.match(line))]
    samples = [match for match in found if match[1] == name]
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    if not samples:
        return None
    return sum(float(match[3]) for match in samples if all(pair in match[2].split(",") for pair in wanted))


async def reads(cluster: Cluster, own: str) -> float:
    """GETs so far, by the operator's own count; where it keeps none, all GETs of our kinds that the server counted."""
    mine = total(own, "adze_api_calls_total", method="GET")
    if mine is not None:
        return mine
    text: Any = await cluster.call("GET", "/metrics")
    return total(text.decode(), "apiserver_request_total", group="adze.dev", verb="GET") or 0.0
