"""What one write of a run's status costs the API server, by how the run came to its workflow.

    python -m tests.bench.statuses [--steps N] [--writes N]

The API server decodes, validates, compares and encodes the whole run each time, so its schema and rules cost as much as
its size (docs/adr/0032-rules-of-runs.md). No operator works meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from typing import Any

from adze.core.model import API_VERSION
from adze.shell.cluster import JSON_PATCH, MERGE, METADATA, Cluster, resource

from . import client
from .table import quantile


def _steps(count: int) -> list[dict[str, Any]]:
    return [
        {"name": f"s{n}", "image": "none", "command": ["true"], "parents": [f"s{n - 1}"] if n else []}
        for n in range(count)
    ]


def _status(count: int, ended: int) -> dict[str, Any]:
    attempt = {"number": 1, "pod": "pod", "startTime": "2026-01-01T00:00:00Z", "finishTime": "2026-01-01T00:00:01Z"}
    done = {"phase": "Succeeded", "attempts": [attempt]}
    steps = [{"name": f"s{n}", **(done if n < ended else {"phase": "Pending"})} for n in range(count)]
    return {"phase": "Running", "progress": f"{ended}/{count}", "steps": steps}


async def _cpu(cluster: Cluster) -> float:
    """Seconds of CPU that the API server has used, by its own count."""
    found = re.search(rb"^process_cpu_seconds_total (\S+)$", await cluster.call("GET", "/metrics"), re.MULTILINE)
    return float(found[1]) if found else 0.0


async def measure(
    cluster: Cluster, namespace: str, name: str, spec: dict[str, Any], options: argparse.Namespace
) -> str:
    """The steps of one run end one by one, each with a write."""
    path = resource(API_VERSION, namespace, "workflowruns")
    run = {"apiVersion": API_VERSION, "kind": "WorkflowRun", "metadata": {"name": name}, "spec": spec}
    await cluster.call("POST", path, run)
    frozen = {"workflowSpec": {"steps": _steps(options.steps)}, **_status(options.steps, 0)}
    await cluster.call("PATCH", f"{path}/{name}/status", {"status": frozen}, MERGE)
    took, before = [], await _cpu(cluster)
    for write in range(options.writes):
        fields = _status(options.steps, 1 + write % options.steps)
        patch = [{"op": "add", "path": f"/status/{field}", "value": value} for field, value in fields.items()]
        start = time.monotonic()
        await cluster.call("PATCH", f"{path}/{name}/status", patch, JSON_PATCH, METADATA)
        took.append(1000 * (time.monotonic() - start))
    cpu = 1000 * (await _cpu(cluster) - before) / options.writes
    size = len(await cluster.call("GET", f"{path}/{name}"))
    p50, p99 = quantile(sorted(took), 0.5), quantile(sorted(took), 0.99)
    return (
        f"{name}: {options.steps} steps, {size / 1024:.0f} KiB; "
        f"a write takes {cpu:.1f} ms CPU of the API server, p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    )


async def run(options: argparse.Namespace) -> None:
    """A run of each kind in a namespace of its own."""
    async with client.place(client.ready()) as (cluster, namespace, _):
        for name, spec in (
            ("own-workflow", {"workflowSpec": {"steps": _steps(options.steps)}}),
            ("by-name", {"workflow": "somewhere"}),
        ):
            print(await measure(cluster, namespace, name, spec, options))


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--writes", type=int, default=150)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
