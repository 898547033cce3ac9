"""How late schedules start their runs."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from typing import Any

from adze.core.model import API_VERSION
from adze.shell.cluster import Cluster, resource

from .process import Operator
from .scenarios import IMAGE
from .table import quantile

WORKFLOWS = 5
RUNS = 100
TIMEOUT = 60.0


async def measure(cluster: Cluster, namespace: str, _operator: Operator) -> str:
    """A line for the report: from ticks to the starts of their runs, five a second. TimeoutError if they don't."""
    workflows = resource(API_VERSION, namespace, "workflows")
    names = [f"clock-{number}" for number in range(WORKFLOWS)]
    for name in names:
        await cluster.call("POST", workflows, _workflow(name))
    path = resource(API_VERSION, namespace, "workflowruns")
    deadline = time.monotonic() + TIMEOUT
    while len(late := [ms for run in await _runs(cluster, path) if (ms := _late(run)) is not None]) < RUNS:
        if time.monotonic() > deadline:
            raise TimeoutError(f"schedules: {len(late)} of {RUNS} runs started within {TIMEOUT:.0f} s")
        await asyncio.sleep(1)
    for name in names:
        await cluster.call("DELETE", f"{workflows}/{name}")
    shown = ", ".join(f"p{part * 100:.0f} {quantile(late, part):.0f} ms" for part in (0.5, 0.99))
    return f"schedules: {len(late)} runs, {WORKFLOWS} at each second, from tick to start {shown} (target: p99 100 ms)"


def _workflow(name: str) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "Workflow",
        "metadata": {"name": name},
        "spec": {
            "on": {"cron": [{"schedule": "* * * * * *"}]},
            "steps": [{"name": "a", "image": IMAGE, "when": "false"}],
        },
    }


async def _runs(cluster: Cluster, path: str) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = json.loads(await cluster.call("GET", path, labelSelector="adze.dev/trigger=cron"))[
        "items"
    ]
    return answer


def _late(run: dict[str, Any]) -> float | None:
    """Milliseconds from a run's tick to its start, once it has started."""
    status = run.get("status", {})
    if "startTime" not in status:
        return None
    start, tick = (datetime.fromisoformat(text) for text in (status["startTime"], status["trigger"]["time"]))
    return (start - tick).total_seconds() * 1000
