"""The simulator's API behaves as the real one does, in what adze leans on (`conformance.CASES`)."""

import inspect
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from adze.core import names
from adze.core.model import Run, RunSpec, RunStatus
from adze.core.pods import ContainerState, ContainerStatus, Pod, PodStatus, Terminated
from tests.sim import conformance
from tests.sim.api import NAMESPACE, Api, replace
from tests.sim.backend import number
from tests.sim.conformance import CASES, Case
from tests.sim.driver import Driver
from tests.sim.episode import EPOCH
from tests.sim.trace import Trace
from tests.sim.world import World


class Simulated:
    """The simulator's API, and its world for what users and the cluster do."""

    def __init__(self) -> None:
        self.told: dict[str, list[tuple[int, Any, Any]]] = {"runs": [], "pods": [], "slots": []}
        self.api = Api(EPOCH, self._listener("runs"), self._listener("pods"), self._listener("slots"))
        self.driver = Driver(self.api)
        self.world = World(self.api, Counter(), Trace(on=False))

    def _listener(self, kind: str) -> Callable[[Any, Any], None]:
        return lambda old, new: self.told[kind].append((self.api.revision, old, new))

    async def do(self, call: Any) -> Any:
        return self.driver.do(call)

    async def run(self, name: str) -> Run:
        return self.api.create_run(name, RunSpec(workflow="w"))

    async def change(self, run: Run, **spec: Any) -> None:
        self.api.change_run(run.metadata.name, **spec)

    async def delete_run(self, run: Run, *, lingering: bool = False) -> None:
        self.api.delete_run(run.metadata.name, run.metadata.uid, lingering=lingering)

    async def end_run(self, run: Run) -> None:
        assert self.world.collect(0)

    async def orphan_run(self, run: Run) -> None:
        self.world.orphaning.add(run.metadata.uid)
        await self.delete_run(run, lingering=True)

    async def write_blindly(self, before: Run, status: RunStatus) -> Run:
        self.api.checks_version = False
        written = self.api.write_status(before, status)
        assert isinstance(written, Run)
        return written

    async def foreign_pod(self, name: str) -> Pod:
        pod = self.api.create_pod({"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {}})
        assert isinstance(pod, Pod)
        return pod

    async def touch(self, pod: Pod) -> Pod:
        return self.api.put_pod(pod.metadata.uid, touch=True)

    async def remove_pod(self, pod: Pod) -> None:
        self.api.delete_pod(pod.metadata.uid, force=True)

    async def place(self, pod: Pod) -> Pod:
        return self.api.put_pod(pod.metadata.uid, spec=replace(pod.spec, node_name="node-a"))

    async def kill(self, pod: Pod) -> Pod:
        ended = ContainerState(terminated=Terminated(exit_code=137, started_at=EPOCH, finished_at=EPOCH))
        containers = (ContainerStatus(name=names.MAIN, state=ended),)
        dead = self.api.put_pod(pod.metadata.uid, status=PodStatus(phase="Failed", container_statuses=containers))
        # The kubelet's last word is a delete without grace.
        self.api.delete_pod(pod.metadata.uid, force=True)
        return dead

    async def refuse(self, reason: str) -> None:
        self.api.quota = reason == "QuotaExceeded"
        self.api.rejecting = reason == "PodRejected"

    async def changes(self, kind: str, since: Run | Pod) -> list[tuple[str, str, str]]:
        seen = []
        for version, old, new in self.told[kind]:
            item = new or old
            if version > number(since) and (kind == "runs" or names.RUN_UID in item.metadata.labels):
                what = "DELETED" if new is None else "ADDED" if old is None else "MODIFIED"
                seen.append((what, item.metadata.name, str(version)))
        return seen

    async def eventually(self, probe: Callable[[], Awaitable[None]]) -> None:
        while self.world.collect(0):
            pass
        await probe()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_the_simulators_api_server(case: Case) -> None:
    await case(Simulated())


def test_every_case_is_in_the_table() -> None:
    cases = {item for name, item in vars(conformance).items() if inspect.iscoroutinefunction(item) and name[0] != "_"}
    assert cases == set(CASES)
