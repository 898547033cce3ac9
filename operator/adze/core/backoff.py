"""How long to wait before the next attempt."""

from datetime import timedelta

from adze.core import duration, names
from adze.core.model import Backoff, BackoffType


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
    share = int(names.digest("jitter", seed, length=8), 16) / 0xFFFFFFFF
    return min(wait, longest) * (1 + share * backoff.jitter / 100)
