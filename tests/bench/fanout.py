"""What a wide fan-out costs the operator alone: the real engine over objects in memory, with no HTTP and no kubelet.

    python -m tests.bench.fanout [--items N] [--seconds S] [--policy Continue --failing 0.1]

Statuses, runs and Pods go through JSON as they would over the wire, since that cost grows with the list. What is
missing is the HTTP client (some 0.2 ms a call) and kopf's watch of the run.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import time
from collections import Counter
from typing import Any

import msgspec

from adze.core import calls, names
from adze.core.calls import Failure, Problem
from adze.core.model import Metadata, Run, RunSpec, RunStatus, Step, WorkflowSpec
from adze.core.pods import ContainerState, ContainerStatus, Pod, PodSpec, PodStatus, Running, Terminated
from adze.core.policy import Policy
from adze.shell.driver import swap
from adze.shell.engine import Engine
from adze.shell.outside import utcnow

replace = msgspec.structs.replace


class Memory:
    """An API server and a kubelet for one run: a Pod starts at once and ends after `seconds`."""

    def __init__(self, run: Run, seconds: float, failing: float) -> None:
        self.run = run
        self.seconds = seconds
        self.failing = failing
        self.engine: Engine | None = None
        self.pods: dict[str, Pod] = {}
        self.calls: Counter[str] = Counter()
        self.largest = 0
        self.version = 1
        self.started = 0
        self.done = asyncio.Event()

    async def do(self, call: calls.Call) -> Any:
        """Answer a call after a turn of the event loop."""
        self.calls[type(call).__name__] += 1
        await asyncio.sleep(0)
        self.version += 1
        if isinstance(call, calls.WriteStatus):
            return self._write(call)
        if isinstance(call, calls.ReadRun):
            return msgspec.json.decode(msgspec.json.encode(self.run), type=Run)
        if isinstance(call, calls.CreatePod):
            return self._create(call.manifest)
        if isinstance(call, calls.OpenGate):
            return self._change(call.pod, spec=PodSpec(node_name="node"), then=self._run)
        if isinstance(call, calls.Release):
            labels = call.pod.metadata.labels | {names.RELEASED: "true"}
            return self._change(call.pod, labels=labels, finalizers=())
        if isinstance(call, calls.ListPods):
            return {name: pod for name, pod in self.pods.items() if not pod.done}
        return None if isinstance(call, calls.Say | calls.CreatePage) else Problem(Failure.UNKNOWN)

    def _write(self, call: calls.WriteStatus) -> Run | Problem:
        if call.run.metadata.resource_version != self.run.metadata.resource_version:
            return Problem(Failure.CONFLICT)
        patch = msgspec.json.encode(swap(self.run.status, call.status))
        self.largest = max(self.largest, len(msgspec.json.encode(call.status)))
        metadata = replace(self.run.metadata, resource_version=str(self.version))
        status = msgspec.json.decode(msgspec.json.encode(call.status), type=RunStatus)
        self.run = replace(self.run, metadata=metadata, status=status)
        self.calls["bytes of status patches"] += len(patch)
        if status.phase.final:
            self.done.set()
        # As kopf does for each write: the object comes again.
        seen = msgspec.json.decode(msgspec.json.encode(self.run), type=Run)
        asyncio.get_running_loop().call_soon(self._engine.see_run, seen)
        return self.run

    @property
    def _engine(self) -> Engine:
        assert self.engine is not None
        return self.engine

    def _create(self, manifest: dict[str, Any]) -> Pod:
        sent = msgspec.json.decode(msgspec.json.encode(manifest))
        sent["metadata"] |= {"uid": f"pod-{self.version}", "resourceVersion": str(self.version)}
        pod = msgspec.convert(sent, Pod)
        self.pods[pod.name] = pod
        self._tell(None, pod)
        return pod

    def _change(self, old: Pod, *, then: Any = None, status: Any = None, spec: Any = None, **metadata: Any) -> Pod:
        now = self.pods[old.name]
        self.version += 1
        fields = {"resource_version": str(self.version), **metadata}
        new = Pod(metadata=replace(now.metadata, **fields), spec=spec or now.spec, status=status or now.status)
        self.pods[old.name] = new
        self._tell(now, new)
        if then:
            asyncio.get_running_loop().call_later(0.01, then, new)
        return new

    def _tell(self, old: Pod | None, new: Pod) -> None:
        seen = msgspec.json.decode(msgspec.json.encode(new), type=Pod)
        asyncio.get_running_loop().call_soon(self._engine.see_pod, old, None if new.done else seen)

    def _run(self, pod: Pod) -> None:
        self.started += 1
        state = ContainerState(running=Running(started_at=utcnow()))
        self._change(pod, status=PodStatus(phase="Running", container_statuses=(_main(state),)))
        asyncio.get_running_loop().call_later(self.seconds, self._end, pod)

    def _end(self, pod: Pod) -> None:
        bad = int(pod.metadata.labels[names.ITEM]) % 1000 < self.failing * 1000
        message = "" if bad else msgspec.json.encode({"n": pod.metadata.labels[names.ITEM]}).decode()
        ended = Terminated(exit_code=int(bad), message=message, started_at=utcnow(), finished_at=utcnow())
        phase = "Failed" if bad else "Succeeded"
        status = PodStatus(phase=phase, container_statuses=(_main(ContainerState(terminated=ended)),))
        self._change(pod, status=status)


def _main(state: ContainerState) -> ContainerStatus:
    return ContainerStatus(name=names.MAIN, state=state)


async def measure(options: argparse.Namespace) -> None:
    """One run of one forEach step."""
    step = Step(
        name="fetch",
        image="busybox:1.37",
        args=("${item.page}",),
        for_each="input.pages",
        max_parallel=options.parallel,
        failure_policy=options.policy,
    )
    pages = [{"page": str(index)} for index in range(options.items)]
    spec = RunSpec(workflow_spec=WorkflowSpec(steps=(step,)), input={"pages": pages})
    run = Run(metadata=Metadata(name="wide", namespace="bench", uid="wide-uid", resource_version="1"), spec=spec)
    memory = Memory(run, options.seconds, options.failing)
    memory.engine = engine = Engine(memory, Policy())  # type: ignore[arg-type]
    begin, wall = time.process_time(), time.monotonic()
    engine.start()
    engine.see_run(run)
    await memory.done.wait()
    await asyncio.sleep(1.5)
    cpu, wall = time.process_time() - begin, time.monotonic() - wall
    await engine.stop()
    print(f"{options.items} items: {memory.run.status.phase}, {wall:.1f} s, {memory.started} Pods")
    print(f"CPU {cpu / options.items * 1000:.3f} ms per item, largest status {memory.largest / 1024:.0f} KiB")
    print(f"RSS {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB with the objects in memory")
    for name, count in sorted(memory.calls.items()):
        print(f"{name:>24} {count:>9}  {count / options.items:.3f} per item")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--parallel", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=0.2, help="how long a Pod runs")
    parser.add_argument("--failing", type=float, default=0.0, help="share of items that fail")
    parser.add_argument("--policy", choices=("Fail", "Continue"), default="Continue")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
