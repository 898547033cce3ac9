"""Work that is done key by key: the runs, the queues of a namespace, the schedules of a workflow, the events.

Anything that happens only says "this key needs a look". A key has one worker at a time; what happens during its look
asks for another. After the look it sleeps until something happens or a moment comes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

import structlog

from adze.core import backoff
from adze.shell import metrics

log = structlog.get_logger()
K = TypeVar("K")

RETRY = (1.0, 300.0)
"""First and longest pause, in seconds, after a look that raised: one broken object must not stop the others."""
LONGEST = timedelta(days=1)
"""Longest sleep: an event loop takes no timers for years."""


class Workers(Generic[K]):
    """Keeps one look at a time going for each key that needs it, and its alarm clock."""

    def __init__(self, look: Callable[[K], Awaitable[timedelta]], clock: Callable[[], datetime]) -> None:
        """`look` does the work, sets the alarm with `wake`, and says how long to rest before the next look."""
        self._look = look
        self._clock = clock
        self._tasks: dict[K, asyncio.Task[None]] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._again: dict[K, int] = {}
        self.dirty: set[K] = set()
        self.failures: dict[K, int] = {}
        self.running = False

    async def stop(self) -> None:
        """Stop between two calls, as a crash could; everything needed is in the API server."""
        self.running = False
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def look(self, key: K) -> None:
        """This key needs a look: now if its worker is idle, else once the present look is over."""
        if not self.running:
            return
        self.dirty.add(key)
        if key not in self._tasks:
            self._tasks[key] = asyncio.get_running_loop().create_task(self._work(key), name=f"work on {key}")

    def wake(self, key: K, moment: datetime | None, *, again: bool = False) -> None:
        """Look again at that moment, and with `again` soon: later each time in a row."""
        if not again:
            self._again.pop(key, None)
        else:
            count = self._again[key] = self._again.get(key, 0) + 1
            soon = self._clock() + backoff.again(count, str(key))
            moment = min(moment or soon, soon)
        self._set(key, moment)

    def _set(self, key: K, moment: datetime | None) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if moment is not None and self.running:
            delay = min(max(timedelta(0), moment - self._clock()), LONGEST) / timedelta(seconds=1)
            self._timers[key] = asyncio.get_running_loop().call_later(delay, self.look, key)

    def forget(self, key: K) -> None:
        """There's nothing to do for this key any more."""
        self.failures.pop(key, None)
        self.wake(key, None)

    async def _work(self, key: K) -> None:
        try:
            while key in self.dirty:
                rest = await self.begin(key)
                if rest:
                    await asyncio.sleep(rest / timedelta(seconds=1))
        finally:
            del self._tasks[key]

    async def begin(self, key: K) -> timedelta:
        """One look; one that raises is made again after a pause that grows."""
        self.dirty.discard(key)
        try:
            rest = await self._look(key)
        except Exception:
            failures = self.failures[key] = self.failures.get(key, 0) + 1
            self._set(key, self._clock() + timedelta(seconds=backoff.growing(RETRY, failures - 1)))
            metrics.failed_passes.inc()
            log.exception("a look failed; there will be another", of=str(key), failures=failures)
            return timedelta(0)
        self.failures.pop(key, None)
        return rest
