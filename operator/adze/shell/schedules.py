"""Looks at the schedules of every workflow when a tick comes or the workflow changes, and starts their runs.

One worker per workflow, as the engine has one per run: a look, then sleep until something changes or the next tick.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from adze.core import calls, ticks
from adze.core.calls import Failure, ScheduleCall
from adze.core.cron import Sight
from adze.core.model import Run, Workflow, version
from adze.shell import metrics
from adze.shell.driver import Driver
from adze.shell.engine import Engine
from adze.shell.outside import drive, utcnow
from adze.shell.workers import Workers

log = structlog.get_logger()

CLOCK_CHECK = 5.0
"""Seconds between comparisons of the wall clock with the clock that timers go by."""
JUMP = timedelta(seconds=0.5)
"""A difference of the two that is a jump of the wall clock."""

Key = tuple[str, str]


class Schedules:
    """Knows every workflow with schedules, and keeps one look at a time going for each that needs it."""

    def __init__(
        self,
        driver: Driver,
        engine: Engine,
        allowed: Callable[[], bool] = lambda: True,
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        """`allowed` says before each batch of calls whether this process may still work."""
        self._driver = driver
        self._engine = engine
        self._allowed = allowed
        self._clock = clock
        self._workflows: dict[Key, Workflow] = {}
        self._workers = Workers(self._look, clock)
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work; what was learnt before is looked at now."""
        self._workers.running = True
        self._watcher = asyncio.get_running_loop().create_task(self._watch_clock(), name="clock")
        for key in self._workflows:
            self._workers.look(key)

    async def stop(self) -> None:
        """Stop between two calls, as a crash could; everything needed is in the API server."""
        await self._workers.stop()
        if self._watcher:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    def see_workflow(self, workflow: Workflow) -> None:
        """A Workflow as somebody saw it; an older sight than the known one is ignored."""
        key = workflow.key
        known = self._workflows.get(key)
        if known and version(known) >= version(workflow):
            return
        if not (workflow.spec.on and workflow.spec.on.cron) and not workflow.status.cron:
            self.lose_workflow(key)
            return
        self._workflows[key] = workflow
        # Our own writes of the status come back too, and are no news.
        if known is None or known.metadata.uid != workflow.metadata.uid or known.spec != workflow.spec:
            self._workers.look(key)

    def lose_workflow(self, key: Key, uid: str | None = None) -> None:
        """The Workflow of that UID, or whichever it was, is no more, or has no schedules any more."""
        known = self._workflows.get(key)
        if known is None or uid not in (None, known.metadata.uid):
            return
        del self._workflows[key]
        self._workers.forget(key)

    async def _look(self, key: Key) -> timedelta:
        workflow = self._workflows.get(key)
        if workflow is None or workflow.metadata.deletion_timestamp:
            return timedelta(0)
        look = await drive(ticks.reconcile(workflow, self._sight(workflow), self._clock()), self._do, self._allowed)
        if look and key in self._workflows:
            self._workers.wake(key, look.wake, again=look.again)
        for run in look.runs if look else ():
            # Recorded now: whether the watch has brought it before or not, it may begin.
            self._engine.see_run(run)
            self._engine.look(run.metadata.uid)
        return timedelta(0)

    def _sight(self, workflow: Workflow) -> Sight:
        mine = self._engine.waiting(*workflow.key)
        knowing = {
            run.uid
            for entry in workflow.status.cron
            for run in entry.runs
            if (known := self._engine.runs.get(run.uid)) and known.status.trigger
        }
        return Sight(frozenset(knowing), {run.metadata.name: run.metadata.uid for run in mine})

    async def _do(self, batch: Sequence[ScheduleCall]) -> list[Any]:
        answers = list(await asyncio.gather(*map(self._driver.do, batch)))
        for call, answer in zip(batch, answers, strict=True):
            self._learn(call, answer)
        return answers

    def _learn(self, call: ScheduleCall, answer: Any) -> None:
        if isinstance(answer, Workflow):
            # An answer that comes after the news of its deletion must not bring a Workflow back.
            if answer.key in self._workflows:
                self.see_workflow(answer)
        elif isinstance(call, calls.ReadWorkflow) and answer.failure is Failure.NOT_FOUND:
            self.lose_workflow((call.namespace, call.name))
        elif isinstance(call, calls.CreateRun) and isinstance(answer, Run):
            metrics.observe_tick(answer, self._clock())

    async def _watch_clock(self) -> None:
        """Timers go by a clock that never jumps. When the wall clock does, every timer is wrong."""
        loop = asyncio.get_running_loop()
        wall, steady = self._clock(), loop.time()
        while True:
            await asyncio.sleep(CLOCK_CHECK)
            now, later = self._clock(), loop.time()
            if abs((now - wall) - timedelta(seconds=later - steady)) > JUMP:
                log.warning("the clock has jumped; all schedules are looked at", now=str(now))
                for key in self._workflows:
                    self._workers.look(key)
            wall, steady = now, later
