"""What a queue costs: how soon the next run follows, what it writes, and a thousand runs that wait.

python -m tests.bench.admission      # the decision alone, in memory: no cluster needed
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from adze.core import admission, slots
from adze.core.calls import Failure, Problem, ReadRun, TakeSlot
from adze.core.model import API_VERSION, Metadata, Run, RunSpec, Strategy
from adze.core.queues import Queues
from adze.core.slots import RUN, Need, Slot, Want
from adze.shell.cluster import MERGE, Cluster, resource
from adze.shell.outside import utcnow
from tests.cluster.audit import Event

from .process import Operator
from .progress import say
from .scenarios import IMAGE
from .table import quantile
from .writes import OPERATOR, Log, total

KEYS, EACH = 4, 10
"""Keys with one slot, and runs of each, of the reaction."""
WAITING, MANY = 1000, 50
"""Runs that wait, and keys over which they do."""
IDLE = 10.0
CALLS = 40
TIMEOUT = 180.0


async def measure(cluster: Cluster, namespace: str, operator: Operator, log: Log) -> list[str]:
    """Lines for the report. TimeoutError if runs don't get on."""
    await cluster.call("POST", resource(API_VERSION, namespace, "workflows"), _workflow("short", {"command": ["true"]}))
    await cluster.call(
        "POST", resource(API_VERSION, namespace, "workflows"), _workflow("holds", {"approval": {"message": "go on?"}})
    )
    lines = [await _reaction(cluster, namespace, log)]
    lines += await _crowd(cluster, namespace, operator)
    return [*lines, decisions()]


def _workflow(name: str, kind: dict[str, Any]) -> dict[str, Any]:
    step = {"name": "a", **({"image": IMAGE} if "command" in kind else {}), **kind}
    spec = {"concurrency": [{"key": "${input.key}", "maxRuns": 1}], "steps": [step]}
    return {"apiVersion": API_VERSION, "kind": "Workflow", "metadata": {"name": name}, "spec": spec}


async def _create(cluster: Cluster, namespace: str, workflow: str, keys: int, each: int) -> None:
    """Runs named WORKFLOW-KEY-NUMBER."""
    path, turn = resource(API_VERSION, namespace, "workflowruns"), asyncio.Semaphore(CALLS)

    async def create(number: int) -> None:
        key = f"k{number % keys:02}"
        spec = {"workflow": workflow, "input": {"key": key}}
        metadata = {"name": f"{workflow}-{key}-{number // keys:02}", "labels": {"bench": workflow}}
        body = {"apiVersion": API_VERSION, "kind": "WorkflowRun", "metadata": metadata, "spec": spec}
        async with turn:
            await cluster.call("POST", path, body)

    await asyncio.gather(*(create(number) for number in range(keys * each)))


async def _phases(cluster: Cluster, namespace: str, workflow: str) -> dict[str, list[str]]:
    """The runs of a workflow by phase."""
    path = resource(API_VERSION, namespace, "workflowruns")
    found: dict[str, list[str]] = defaultdict(list)
    for run in json.loads(await cluster.call("GET", path, labelSelector=f"bench={workflow}"))["items"]:
        found[run.get("status", {}).get("phase", "")].append(run["metadata"]["name"])
    return found


async def _until(cluster: Cluster, namespace: str, workflow: str, **wanted: int) -> dict[str, list[str]]:
    deadline = time.monotonic() + TIMEOUT
    while True:
        found = await _phases(cluster, namespace, workflow)
        if all(len(found[phase]) == count for phase, count in wanted.items()):
            return found
        if time.monotonic() > deadline:
            seen = {phase: len(names) for phase, names in found.items()}
            raise TimeoutError(f"runs of {workflow}: waited {TIMEOUT:.0f} s for {wanted}; saw {seen}")
        await asyncio.sleep(0.5)


async def _reaction(cluster: Cluster, namespace: str, log: Log) -> str:
    log.mark()
    await _create(cluster, namespace, "short", KEYS, EACH)
    await _until(cluster, namespace, "short", Succeeded=KEYS * EACH)
    await asyncio.sleep(1)
    events = [event for event in await log.events(cluster) if event.client == OPERATOR]
    if not events:
        return "admission: no audit log, no figures"
    leases = [event for event in events if event.resource.startswith("leases")]
    gaps = [1000 * gap for gap in reactions(events)]
    shown = ", ".join(f"p{part * 100:.0f} {quantile(gaps, part):.0f} ms" for part in (0.5, 0.99))
    per = len(leases) / (KEYS * EACH)
    return f"admission: {len(gaps)} times from a slot's end to the next run's Pod {shown}; {per:.2f} writes (at most 2)"


def reactions(events: Iterable[Event]) -> list[float]:
    """Seconds from each deletion of a slot's Lease to the creation of the next Pod of a run of its key."""
    waiting: dict[str, float] = {}
    found = []
    done = [(datetime.fromisoformat(event.time).timestamp(), event) for event in events if event.status < 400]
    for moment, event in sorted(done, key=lambda item: item[0]):
        if event.verb == "delete" and event.resource.startswith("leases"):
            waiting[event.name.split("-")[1]] = moment
        elif (event.verb, event.resource) == ("create", "pods"):
            key = event.name.split("-")[1]
            if key in waiting:
                found.append(moment - waiting.pop(key))
    return found


async def _crowd(cluster: Cluster, namespace: str, operator: Operator) -> list[str]:
    await _create(cluster, namespace, "holds", MANY, WAITING // MANY + 1)
    say(f"{WAITING + MANY} runs over {MANY} keys are there")
    held = (await _until(cluster, namespace, "holds", Running=MANY, Queued=WAITING))["Running"]
    await asyncio.sleep(3)
    before, cpu = await operator.metrics(), operator.cpu()
    await asyncio.sleep(IDLE)
    idle, after = (operator.cpu() - cpu) / IDLE * 1000, await operator.metrics()
    reads = _calls(after, method="GET") - _calls(before, method="GET")
    news = _calls(after) - _calls(before) - reads
    cpu = operator.cpu()
    path, turn = resource(API_VERSION, namespace, "workflowruns"), asyncio.Semaphore(CALLS)

    async def cancel(name: str) -> None:
        async with turn:
            await cluster.call("PATCH", f"{path}/{name}", {"spec": {"cancel": True}}, MERGE)

    start = time.monotonic()
    await asyncio.gather(*map(cancel, held))
    await _until(cluster, namespace, "holds", Running=MANY, Cancelled=MANY)
    took = time.monotonic() - start
    spent = (operator.cpu() - cpu) / MANY * 1000
    return [
        f"{WAITING} runs wait over {MANY} keys, in {IDLE:.0f} s: {reads:.0f} reads (at most 0), "
        f"{news:.0f} writes of new places in the queue, {idle:.1f} ms CPU a second",
        f"then {MANY} holders are cancelled: {spent:.1f} ms CPU for each end and admission, all within {took:.1f} s",
    ]


def _calls(metrics: str, **labels: str) -> float:
    """Calls to the API server so far; the Lease of the operator itself isn't among them: this one has none."""
    return total(metrics, "adze_api_calls_total", **labels) or 0.0


def decisions(waiting: int = WAITING, keys: int = MANY) -> str:
    """The decision alone, in memory: one holder after the other goes, and the next is admitted."""
    queues, now = Queues(), utcnow()
    runs: dict[str, Run] = {}
    leases: dict[str, Slot] = {}
    for number in range(waiting):
        metadata = Metadata(
            name=f"r{number}", namespace="bench", uid=f"u{number}", resource_version=str(number), creation_timestamp=now
        )
        run = runs[metadata.uid] = Run(metadata=metadata, spec=RunSpec())
        need = Need(f"g{number % keys}", f"k{number % keys}", 1, Strategy.QUEUE)
        queues.ask(run, [Want(RUN, (need,), slots.order(run, 0))], now)
    _admit(queues, leases, now)
    count, begin = 0, time.process_time()
    while leases:
        slot = leases.pop(next(iter(leases)))
        queues.see(slot, None)
        queues.forget(runs[slot.run_uid])
        _admit(queues, leases, now)
        count += 1
    spent = 1000 * (time.process_time() - begin) / count
    return f"a decision alone, {waiting} runs over {keys} keys: {spent:.2f} ms CPU (target: 5)"


def _admit(queues: Queues, leases: dict[str, Slot], now: datetime) -> None:
    """A pass of admission, answered at once."""
    steps = admission.admit(queues, "bench", now, known=True)
    try:
        batch = next(steps)
        while True:
            answers: list[Any] = []
            for call in batch:
                if isinstance(call, TakeSlot):
                    slot = msgspec.convert(call.manifest, Slot)
                    fields = {"uid": f"l{slot.run_uid}", "resource_version": str(10_000 + len(leases))}
                    slot = msgspec.structs.replace(slot, metadata=msgspec.structs.replace(slot.metadata, **fields))
                    leases[slot.metadata.name] = slot
                    queues.hear(slot)
                    answers.append(slot)
                else:
                    assert isinstance(call, ReadRun)
                    answers.append(Problem(Failure.NOT_FOUND))
            batch = steps.send(answers)
    except StopIteration:
        return


if __name__ == "__main__":
    print(decisions())
