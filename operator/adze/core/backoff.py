"""How long to wait before the next attempt of a step, and before the next pass over a run that made no way."""

from datetime import timedelta

from adze.core import duration, names
from adze.core.model import Backoff, BackoffType

AGAIN = (1.0, 30.0)
"""First and longest pause, in seconds, after a pass that got a conflict or an unknown answer."""


def again(count: int, seed: str) -> timedelta:
    """The pause after the `count`-th such pass in a row (1 for the first): half to the whole of what has doubled.

    `seed` spreads those that failed at the same moment.
    """
    return timedelta(seconds=growing(AGAIN, count - 1)) * (0.5 + _share(seed, str(count)) / 2)


def delay(backoff: Backoff, failures: int, seed: str) -> timedelta:
    """The delay after the `failures`-th failed attempt (1 for the first).

    `seed` picks the jitter: the same attempt gets the same delay from every process that plans it.
    """
    base = duration.parse(backoff.base)
    longest = duration.parse(backoff.max)
    if backoff.type is BackoffType.CONSTANT:
        wait = base
    elif backoff.type is BackoffType.LINEAR:
        wait = base * failures
    elif not base:
        wait = base
    else:
        growth = backoff.factor ** (failures - 1)
        # Past the cap the power no longer matters, and a timedelta would overflow.
        wait = base * growth if growth < longest / base else longest
    return min(wait, longest) * (1 + _share(seed) * backoff.jitter / 100)


def _share(*seed: str) -> float:
    """A number from 0 to 1 that any process picks alike."""
    return int(names.digest("jitter", *seed, length=8), 16) / 0xFFFFFFFF


def growing(limits: tuple[float, float], failures: int) -> float:
    """A pause that doubles with each failure, from the first to the longest of `limits`."""
    first, longest = limits
    # Past some point the power no longer matters, and a float would overflow.
    return min(first * 2.0 ** min(failures, 30), longest)
