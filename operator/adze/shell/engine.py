"""One worker per run: look at what is there, make a pass, sleep until something changes or a moment comes.

Anything that happens only says "this run needs a look". A pass works from the whole of what is known then, so a
missed or doubled message changes nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from adze.core import admission, calls, names, protocol, retention, revision
from adze.core.calls import Call, Failure, Problem
from adze.core.carrier import Carrier
from adze.core.model import Lease, Run, Workflow, version
from adze.core.observed import Observed, Refusal
from adze.core.policy import Policy
from adze.core.protocol import Pass
from adze.core.queues import Queues
from adze.core.revision import InvalidWorkflow, Revision
from adze.core.slots import Slot
from adze.shell import metrics
from adze.shell.listeners import Listeners
from adze.shell.outside import Driver, drive, utcnow
from adze.shell.workers import Workers

QUEUES = "queues/"
"""What stands before a namespace's name where a worker's key is no run's UID: its queues have one worker."""
AT_A_TIME = 4
"""Calls of one run in flight: a wide run leaves room for the others."""


class Engine:
    """Knows every run and its Pods, and keeps one pass at a time going for each run that needs it."""

    def __init__(
        self,
        driver: Driver,
        policy: Policy,
        allowed: Callable[[], bool] = lambda: True,
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        """`allowed` says before each batch of calls whether this process may still work."""
        self._driver = driver
        self._policy = policy
        self._allowed = allowed
        self._clock = clock
        self.runs: dict[str, Run] = {}
        self._waiting: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._pods: dict[str, dict[str, Carrier]] = defaultdict(dict)
        self._vanished: dict[str, set[str]] = defaultdict(set)
        self._refusals: dict[str, dict[str, Refusal]] = {}
        self._listeners = Listeners()
        self._workers = Workers(self._pass, clock)
        self._finished: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._workflows: dict[tuple[str, str], Revision | None] = {}
        self._queues = Queues(self.runs, policy)
        self._admitting: set[str] = set()
        self._unheard: set[str] = set()

    def start(self) -> None:
        """Begin to work; what was learnt before is looked at now."""
        self._workers.running = True
        # Nobody is admitted until every run has said what it wants: else the first to be looked at would be first.
        self._unheard = {uid for uid, run in self.runs.items() if not run.status.phase.final}
        for uid in {*self.runs, *self._pods, *self._queues.holders()}:
            self.look(uid)

    async def stop(self) -> None:
        """Stop between two calls, as a crash could; everything needed is in the API server."""
        await self._workers.stop()

    def see_run(self, run: Run) -> None:
        """A run as somebody saw it; an older sight than the known one is ignored."""
        uid = run.metadata.uid
        known = self.runs.get(uid)
        if known and version(known) >= version(run):
            if version(known) == version(run):
                self.runs[uid] = run  # the watch keeps this one; two of each would be twice the memory
            return
        self._know(run)
        self.look(uid)

    def _know(self, run: Run) -> None:
        uid = run.metadata.uid
        self.runs[uid] = run
        if run.spec.workflow is None:
            return
        if run.status.workflow_spec is None and not run.status.phase.final:
            self._waiting[run.metadata.namespace, run.spec.workflow].add(uid)
        else:
            self._begun(run)

    def _begun(self, run: Run) -> None:
        key = run.metadata.namespace, run.spec.workflow or ""
        if key in self._waiting:
            self._waiting[key].discard(run.metadata.uid)
            if not self._waiting[key]:
                del self._waiting[key]

    def waiting(self, namespace: str, workflow: str) -> list[Run]:
        """The runs of a Workflow that have not begun."""
        return [self.runs[uid] for uid in self._waiting.get((namespace, workflow), ())]

    def lose_run(self, uid: str) -> None:
        """A run was deleted."""
        run = self.runs.pop(uid, None)
        if run is None:
            return
        if run.spec.workflow:
            self._finished[run.metadata.namespace, run.spec.workflow].discard(uid)
            self._begun(run)
        self._vanished.pop(uid, None)
        self._refusals.pop(uid, None)
        self._queues.forget(run)
        self._listeners.forget(uid)
        self.look(uid)
        self._look_at_queues(run.metadata.namespace)

    def see_workflow(self, workflow: Workflow) -> None:
        """A Workflow has appeared or changed: runs that wait for it, or in a queue, need a look."""
        key = workflow.key
        before = self._workflows.get(key)
        try:
            self._workflows[key] = revision.of_run(revision.digest(workflow.spec), workflow.spec)
        except InvalidWorkflow:
            self._workflows[key] = None
        for run in self.waiting(*key):
            self.look(run.metadata.uid)
        # Each tick of a schedule writes the status: what a Workflow says of slots is looked at only if it's news.
        if before is None or self._workflows[key] is not before:
            for uid, run in self.runs.items():
                if (run.metadata.namespace, run.spec.workflow) == key and self._queues.asks(uid):
                    self.look(uid)

    def lose_workflow(self, namespace: str, name: str) -> None:
        """A Workflow was deleted: its runs keep to what they were frozen to."""
        self._workflows.pop((namespace, name), None)

    def see_slot(self, old: Slot | None, new: Slot | None) -> None:
        """A difference among the slots' Leases, as the watch tells it."""
        self._queues.see(old, new)
        slot = new or old
        assert slot is not None
        if slot.run_uid not in self.runs or not self._queues.asks(slot.run_uid):
            self.look(slot.run_uid)
        self._look_at_queues(slot.metadata.namespace)

    def _look_at_queues(self, namespace: str) -> None:
        if self._queues.busy(namespace) and not self._unheard:
            self.look(f"{QUEUES}{namespace}")

    def see_event(self, namespace: str, kind: str) -> None:
        """An event of that type has come: runs that wait for such a one need a look."""
        for uid in self._listeners.of(namespace, kind):
            self.look(uid)

    def see_pod(self, old: Carrier | None, new: Carrier | None) -> None:
        """A difference among the Pods, as the watch tells it; what is known already is no news."""
        pod = new or old
        assert pod is not None
        uid = pod.metadata.labels.get(names.RUN_UID, "")
        known = self._pods.get(uid, {}).get(pod.name)
        if new is not None:
            if self._remember_pod(uid, new) and (known is None or known.facts() != new.facts()):
                self.look(uid)
        elif known is None and pod.ended:
            return  # it was let go after its end, and so has left the watch
        elif known is None or known.metadata.uid == pod.metadata.uid:  # else another Pod bears the name by now
            self._forget_pod(uid, pod.name)
            if uid in self.runs:
                self._vanished[uid].add(pod.name)
            self.look(uid)

    def _remember_pod(self, uid: str, pod: Carrier) -> bool:
        if not uid:
            return False  # somebody else's Pod under a name of ours
        known = self._pods.get(uid, {}).get(pod.name)
        if known and known.metadata.uid == pod.metadata.uid and version(known) >= version(pod):
            return False
        if pod.done:
            self._forget_pod(uid, pod.name)
            return known is not None
        self._pods[uid][pod.name] = pod
        return True

    def _forget_pod(self, uid: str, name: str) -> None:
        known = self._pods.get(uid, {})
        known.pop(name, None)
        if not known:
            self._pods.pop(uid, None)

    def look(self, uid: str) -> None:
        """This run needs a look: now if its worker is idle, else once the present pass is over."""
        self._workers.look(uid)

    async def _pass(self, key: str) -> timedelta:
        """One pass; how long to rest before the next."""
        if key.startswith(QUEUES):
            await self._admit(key)
            return timedelta(0)
        try:
            return await self._pass_over(key)
        finally:
            self._hear(key)

    async def _admit(self, key: str) -> None:
        """A pass over the queues of a namespace; who is admitted, or sent away, then gets a look."""
        namespace = key.removeprefix(QUEUES)
        steps = admission.admit(self._queues, namespace, self._clock(), known=namespace in self._admitting)
        result = await self._drive(steps)
        if result:
            self._admitting.add(namespace)
            self._workers.wake(key, result.wake, again=result.again)
        for uid in self._queues.news():
            self.look(uid)
        self._look_at_queues(namespace)

    def _hear(self, uid: str) -> None:
        """A run has had its first look; the last of them lets admission begin."""
        if uid in self._unheard:
            self._unheard.discard(uid)
            if not self._unheard:
                for namespace in self._queues.namespaces():
                    self._look_at_queues(namespace)

    async def _pass_over(self, uid: str) -> timedelta:
        result = await self._drive(self._steps(uid))
        if result is not None:
            self._refusals[uid] = dict(result.refusals)
            self._forget(uid)
            self._workers.wake(uid, result.wake, again=result.again)
            run = self.runs.get(uid)
            if run and result.wants is not None:
                self._queues.ask(run, result.wants, self._clock())
                self._look_at_queues(run.metadata.namespace)
            if run and self._listeners.listen(uid, run.metadata.namespace, result.awaits):
                self.look(uid)
        await self._enforce_retention(uid)
        return result.rest if result else timedelta(0)

    def _forget(self, uid: str) -> None:
        """Of Pods that vanished only those matter that an attempt still waits for."""
        run, vanished = self.runs.get(uid), self._vanished.get(uid)
        if run and vanished:
            vanished &= {attempt.carrier for part in run.status.parts() if (attempt := part.open_attempt)}

    def _steps(self, uid: str) -> protocol.Steps | None:
        run = self.runs.get(uid)
        known = self._pods.get(uid, {})
        slots = self._queues.slots_of(uid)
        if run is None or run.metadata.deletion_timestamp:
            if not known and not slots:
                return None
            if not known:
                return protocol.abandon(slots[0].metadata.namespace, slots[0].run, uid, (), slots)
            some = next(iter(known.values())).metadata
            owners = [owner for pod in known.values() for owner in pod.metadata.owner_references if owner.uid == uid]
            name = owners[0].name if owners else None
            return protocol.abandon(some.namespace, name, uid, list(known.values()), slots)
        observed = Observed(
            pods=dict(known),
            vanished=frozenset(self._vanished.get(uid, ())),
            refusals=self._refusals.get(uid, {}),
            slots=slots,
            granted=self._queues.granted(uid, self._clock()),
            waits=self._queues.waits(uid, self._clock()),
            dismissal=self._queues.dismissal(uid),
            live=self._workflows.get((run.metadata.namespace, run.spec.workflow or "")),
        )
        return protocol.reconcile(run, observed, self._clock(), self._policy)

    async def _drive(self, steps: protocol.Steps | None) -> Pass | None:
        if steps is None:
            return None
        metrics.passes.inc()
        return await drive(steps, self._do, self._allowed)

    async def _do(self, batch: Sequence[Call]) -> list[Any]:
        answers: list[Any] = [None] * len(batch)
        left = iter(enumerate(batch))

        async def do_those_left() -> None:
            for place, call in left:
                answers[place] = await self._do_one(call)

        await asyncio.gather(*(do_those_left() for _ in batch[:AT_A_TIME]))
        return answers

    async def _do_one(self, call: Call) -> Any:
        answer = await self._driver.do(call)
        # At once, not after the batch: by then the watch may have told of the object's end.
        self._learn(call, answer)
        return answer

    def _learn(self, call: Call, answer: Any) -> None:
        """What a call answered is known before the watch tells it."""
        if isinstance(answer, Run) and isinstance(call, calls.WriteStatus):
            # The pass goes on from its own write; there's nothing in it to look at again.
            known = self.runs.get(answer.metadata.uid)
            if known is None or version(known) < version(answer):
                self._know(answer)
            metrics.count(call.run, answer)
        elif isinstance(answer, Run):
            self.see_run(answer)
            if isinstance(call, calls.ReadRun) and call.uid != answer.metadata.uid:
                self.lose_run(call.uid)
        elif isinstance(answer, Slot | Lease):
            self._queues.hear(answer)
        elif isinstance(call, calls.FreeSlot) and answer is None:
            self.see_slot(call.slot, None)
        elif isinstance(answer, Carrier):
            uid = answer.metadata.labels.get(names.RUN_UID, "")
            # A Pod that its last finalizer has just left may be gone: the watch says so, this answer doesn't.
            if not answer.deleting:
                self._remember_pod(uid, answer)
        elif isinstance(answer, Problem) and answer.failure is Failure.NOT_FOUND:
            if isinstance(call, calls.WriteStatus | calls.DeleteRun):
                self.lose_run(call.run.metadata.uid)
            elif isinstance(call, calls.ReadRun):
                self.lose_run(call.uid)
            elif isinstance(call, calls.ReadSlot | calls.MarkSlot | calls.FreeSlot):
                self.see_slot(call.slot, None)
            elif isinstance(call, calls.OpenGate | calls.Release | calls.DeletePod):
                self.see_pod(call.pod, None)
        elif answer is None and isinstance(call, calls.DeleteRun):
            self.lose_run(call.run.metadata.uid)

    async def _enforce_retention(self, uid: str) -> None:
        """Once per finished run: delete the oldest of its workflow that are beyond its retention."""
        run = self.runs.get(uid)
        if run is None or not run.status.phase.final or run.spec.workflow is None:
            return
        group = self._finished[run.metadata.namespace, run.spec.workflow]
        if uid in group:
            return
        group.add(uid)
        for old in retention.surplus(self.runs[member] for member in group if member in self.runs):
            await self._do_one(calls.DeleteRun(old))
