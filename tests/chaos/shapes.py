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


def flaky(name: str, wait: float) -> Object:
    """One step that fails once, and is tried again after so many seconds: two Pods."""
    backoff = {"type": "Constant", "base": f"{wait:.1f}s"}
    return run(name, step("a", command=FLAKY, retries=1, backoff=backoff))


def pair(name: str, *, pause: float = 0.0) -> Object:
    """Two steps, the second of which fails once: three Pods."""
    sleep = f"sleep {pause}; " if pause else ""
    return run(name, step("a", command=f"{sleep}true"), step("b", "a", command=f"{sleep}{FLAKY}", **RETRIED))


def key(text: str, **fields: Any) -> Object:
    """A concurrency entry. Its text ends with its limit, by which the checker knows it: `api-2`."""
    return {"key": text, "maxRuns": int(text.rpartition("-")[2]), "scope": "chaos", **fields}


def fan(name: str, *, pause: float = 0.0, items: int = 3, **fields: Any) -> Object:
    """A step for each item, two at a time, one of which fails once; then one that waits for all: two Pods more."""
    sleep = f"sleep {pause}; " if pause else ""
    command = f"{sleep}test $ADZE_ITEM != 1 || {FLAKY}"
    each = step("each", command=command, forEach="input.list", maxParallel=2, **{**RETRIED, **fields})
    return run(name, each, step("join", "each"), spec={"input": {"list": list(range(items))}})


def keyed(name: str, *, pause: float = 0.0) -> Object:
    """A pair that holds a key as a run, and its steps another."""
    waits = {"concurrency": [key("step-2")]}
    sleep = f"sleep {pause}; " if pause else ""
    return run(
        name,
        step("a", command=f"{sleep}true", **waits),
        step("b", "a", command=f"{sleep}{FLAKY}", **RETRIED, **waits),
        concurrency=[key("run-3")],
    )


def queued_fan(name: str) -> Object:
    """A fan-out of two that holds a key as a run, and one for each item."""
    found = fan(name, items=2, concurrency=[key("item-2")])
    found["spec"]["workflowSpec"]["concurrency"] = [key("run-1")]
    return found


def mixed(name: str, number: int, *, pause: float = 0.0) -> Object:
    """A diamond, a fan-out, a pair with keys, a fan-out whose items queue: by the number's turn."""
    match number % 4:
        case 0:
            return diamond(name, pause=pause)
        case 1:
            return fan(name, pause=pause)
        case 2:
            return keyed(name, pause=pause)
    return fan(name, pause=pause, concurrency=[key("item-3")])


def several(count: int, *, letter: str = "r", pause: float = 0.0) -> list[Object]:
    """So many of them."""
    return [mixed(f"{letter}{number}", number, pause=pause) for number in range(count)]


def latest(name: str, *, pause: float = 0.0) -> Object:
    """A step that the next run of this shape cancels."""
    entry = key("latest-1", strategy="CancelInProgress")
    return run(name, step("a", command=f"sleep {pause}"), concurrency=[entry])


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


def hardy_fan(name: str, *, pause: float = 2.0) -> Object:
    """The same with items, which queue."""
    more: Object = {"retries": 8, "backoff": {"type": "Constant", "base": "1s"}}
    return fan(name, pause=pause, items=4, concurrency=[key("item-3")], **more)
