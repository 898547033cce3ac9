"""Faults of the machines: processes that die or hang, nodes, users, quotas, namespaces."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

from adze.shell.cluster import ApiError, resource

from . import shapes
from .arena import Arena, Result, for_seconds, proxied
from .faults import Request
from .lab import Lab, say
from .proxy import Proxy, Trap

PATIENCE = 150.0


async def kills(
    lab: Lab, seed: int, seconds: float = 60, runs: int = 30, within: float = 60, patience: float = PATIENCE
) -> Result:
    """kill -9 of the operator every 1 to 6 seconds while runs come and go; they come `within` so many seconds."""
    async with Arena(lab, "kills", seed) as arena:
        await arena.operate()
        await arena.traffic.start()
        coming = asyncio.create_task(arena.create(shapes.several(runs, pause=1), every=within / runs))

        async def act() -> None:
            arena.kill()

        await for_seconds(seconds, lambda: arena.chance.uniform(1, 6), act)
        await coming
        arena.over()
        return await arena.result(patience)


def _any(request: Request) -> bool:
    return not request.watch and request.kind != "events"


async def two_operators(lab: Lab, seed: int, seconds: float = 40, runs: int = 12, prelude: str = "") -> Result:
    """Two operators work at the same time, without a Lease. Now one, now the other is frozen right at a call.

    It wakes up when the other has gone on, with an answer of long ago in its hands: between the read that allows a
    start and the start, between claim and create.
    """
    async with (
        Arena(lab, "two", seed) as arena,
        Proxy(lab.credentials, seed) as one,
        Proxy(lab.credentials, seed) as two,
    ):
        arena.prelude = prelude
        proxies = [one, two]
        operators = await arena.operate(via=proxied(arena, proxies))
        await arena.traffic.start()
        coming = asyncio.create_task(arena.create(shapes.several(runs, pause=0.3), every=seconds / runs))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            victim = arena.chance.randrange(2)
            operator, proxy = operators[victim], proxies[victim]
            after = arena.chance.random() < 0.6
            trap = Trap(arena.chance.randint(1, 8), after, operator.freeze, match=_any, answers=True)
            proxy.trap = trap
            try:
                await asyncio.wait_for(trap.done.wait(), 3)
            except TimeoutError:
                continue
            finally:
                proxy.trap = None
            arena.faults[f"frozen {'after' if after else 'before'} a call"] += 1
            await asyncio.sleep(arena.chance.uniform(0.2, 3))
            operator.thaw()
        await coming
        arena.over()
        return await arena.result(PATIENCE)


async def lease(lab: Lab, seed: int, runs: int = 10) -> Result:
    """Two replicas with a Lease: the leader is killed, then the next frozen for longer than the Lease lasts."""
    async with Arena(lab, "lease", seed) as arena:
        arena.may_end = True  # that's what a leader does that has lost its Lease
        await arena.operate(2, lease="adze")
        await arena.traffic.start()
        await arena.create(shapes.several(runs, pause=1))
        await asyncio.sleep(3)
        gaps = [await _without(arena, arena.kill_leader)]
        await arena.create(shapes.several(runs, letter="s", pause=1))
        await asyncio.sleep(3)
        gaps.append(await _without(arena, arena.freeze_leader))
        await asyncio.sleep(4)
        arena.thaw_all()
        arena.over()
        arena.notes.append("another replica worked after " + ", ".join(f"{gap:.1f} s" for gap in gaps))
        return await arena.result(PATIENCE)


async def _without(arena: Arena, act: Callable[[], Awaitable[str]]) -> float:
    """Take the leader away; the seconds until another holds the Lease."""
    old = await act()
    start = time.monotonic()
    while await arena.leader() in (old, ""):
        if time.monotonic() - start > 30:
            raise TimeoutError(f"no replica took the Lease over from {old} within 30 s")
        await asyncio.sleep(0.2)
    return time.monotonic() - start


async def control_plane(lab: Lab, seed: int, seconds: float = 10, runs: int = 8) -> Result:
    """The API server is killed, then stopped for a while, then etcd is, then both are killed."""
    node = lab.node
    async with Arena(lab, "control-plane", seed) as arena:
        await arena.operate()
        await arena.traffic.start()
        coming = asyncio.create_task(arena.create(shapes.several(runs, pause=1), every=2 + 3 * seconds / runs))

        async def away(*names: str, pause: float) -> None:
            await asyncio.sleep(3)
            say(f"control-plane: {', '.join(names)} away for {pause:.0f} s")
            for name in names:
                if pause:
                    await asyncio.to_thread(node.kill, name)
                    await asyncio.to_thread(node.stop, name)
                else:
                    await asyncio.to_thread(node.kill, name)
                arena.faults[f"kill -9 {name}"] += 1
            await asyncio.sleep(pause)
            for name in reversed(names):
                await asyncio.to_thread(node.start, name)
            back = time.monotonic()
            await lab.answers()
            arena.over()
            took = time.monotonic() - back
            arena.notes.append(f"{'+'.join(names)} away {pause:.0f} s: answers {took:.1f} s after its start")

        await away("kube-apiserver", pause=0)
        await away("kube-apiserver", pause=seconds)
        await away("etcd", pause=seconds)
        await away("kube-apiserver", "etcd", pause=2)
        await coming
        return await arena.result(PATIENCE)


async def full(lab: Lab, seed: int, seconds: float = 15, runs: int = 10) -> Result:
    """etcd is full (alarm NOSPACE): reads go on, each write is refused. Then there's room again."""
    async with Arena(lab, "full", seed) as arena:
        # Without a Lease: who can't renew one starts anew, which would mend whatever the process had got wrong.
        await arena.operate()
        await arena.traffic.start()
        coming = asyncio.create_task(arena.create(shapes.several(runs, pause=1), every=(seconds + 5) / runs))
        # Their backoff ends while nothing can be written, and no news of a Pod reminds of them afterwards.
        await arena.create([shapes.flaky(f"late-{number}", seconds * 0.7) for number in range(3)])

        def waiting() -> bool:
            late = [run for run in arena.recorder.runs.values() if run.metadata.name.startswith("late-")]
            return len(late) == 3 and all(step.reason == "Backoff" for run in late for step in run.status.steps)

        await arena.see("the backoffs", waiting)
        await asyncio.to_thread(lab.node.fill, full=True)
        try:
            arena.faults["etcd full"] += 1
            arena.notes.append(f"a write said: {await _refusal(arena)}")
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(lab.node.fill, full=False)
        arena.over()
        await coming
        return await arena.result(PATIENCE)


async def _refusal(arena: Arena) -> str:
    try:
        await arena.lab.call("POST", arena.path("configmaps"), {"metadata": {"name": "more"}})
    except ApiError as error:
        return str(error)
    raise RuntimeError("a full etcd took a write")


async def node_parts(lab: Lab, seed: int, seconds: float = 20) -> Result:
    """The kubelet hangs for a while, then containerd is killed, then both are restarted."""
    node = lab.node
    async with Arena(lab, "node-parts", seed) as arena:
        await arena.operate()
        await arena.create([shapes.hardy(f"r{number}", pause=2) for number in range(4)])
        await asyncio.sleep(3)
        await asyncio.to_thread(node.kill, "kubelet", signal.SIGSTOP)
        arena.faults["SIGSTOP kubelet"] += 1
        await asyncio.sleep(seconds)
        await asyncio.to_thread(node.kill, "kubelet", signal.SIGCONT)
        await arena.create([shapes.hardy(f"s{number}", pause=2) for number in range(3)])
        await asyncio.sleep(3)
        await asyncio.to_thread(node.kill, "containerd")
        arena.faults["kill -9 containerd"] += 1
        await asyncio.sleep(3)
        await asyncio.to_thread(node.kill, "kubelet")
        arena.faults["kill -9 kubelet"] += 1
        await lab.node_ready()
        arena.over()
        return await arena.result(240)


async def cordon(lab: Lab, seed: int, seconds: float = 12) -> Result:
    """The only node takes no Pods for a while: steps say Unschedulable, and go on by themselves."""
    async with Arena(lab, "cordon", seed) as arena:
        await arena.operate()
        await lab.kubectl("cordon", lab.node.layout.node_name)
        try:
            await arena.create([shapes.diamond(f"r{number}") for number in range(4)])
            arena.faults["cordon"] += 1
            await asyncio.sleep(seconds)
            said = sorted({str(run.status.reason) for run in arena.recorder.runs.values()})
            arena.notes.append(f"while cordoned the runs said {', '.join(said)}")
        finally:
            await lab.kubectl("uncordon", lab.node.layout.node_name)
        arena.over()
        return await arena.result(90)


async def quota(lab: Lab, seed: int, seconds: float = 25) -> Result:
    """A quota on Pods comes and goes. No attempt is used up, and the runs go on when there is room."""
    async with Arena(lab, "quota", seed) as arena:
        await arena.operate()
        body = {"metadata": {"name": "pods"}, "spec": {"hard": {"pods": "0"}}}

        async def on() -> None:
            arena.faults["quota on"] += 1
            await lab.until("the quota", lambda: lab.call("POST", arena.path("resourcequotas"), body), 20)

        await on()
        await asyncio.sleep(2)
        await arena.create([shapes.diamond(f"r{number}", pause=1) for number in range(5)])
        await asyncio.sleep(seconds / 2)
        said = sorted({str(run.status.reason) for run in arena.recorder.runs.values()})
        arena.notes.append(f"under the quota the runs said {', '.join(said)}")
        await lab.call("DELETE", arena.path("resourcequotas", "pods"))
        await asyncio.sleep(seconds / 4)
        await on()
        await asyncio.sleep(seconds / 4)
        await lab.call("DELETE", arena.path("resourcequotas", "pods"))
        arena.over()
        result = await arena.result(120)
        used = {len(step.attempts) for run in arena.recorder.runs.values() for step in run.status.steps}
        arena.notes.append(f"attempts of a step: {sorted(used)}")
        return result


async def namespace_gone(lab: Lab, seed: int) -> Result:
    """The namespace is deleted in mid-flight, with operators killed meanwhile: nothing of ours may hold it up."""
    async with Arena(lab, "gone", seed) as arena:
        await arena.operate()
        await arena.create(shapes.several(8, pause=3))
        await asyncio.sleep(2.5)
        await lab.kubectl("delete", "namespace", arena.namespace, "--wait=false")
        arena.faults["namespace deleted"] += 1
        arena.kill()
        arena.over()
        start = time.monotonic()
        path = resource("v1", None, "namespaces", arena.namespace)
        try:
            while time.monotonic() - start < 90:
                await lab.call("GET", path)
                await asyncio.sleep(0.3)
            arena.notes.append("the namespace was still there after 90 s")
        except ApiError as error:
            if error.code != 404:
                raise
            arena.notes.append(f"the namespace was gone after {time.monotonic() - start:.1f} s")
        return await arena.result(30)
