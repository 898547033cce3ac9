"""The pass that takes units of allowances, and the closing of a key: calls for what `meter` decides."""

from collections.abc import Generator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from adze.core import rates
from adze.core.calls import Call, CreateLease, Failure, Problem, ReadLease, ReplaceLease
from adze.core.model import Lease
from adze.core.queues import Queues
from adze.core.slots import Closing

REFUSED_AGAIN = timedelta(seconds=10)
"""Pause before a Lease that the API server refused (a quota, no rights) is asked for again, also by `admission`."""
MAX_ROUNDS = 4

Steps = Generator[Sequence[Call], Sequence[Any], tuple[datetime | None, bool]]


def take(queues: Queues, namespace: str, now: datetime) -> Steps:
    """One pass: take units for those whose turn it is. When to look again, and whether soon, after a failure."""
    meter = queues.meter
    for _ in range(MAX_ROUNDS):
        unknown = meter.unknown(namespace)
        answers = (yield [ReadLease(namespace, rates.lease_name(group)) for group in unknown]) if unknown else ()
        for group, answer in zip(unknown, answers, strict=True):
            if isinstance(answer, Lease):
                meter.hear(answer)
            elif answer.failure is Failure.NOT_FOUND:
                meter.absent(namespace, group)
            else:
                return meter.wakes.get(namespace), True
        writes = meter.choose(namespace, now, queues.holds, queues.caps.has)
        if queues.allot():
            continue
        if not writes:
            return meter.wakes.get(namespace), False
        answers = yield [_written(write.lease, write.manifest) for write in writes]
        refused = False
        for write, answer in zip(writes, answers, strict=True):
            if isinstance(answer, Lease):
                meter.hear(answer)
                meter.granted(namespace, write)
            elif answer.failure in (Failure.REFUSED, Failure.LATER):
                refused = True
                message = f"no Lease can be written: {answer.reason}: {answer.message}"
                meter.refuse(namespace, write, message, now + REFUSED_AGAIN)
            else:
                meter.doubt(namespace, write.group)
        if refused:
            return meter.wakes.get(namespace), False
    return now, False


def close(namespace: str, closings: Sequence[Closing], now: datetime) -> Generator[Sequence[Call], Sequence[Any], bool]:
    """Close keys, before the outcome that asks for it is recorded. False if that has to be tried again."""
    for closing in closings:
        if not (yield from _close(namespace, closing, now)):
            return False
    return True


def _close(namespace: str, closing: Closing, now: datetime) -> Generator[Sequence[Call], Sequence[Any], bool]:
    take, until = closing.take, closing.until
    for _ in range(MAX_ROUNDS):
        (lease,) = yield [ReadLease(namespace, rates.lease_name(take.group))]
        if isinstance(lease, Problem) and lease.failure is not Failure.NOT_FOUND:
            return False
        found = None if isinstance(lease, Problem) else lease
        known = rates.state(found)
        if until <= now or (known.closed_until and known.closed_until >= until):
            return True
        manifest = rates.manifest(namespace, take, msgspec.structs.replace(known, closed_until=until), now)
        (answer,) = yield [_written(found, manifest)]
        if not isinstance(answer, Problem) or answer.failure in (Failure.REFUSED, Failure.LATER):
            # What the API server refuses must not keep the outcome from being recorded.
            return True
    return False


def _written(lease: Lease | None, manifest: dict[str, Any]) -> Call:
    """By compare-and-swap, or by creation if there's none."""
    return ReplaceLease(lease, manifest) if lease else CreateLease(manifest)
