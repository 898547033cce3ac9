"""Bounded polling on a condition, with what was seen last in the error when time runs out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class NotYetError(Exception):
    """Raised by a probe whose condition does not hold yet; its text says what was seen instead."""


def wait_until(what: str, probe: Callable[[], T], timeout: float, interval: float = 0.1) -> T:
    """Call ``probe`` until it returns instead of raising NotYetError or OSError, and return its value.

    Raises TimeoutError after ``timeout`` seconds, naming ``what`` was awaited and what was seen last.
    Any other exception of the probe is a defect and passes through.
    """
    start = time.monotonic()
    while True:
        try:
            return probe()
        except (NotYetError, OSError) as reason:
            if time.monotonic() - start > timeout:
                raise TimeoutError(f"waited {timeout:.0f}s for {what}; last seen: {reason}") from reason
        time.sleep(interval)


def wait_true(
    what: str, condition: Callable[[], bool], timeout: float, seen: Callable[[], object] | None = None
) -> None:
    """Wait until ``condition`` returns true; ``seen`` describes the present state for the error."""

    def probe() -> None:
        if not condition():
            raise NotYetError(str(seen()) if seen else "condition is false")

    wait_until(what, probe, timeout)
