"""Everything around the operator: scheduler, kubelets, garbage collectors, and users. It has no chance of its own.

Whatever may go one way or another is decided by `bits`, a number from the scheduler's word.
"""

from collections import Counter
from datetime import datetime, timedelta

from adze.core import names
from adze.core.carrier import PodCondition
from adze.core.model import Run
from adze.core.pods import (
    ContainerState,
    ContainerStatus,
    Pod,
    PodStatus,
    Running,
    Terminated,
    Waiting,
)
from tests.sim.api import NAMESPACE, Api, replace
from tests.sim.large import send
from tests.sim.trace import Trace

NODES = ("node-a", "node-b")
SECOND = timedelta(seconds=1)

OUTCOMES: tuple[tuple[int, str, str], ...] = (
    *[(0, "Completed", '{"n": 1, "ok": true}')] * 8,
    (0, "Completed", ""),
    (0, "Completed", "not json"),
    *[(1, "Error", "it broke")] * 3,
    (3, "Error", ""),
    (137, "OOMKilled", ""),
    (64, "Error", "usage"),
)
"""How a container may end: exit code, reason, termination message."""


def disruption(reason: str) -> PodCondition:
    """The mark that an eviction leaves on a Pod."""
    return PodCondition(type="DisruptionTarget", status="True", reason=reason, message="the cluster took it")


class World:
    """What happens to Pods and runs besides what the operator does."""

    def __init__(
        self, api: Api, goals: Counter[str], trace: Trace, *, throttling: bool = False, large: bool = False
    ) -> None:
        """`throttling`: some containers are told to come back later. `large`: they hand over large outputs."""
        self.throttling = throttling
        self.large = large
        self.api = api
        self.goals = goals
        self.trace = trace
        self.dead_nodes: set[str] = set()
        self.orphaning: set[str] = set()

    @property
    def second(self) -> datetime:
        """Kubernetes' own timestamps hold whole seconds."""
        return self.api.now.replace(microsecond=0)

    # Pods

    def advance(self, bits: int, *, kind: bool = False) -> bool:
        """One Pod that can get on gets on, as `bits` say; False where none can. `kind` is for the quiet tail."""
        movable = [pod for pod in self.api.pods.values() if self._movable(pod, kind)]
        if not movable:
            return False
        pod = movable[bits % len(movable)]
        bits //= 16
        before = self.api.revision
        if not pod.spec.node_name:
            self._bind(pod, bits, kind)
        elif pod.spec.node_name in self.dead_nodes:
            self._on_dead_node(pod)
        elif pod.ended:
            self.api.delete_pod(pod.metadata.uid, force=True)
        elif pod.main.terminated:
            self._end(pod, pod.main.terminated)
        elif pod.deleting or pod.main.running:
            self._finish(pod, bits, kind)
        else:
            self._start(pod, bits, kind)
        return self.api.revision > before

    def _movable(self, pod: Pod, kind: bool) -> bool:
        if pod.gated or names.RUN_UID not in pod.metadata.labels:
            return False
        if not pod.spec.node_name:
            return not pod.deleting
        if pod.ended:
            # Pod GC takes ended Pods whether we are done with them or not; in the tail it has no reason to.
            return not self.api.graceless(pod.metadata.uid) and (pod.deleting or not kind)
        waiting = pod.main.waiting
        return not (kind and waiting and waiting.reason != "ContainerCreating" and not pod.deleting)

    def _bind(self, pod: Pod, bits: int, kind: bool) -> None:
        node = NODES[bits % 2]
        if node in self.dead_nodes or (bits % 16 == 5 and not kind):
            blocked = PodCondition(type="PodScheduled", status="False", reason="Unschedulable", message="0/2 nodes")
            self.trace.world("the scheduler finds no node for", pod.name)
            self.api.put_pod(pod.metadata.uid, status=replace(pod.status, conditions=(blocked,)))
            if not kind:
                return
            node = next((name for name in NODES if name not in self.dead_nodes), NODES[0])
            self.dead_nodes.discard(node)
        self.trace.world(f"the scheduler puts on {node}", pod.name)
        spec = replace(pod.spec, node_name=node)
        self.api.put_pod(pod.metadata.uid, spec=spec, status=replace(pod.status, conditions=()))

    def _start(self, pod: Pod, bits: int, kind: bool) -> None:
        roll = bits % 32
        if not kind and roll in (3, 4):
            self.goals["image pull waits"] += 1
            reason = "ErrImagePull" if roll == 3 else "InvalidImageName"
            return self._container(
                pod, ContainerState(waiting=Waiting(reason=reason, message="no such image")), "waits"
            )
        if not kind and roll == 5:
            self.goals["refused by the node"] += 1
            self.trace.world("the kubelet has no room for", pod.name)
            self.api.put_pod(pod.metadata.uid, status=PodStatus(phase="Failed", reason="OutOfcpu", message="no cpu"))
            return None
        if not kind and roll in (6, 7, 8):
            # So short that nobody sees it run.
            code, reason, message = OUTCOMES[bits // 32 % len(OUTCOMES)]
            ended = Terminated(
                exit_code=code, reason=reason, message=message, started_at=self.second, finished_at=self.second
            )
            return self._end(pod, ended)
        return self._container(pod, ContainerState(running=Running(started_at=self.second)), "runs")

    def _container(self, pod: Pod, state: ContainerState, what: str, *others: ContainerStatus) -> None:
        self.trace.world(f"the kubelet: {what}", pod.name)
        phase = "Running" if state.running or state.terminated else "Pending"
        containers = (ContainerStatus(name=names.MAIN, state=state), *others)
        self.api.put_pod(pod.metadata.uid, status=replace(pod.status, phase=phase, container_statuses=containers))

    def _finish(self, pod: Pod, bits: int, kind: bool) -> None:
        running = pod.main.running
        code, reason, message = OUTCOMES[0 if kind else bits % len(OUTCOMES)]
        if pod.deleting and bits % 4:
            code, reason, message = 137, "Error", ""
        if pod.deleting and running is None:
            self.goals["deleted before it started"] += 1
            self.trace.world("the kubelet gives up before the start", pod.name)
            self.api.put_pod(pod.metadata.uid, status=PodStatus(phase="Failed", conditions=pod.status.conditions))
            return
        if self.throttling and bits // 16 % 4 == 0:
            message = '{"rateLimited": {"retryAfter": 7}}'
        if self.large and code == 0:
            message = send(self.api, pod, message, bits // 64)
        assert running is not None
        self.goals["out of memory"] += reason == "OOMKilled"
        ended = Terminated(
            exit_code=code,
            reason=reason,
            message=message,
            started_at=running.started_at,
            finished_at=max(self.second, running.started_at or self.second),
        )
        if bits % 8 == 7:
            self.goals["container ended before its Pod"] += 1
            sidecar = ContainerStatus(name="side", state=ContainerState(running=Running(started_at=ended.started_at)))
            self._container(pod, ContainerState(terminated=ended), f"exit code {code}, a sidecar runs on", sidecar)
        else:
            self._end(pod, ended)

    def _end(self, pod: Pod, ended: Terminated) -> None:
        self.trace.world(f"the kubelet: ended with exit code {ended.exit_code}", pod.name)
        status = replace(
            pod.status,
            phase="Failed" if ended.exit_code else "Succeeded",
            container_statuses=(ContainerStatus(name=names.MAIN, state=ContainerState(terminated=ended)),),
        )
        self.api.put_pod(pod.metadata.uid, status=status)

    def _on_dead_node(self, pod: Pod) -> None:
        """First the taint manager evicts, then Pod GC gives up on the node. The containers died with it."""
        uid = pod.metadata.uid
        if not pod.deleting:
            self.trace.world("the taint manager deletes", pod.name)
            conditions = (disruption("DeletionByTaintManager"),)
            self.api.put_pod(uid, status=replace(pod.status, conditions=conditions))
            self.api.delete_pod(uid)
            return
        self.goals["node lost"] += 1
        self.trace.world("Pod GC gives up on the node of", pod.name)
        if not pod.ended:
            conditions = pod.status.conditions or (disruption("DeletionByPodGC"),)
            self.api.put_pod(uid, status=replace(pod.status, phase="Failed", conditions=conditions))
        self.api.delete_pod(uid, force=True)

    def evict(self, bits: int) -> bool:
        """Evict a Pod on a node: through the API (preemption, drain), or by the kubelet under pressure."""
        running = [pod for pod in self.api.pods.values() if pod.spec.node_name and not pod.ended]
        if not running:
            return False
        pod = running[bits % len(running)]
        uid = pod.metadata.uid
        self.goals["evicted"] += 1
        if bits // 16 % 2 and not pod.deleting:
            self.trace.world("an eviction deletes", pod.name)
            conditions = (disruption("EvictionByEvictionAPI"),)
            self.api.put_pod(uid, status=replace(pod.status, conditions=conditions))
            self.api.delete_pod(uid)
            return True
        self.trace.world("the kubelet evicts", pod.name)
        state = pod.main
        if state.running:
            ended = Terminated(
                exit_code=137, reason="Error", started_at=state.running.started_at, finished_at=self.second
            )
            state = ContainerState(terminated=ended)
        status = PodStatus(
            phase="Failed",
            reason="Evicted",
            message="the node was low on memory",
            conditions=(disruption("TerminationByKubelet"),),
            container_statuses=(ContainerStatus(name=names.MAIN, state=state),) if state.terminated else (),
        )
        if not (pod.main.terminated and pod.main.terminated.exit_code == 0):
            self.api.put_pod(uid, status=status)
        return True

    def toggle_node(self, bits: int) -> bool:
        """A node dies, or comes back."""
        node = NODES[bits % 2]
        self.dead_nodes ^= {node}
        self.trace.world("a node dies" if node in self.dead_nodes else "a node is back", node)
        return True

    def heal(self) -> None:
        """The faults end: quotas are raised, policies mended, nodes back."""
        self.api.quota = self.api.rejecting = False
        self.dead_nodes.clear()

    # Garbage collection by owner

    def collect(self, bits: int) -> bool:
        """The garbage collector deletes a Pod whose run is gone, or ends a run that lingers."""
        uids = {run.metadata.uid for run in self.api.runs.values()}
        lost = [
            pod
            for pod in self.api.pods.values()
            if not pod.deleting and any(owner.uid not in uids for owner in pod.metadata.owner_references)
        ]
        if lost:
            pod = lost[bits % len(lost)]
            self.trace.world("the garbage collector deletes", pod.name)
            self.api.delete_pod(pod.metadata.uid)
            return True
        dying = [run for run in self.api.runs.values() if run.metadata.deletion_timestamp]
        if not dying:
            return False
        self._end_run(dying[bits % len(dying)])
        return True

    def _end_run(self, run: Run) -> None:
        uid = run.metadata.uid
        if uid in self.orphaning:
            for pod in self.api.pods_of(uid):
                self.api.put_pod(pod.metadata.uid, owner_references=())
        self.trace.world("the garbage collector ends the deletion of", run.metadata.name)
        self.api.delete_run(run.metadata.name, uid)

    # Users

    def _alive(self) -> list[Run]:
        return [run for run in self.api.runs.values() if run.metadata.deletion_timestamp is None]

    def cancel(self, bits: int) -> bool:
        """A user cancels a run."""
        runs = [run for run in self._alive() if not run.spec.cancel and not run.status.phase.final]
        if not runs:
            return False
        run = runs[bits % len(runs)]
        self.goals["cancelled"] += 1
        self.trace.world("a user cancels", run.metadata.name)
        self.api.change_run(run.metadata.name, cancel=True)
        return True

    def suspend(self, bits: int) -> bool:
        """A user suspends a run, or resumes it."""
        runs = self._alive()
        if not runs:
            return False
        run = runs[bits % len(runs)]
        self.goals["suspended"] += 1
        self.trace.world("a user resumes" if run.spec.suspend else "a user suspends", run.metadata.name)
        self.api.change_run(run.metadata.name, suspend=not run.spec.suspend)
        return True

    def resume(self) -> None:
        """Nobody holds a run back any longer."""
        for run in self._alive():
            self.api.change_run(run.metadata.name, suspend=False)

    def delete_run(self, bits: int) -> bool:
        """A user deletes a run: in the background mostly, in the foreground, or orphaning its Pods."""
        runs = self._alive()
        if not runs:
            return False
        run = runs[bits % len(runs)]
        lingering = bits // 16 % 4 == 0
        orphan = lingering and bits // 64 % 2 == 0
        self.goals["run deleted"] += 1
        self.goals["run deleted, Pods orphaned"] += orphan
        how = ", orphaning its Pods" if orphan else " in the foreground" if lingering else ""
        self.trace.world(f"a user deletes{how}", run.metadata.name)
        if orphan:
            self.orphaning.add(run.metadata.uid)
        self.api.delete_run(run.metadata.name, run.metadata.uid, lingering=lingering)
        return True

    def delete_pod(self, bits: int) -> bool:
        """A user deletes a Pod."""
        pods = [pod for pod in self.api.pods.values() if not pod.deleting]
        if not pods:
            return False
        pod = pods[bits % len(pods)]
        force = bits // 16 % 4 == 0 and not pod.main.running
        self.goals["Pod deleted by a user"] += 1
        self.trace.world("a user deletes Pod", pod.name)
        self.api.delete_pod(pod.metadata.uid, force=force)
        return True

    def strip(self, bits: int) -> bool:
        """A user takes all finalizers off a Pod and deletes it by force: beyond what adze promises to survive."""
        pods = [pod for pod in self.api.pods.values() if pod.held]
        if not pods:
            return False
        pod = pods[bits % len(pods)]
        self.goals["finalizer stripped"] += 1
        self.trace.world("a user strips and kills", pod.name)
        self.api.put_pod(pod.metadata.uid, finalizers=())
        if pod.metadata.uid in self.api.pods:
            self.api.delete_pod(pod.metadata.uid, force=True)
        return True

    def squat(self, bits: int) -> bool:
        """A user makes a Pod under a name that an attempt wants, or takes it away again."""
        foreign = [pod for pod in self.api.pods.values() if names.RUN_UID not in pod.metadata.labels]
        if foreign:
            self.trace.world("a user removes a foreign Pod", foreign[0].name)
            self.api.delete_pod(foreign[0].metadata.uid, force=True)
            return True
        wanted = [
            attempt.pod
            for run in self.api.runs.values()
            for step in run.status.steps
            if (attempt := step.open_attempt) and attempt.pod not in self.api.pod_uids
        ]
        if not wanted:
            return False
        name = wanted[bits % len(wanted)]
        self.goals["name taken by a foreign Pod"] += 1
        self.trace.world("a user makes a foreign Pod", name)
        self.api.create_pod({"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {}})
        return True
