"""The runs that suffer."""

from __future__ import annotations

from typing import Any

from adze.core.model import API_VERSION
from tests.cluster.images import BUSYBOX_IMAGE

Object = dict[str, Any]
FLAKY = "test $ADZE_ATTEMPT -gt 1"
"""A command whose first attempt fails."""


def step(name: str, *parents: str, command: str = "true", **fields: Any) -> Object:
    """A step that runs a shell command."""
    found: Object = {"name": name, "image": BUSYBOX_IMAGE, "command": ["sh", "-c", command], **fields}
    return found | ({"parents": list(parents)} if parents else {})


def run(name: str, *steps: Object, spec: Object | None = None, **workflow: Any) -> Object:
    """A run with an inline workflow; `spec` are further fields of the run's spec."""
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkflowRun",
        "metadata": {"name": name},
        "spec": {"workflowSpec": {"steps": list(steps), **workflow}, **(spec or {})},
    }


RETRIED: Object = {"retries": 1, "backoff": {"type": "Constant", "base": "1s"}}


def diamond(name: str, *, pause: float = 0.0, **workflow: Any) -> Object:
    """Four steps, one of which fails once: five Pods. Every command takes `pause` seconds."""
    sleep = f"sleep {pause}; " if pause else ""
    return run(
        name,
        step("a", command=f"{sleep}true"),
        step("b", "a", command=f"{sleep}true"),
        step("c", "a", command=f"{sleep}{FLAKY}", **RETRIED),
        step("d", "b", "c", command=f"{sleep}true"),
        **workflow,
    )


def pair(name: str, *, pause: float = 0.0) -> Object:
    """Two steps, the second of which fails once: three Pods."""
    sleep = f"sleep {pause}; " if pause else ""
    return run(name, step("a", command=f"{sleep}true"), step("b", "a", command=f"{sleep}{FLAKY}", **RETRIED))


def hardy(name: str, *, pause: float = 2.0) -> Object:
    """A diamond whose steps have retries to spare, for when users and nodes take Pods away."""
    more: Object = {"retries": 8, "backoff": {"type": "Constant", "base": "1s"}}
    command = f"sleep {pause}"
    return run(
        name,
        step("a", command=command, **more),
        step("b", "a", command=command, **more),
        step("c", "a", command=command, **more),
        step("d", "b", "c", command=command, **more),
    )
