"""One worker per run: look at what is there, make a pass, sleep until something changes or a moment comes.

Anything that happens only says "this run needs a look". A pass works from the whole of what is known then, so a
missed or doubled message changes nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from adze.core import calls, names, protocol, retention
from adze.core.calls import Call, Failure, Problem
from adze.core.carrier import Carrier
from adze.core.model import Run
from adze.core.observed import Observed, Refusal
from adze.core.policy import Policy
from adze.core.protocol import Pass
from adze.shell import metrics
from adze.shell.driver import Driver

log = structlog.get_logger()

RETRY = (1.0, 300.0)
"""First and longest pause, in seconds, after a pass over a run raised: one broken run must not stop the others."""

AT_A_TIME = 16
"""Calls of one run in flight: a wide run leaves room for the others."""


def utcnow() -> datetime:
    """The operator's only clock, in the milliseconds that the status shows."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


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
        self._pods: dict[str, dict[str, Carrier]] = defaultdict(dict)
        self._vanished: dict[str, set[str]] = defaultdict(set)
        self._refusals: dict[str, dict[str, Refusal]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._dirty: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}
        self._finished: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._running = False

    def start(self) -> None:
        """Begin to work; what was learnt before is looked at now."""
        self._running = True
        for uid in {*self.runs, *self._pods}:
            self.look(uid)

    async def stop(self) -> None:
        """Stop between two calls, as a crash could; everything needed is in the API server."""
        self._running = False
        for timer in self._timers.values():
            timer.cancel()
        for worker in self._workers.values():
            worker.cancel()
        await asyncio.gather(*self._workers.values(), return_exceptions=True)

    def see_run(self, run: Run) -> None:
        """A run as somebody saw it; an older sight than the known one is ignored."""
        uid = run.metadata.uid
        known = self.runs.get(uid)
        if known and _version(known) >= _version(run):
            return
        self.runs[uid] = run
        self.look(uid)

    def lose_run(self, uid: str) -> None:
        """A run was deleted."""
        run = self.runs.pop(uid, None)
        if run is None:
            return
        if run.spec.workflow:
            self._finished[run.metadata.namespace, run.spec.workflow].discard(uid)
        self._vanished.pop(uid, None)
        self._refusals.pop(uid, None)
        self.look(uid)

    def see_workflow(self, namespace: str, name: str) -> None:
        """A Workflow has appeared or changed: runs that wait for it need a look."""
        for uid, run in self.runs.items():
            if run.status.workflow_spec is None and run.spec.workflow == name and run.metadata.namespace == namespace:
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
        if known and known.metadata.uid == pod.metadata.uid and _version(known) >= _version(pod):
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
        if not self._running:
            return
        self._dirty.add(uid)
        if uid not in self._workers:
            worker = asyncio.get_running_loop().create_task(self._work(uid), name=f"run {uid}")
            self._workers[uid] = worker

    async def _work(self, uid: str) -> None:
        try:
            while uid in self._dirty:
                self._dirty.discard(uid)
                rest = await self._pass(uid)
                if rest:
                    await asyncio.sleep(rest / timedelta(seconds=1))
        finally:
            del self._workers[uid]

    async def _pass(self, uid: str) -> timedelta:
        """One pass; how long to rest before the next."""
        try:
            result = await self._drive(self._steps(uid))
        except Exception:
            failures = self._failures[uid] = self._failures.get(uid, 0) + 1
            first, longest = RETRY
            self._wake(uid, self._clock() + timedelta(seconds=min(first * 2 ** (failures - 1), longest)))
            metrics.failed_passes.inc()
            log.exception("a pass failed; the run is tried again", uid=uid, failures=failures)
            return timedelta(0)
        self._failures.pop(uid, None)
        if result is not None:
            self._refusals[uid] = dict(result.refusals)
            self._forget(uid)
            self._wake(uid, result.wake)
        await self._enforce_retention(uid)
        return result.rest if result else timedelta(0)

    def _forget(self, uid: str) -> None:
        """Of Pods that vanished only those matter that an attempt still waits for."""
        run, vanished = self.runs.get(uid), self._vanished.get(uid)
        if run and vanished:
            vanished &= {attempt.pod for part in run.status.parts() if (attempt := part.open_attempt)}

    def _steps(self, uid: str) -> protocol.Steps | None:
        run = self.runs.get(uid)
        known = self._pods.get(uid, {})
        now = self._clock()
        if run is None or run.metadata.deletion_timestamp:
            if not known:
                return None
            some = next(iter(known.values())).metadata
            owners = [owner for pod in known.values() for owner in pod.metadata.owner_references if owner.uid == uid]
            name = owners[0].name if owners else None
            return protocol.abandon(some.namespace, name, uid, list(known.values()), now)
        observed = Observed(
            pods=dict(known),
            vanished=frozenset(self._vanished.get(uid, ())),
            refusals=self._refusals.get(uid, {}),
        )
        return protocol.reconcile(run, observed, now, self._policy)

    async def _drive(self, steps: protocol.Steps | None) -> Pass | None:
        if steps is None:
            return None
        metrics.passes.inc()
        try:
            batch = next(steps)
            while True:
                if not self._allowed():
                    log.warning("a pass was given up: this replica may work no more")
                    return None
                batch = steps.send(await self._do(batch))
        except StopIteration as stop:
            result: Pass = stop.value
            return result

    async def _do(self, batch: Sequence[Call]) -> list[Any]:
        if len(batch) == 1:
            return [await self._do_one(batch[0])]
        turn = asyncio.Semaphore(AT_A_TIME)

        async def do_in_turn(call: Call) -> Any:
            async with turn:
                return await self._do_one(call)

        return list(await asyncio.gather(*map(do_in_turn, batch)))

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
            if known is None or _version(known) < _version(answer):
                self.runs[answer.metadata.uid] = answer
            metrics.count(call.run, answer)
        elif isinstance(answer, Run):
            self.see_run(answer)
            if isinstance(call, calls.ReadRun) and call.uid != answer.metadata.uid:
                self.lose_run(call.uid)
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
            elif isinstance(call, calls.OpenGate | calls.Release | calls.DeletePod):
                self.see_pod(call.pod, None)
        elif answer is None and isinstance(call, calls.DeleteRun):
            self.lose_run(call.run.metadata.uid)

    def _wake(self, uid: str, moment: datetime | None) -> None:
        timer = self._timers.pop(uid, None)
        if timer:
            timer.cancel()
        if moment is not None and self._running:
            delay = max(0.0, (moment - self._clock()) / timedelta(seconds=1))
            self._timers[uid] = asyncio.get_running_loop().call_later(delay, self.look, uid)

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


def _version(item: Run | Carrier) -> int:
    """resourceVersions are comparable numbers (KEP-5504)."""
    return int(item.metadata.resource_version or 0)
