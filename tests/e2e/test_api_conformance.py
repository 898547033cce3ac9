"""A real API server behaves as the simulator's does, in what adze leans on (`tests/sim/conformance.py`).

No operator works meanwhile: the cases are its calls, one by one.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from adze.core import names
from adze.core.calls import ReadPod
from adze.core.model import API_VERSION, Run, RunSpec, RunStatus
from adze.core.pods import Pod
from adze.shell.cluster import MERGE, ApiError, Cluster, Status, resource, selector
from adze.shell.driver import Driver
from tests.bench.client import connect
from tests.e2e.kube import Kube
from tests.installation import NAMESPACE, RELEASE, Installation, scale
from tests.sim.backend import HOLD, attempt_pod
from tests.sim.conformance import CASES, Case

replace = msgspec.structs.replace

PATIENCE = 30.0
"""Seconds for controllers, scheduler and kubelet."""


class Real:
    """A namespace of a real cluster."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.driver = Driver(cluster, "conformance")

    def path(self, kind: str, name: str = "", subresource: str = "") -> str:
        return resource("v1" if kind == "pods" else API_VERSION, self.namespace, kind, name, subresource)

    async def do(self, call: Any) -> Any:
        return await self.driver.do(call)

    async def run(self, name: str) -> Run:
        run = {"apiVersion": API_VERSION, "kind": "WorkflowRun", "metadata": {"name": name}, "spec": {"workflow": "w"}}
        return msgspec.json.decode(await self.cluster.call("POST", self.path("workflowruns"), run), type=Run)

    async def change(self, run: Run, **spec: Any) -> None:
        await self.cluster.call("PATCH", self.path("workflowruns", run.metadata.name), {"spec": spec}, MERGE)

    async def delete_run(self, run: Run, *, lingering: bool = False) -> None:
        path = self.path("workflowruns", run.metadata.name)
        if lingering:
            await self.cluster.call("PATCH", path, {"metadata": {"finalizers": [HOLD]}}, MERGE)
        await self.cluster.call("DELETE", path, {"propagationPolicy": "Background"})

    async def end_run(self, run: Run) -> None:
        path = self.path("workflowruns", run.metadata.name)
        await self.cluster.call("PATCH", path, {"metadata": {"finalizers": None}}, MERGE)

    async def orphan_run(self, run: Run) -> None:
        await self._garbage_collector_knows()
        await self.cluster.call("DELETE", self.path("workflowruns", run.metadata.name), {"propagationPolicy": "Orphan"})

    async def _garbage_collector_knows(self) -> None:
        """It has seen all Pods made so far: those that it doesn't know it neither orphans nor spares."""
        nobody = Run(metadata=replace((await self.run("nobody")).metadata, uid=str(uuid.uuid4())), spec=RunSpec())
        sentinel = await self.do(attempt_pod(nobody, "sentinel"))
        await self._until(sentinel, lambda seen: seen.deleting)

    async def write_blindly(self, before: Run, status: RunStatus) -> Run:
        path = self.path("workflowruns", before.metadata.name, "status")
        body = {"status": msgspec.to_builtins(status)}
        return msgspec.json.decode(await self.cluster.call("PATCH", path, body, MERGE), type=Run)

    async def _create(self, pod: dict[str, Any], **params: str) -> Pod:
        return msgspec.json.decode(await self.cluster.call("POST", self.path("pods"), pod, **params), type=Pod)

    async def foreign_pod(self, name: str) -> Pod:
        spec = {"containers": [{"name": "c", "image": "none"}], "schedulingGates": [{"name": HOLD}]}
        return await self._create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})

    async def touch(self, pod: Pod) -> Pod:
        body = {"metadata": {"annotations": {HOLD: pod.metadata.resource_version}}}
        return msgspec.json.decode(await self.cluster.call("PATCH", self.path("pods", pod.name), body, MERGE), type=Pod)

    async def remove_pod(self, pod: Pod) -> None:
        await self.cluster.call("DELETE", self.path("pods", pod.name), {"gracePeriodSeconds": 0})

    async def _until(self, pod: Pod, holds: Callable[[Pod], bool]) -> Pod:
        found: list[Pod] = []

        async def probe() -> None:
            found[:] = [await self.do(ReadPod(self.namespace, pod.name))]
            assert holds(found[0]), found

        await self.eventually(probe)
        return found[0]

    async def place(self, pod: Pod) -> Pod:
        return await self._until(pod, lambda seen: seen.main.running is not None)

    async def kill(self, pod: Pod) -> Pod:
        return await self._until(pod, lambda seen: seen.ended)

    async def refuse(self, reason: str) -> None:
        """The admission plugins learn of it by watches: wait until they have."""
        if reason == "QuotaExceeded":
            quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
            await self.cluster.call("POST", resource("v1", self.namespace, "resourcequotas"), quota)
        else:
            labels = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
            await self.cluster.call("PATCH", resource("v1", None, "namespaces", self.namespace), labels, MERGE)
        run = await self.run("probe")

        async def refused() -> None:
            with pytest.raises(ApiError, match="403"):
                await self._create(attempt_pod(run, "probe").manifest, dryRun="All")

        await self.eventually(refused)

    async def changes(self, kind: str, since: Run | Pod) -> list[tuple[str, str, str]]:
        """Told until an object appears that was made last of all."""
        if kind == "pods":
            run = await self.run("last")
            await self.do(attempt_pod(run, "last"))
            params = {"labelSelector": selector({names.RUN_UID: None})}
        else:
            await self.run("last")
            params = {}
        told: list[tuple[str, str, str]] = []
        path = self.path("pods" if kind == "pods" else "workflowruns")
        async with asyncio.timeout(PATIENCE):
            lines = self.cluster.watch(path, resourceVersion=since.metadata.resource_version, **params)
            async with contextlib.aclosing(lines):
                async for line in lines:
                    event = msgspec.json.decode(line)
                    metadata = event["object"]["metadata"]
                    if metadata.get("name") == "last":
                        return told
                    if event["type"] != "BOOKMARK":
                        told.append((event["type"], metadata["name"], metadata["resourceVersion"]))
        raise AssertionError(told)

    async def eventually(self, probe: Callable[[], Awaitable[None]]) -> None:
        end = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                return await probe()
            except (AssertionError, pytest.fail.Exception):
                if asyncio.get_running_loop().time() > end:
                    raise
            await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def idle(adze: Installation) -> Iterator[Installation]:
    """The installation, with its operator stopped."""
    scale(adze, 0)
    pods = ("pod", "-l", f"app.kubernetes.io/instance={RELEASE}", "--timeout=60s")
    done = adze.kubectl("-n", NAMESPACE, "wait", "--for=delete", *pods, timeout=90)
    assert done.returncode == 0, done.stderr
    yield adze
    scale(adze, 1)


@pytest_asyncio.fixture
async def backend(idle: Installation, kube: Kube) -> AsyncIterator[Real]:
    """The namespace of this test, once Pods can be made in it; nothing in it is held afterwards."""
    cluster = connect(idle.kubeconfig)
    real = Real(cluster, kube.namespace)

    async def ready() -> None:
        try:
            await cluster.call("GET", resource("v1", kube.namespace, "serviceaccounts", "default"))
        except ApiError as error:
            raise AssertionError(str(error)) from error

    await real.eventually(ready)
    yield real
    pods = msgspec.json.decode(await cluster.call("GET", real.path("pods")))["items"]
    for pod in pods:
        body = {"metadata": {"finalizers": None}}
        await cluster.call("PATCH", real.path("pods", pod["metadata"]["name"]), body, MERGE)
    await cluster.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_a_real_api_server(case: Case, backend: Real) -> None:
    await case(backend)


async def test_a_version_that_is_long_gone_is_answered_410(backend: Real) -> None:
    """What the simulator has in place of an answer: a replica lists again.

    Of a kind that came later: an API server that is new itself remembers the first version of Pods.
    """
    lines = backend.cluster.watch(backend.path("workflowruns"), resourceVersion="1")
    with pytest.raises(ApiError) as refused:
        async with contextlib.aclosing(lines):
            async for line in lines:
                event = msgspec.json.decode(line)
                assert event["type"] == "ERROR", event
                status = msgspec.convert(event["object"], Status)
                raise ApiError(status.code, status.reason, status.message)
    assert refused.value.code == 410
