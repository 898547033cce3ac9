"""How far this process's clock is from the API server's, by the `Date` header of its answers.

Deadlines, backoffs and schedules follow the clock here; times of containers come from nodes. What differs shifts them.
"""

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import structlog

from adze.shell import metrics

log = structlog.get_logger()

EVERY = 10.0
"""Seconds between two looks at a header: parsing one costs more than all else about a call's headers."""
TOLERATED = 5.0
"""Seconds of skew that are not worth a warning."""
WHOLE = 1.0
"""Seconds that the header's time may be too early: it holds no fractions."""


class Skew:
    """Keeps the metric, and warns once each time that the skew has grown beyond what is tolerated."""

    def __init__(self, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._monotonic = monotonic
        self._next = 0.0
        self._warned = False

    def heed(self, date: str, sent: float) -> None:
        """Compare an answer's `Date` with the clock here, which showed `sent` as the call went out.

        The server wrote it at some moment in between: what is shown is the least skew that explains it.
        """
        if self._monotonic() < self._next:
            return
        try:
            then = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return  # A proxy's; it tells nothing.
        self._next = self._monotonic() + EVERY
        seconds = max(sent - then - WHOLE, 0.0) or min(self.clock() - then, 0.0)
        metrics.clock_skew.set(seconds)
        if abs(seconds) <= TOLERATED:
            self._warned = False
        elif not self._warned:
            self._warned = True
            direction = "ahead of" if seconds > 0 else "behind"
            log.warning(f"the clock here is {direction} the API server's", seconds=round(abs(seconds), 1))
