"""How long to wait before the next attempt of a step, and before the next pass over a run that made no way."""

from datetime import timedelta

from adze.core import duration, names
from adze.core.model import Backoff, BackoffType

AGAIN = (timedelta(seconds=1), timedelta(seconds=30))
"""First and longest pause after a pass that got a conflict or an unknown answer."""


def again(count: int, seed: str) -> timedelta:
    """The pause after the `count`-th such pass in a row (1 for the first): half to the whole of what has doubled.

    `seed` spreads those that failed at the same moment.
    """
    first, longest = AGAIN
    # The limit of the power: past the longest pause it no longer matters.
    return min(first * 2.0 ** min(count - 1, 10), longest) * (0.5 + _share(seed, str(count)) / 2)


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
