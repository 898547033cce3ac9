"""The pauses that the API server asks for with `Retry-After`, kept by all calls of one client."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog

log = structlog.get_logger()

LONGEST = 30.0
"""Seconds that a call waits at most, whatever the server asks for."""


class Throttle:
    """Holds calls back until the pause is over. A call that the server has throttled was not done."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._until = 0.0

    def heed(self, code: int, headers: Mapping[str, str]) -> None:
        """Note the pause that an answer asks for: 429 and 503 with whole seconds in `Retry-After`."""
        seconds = headers.get("Retry-After", "")
        if code not in (429, 503) or not (seconds.isascii() and seconds.isdigit()):
            return
        pause = min(float(seconds), LONGEST)
        now = self._clock()
        if self._until <= now:
            log.warning("the API server asks for a pause", code=code, seconds=pause)
        self._until = max(self._until, now + pause)

    async def wait(self) -> None:
        """Return once a call may start: those that waited together start spread over another half of the pause."""
        given_up = self._clock() + LONGEST
        while (left := min(self._until, given_up) - self._clock()) > 0:
            await self._sleep(left * random.uniform(1, 1.5))
