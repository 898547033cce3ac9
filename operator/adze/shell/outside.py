"""What the engine needs of the world around it: a clock, and somebody who does the calls that the core asks for."""

from collections.abc import Awaitable, Callable, Generator, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import structlog

from adze.core.calls import Call

log = structlog.get_logger()
C = TypeVar("C")
R = TypeVar("R")


def utcnow() -> datetime:
    """The operator's only clock, in the milliseconds that the status shows."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class Driver(Protocol):
    """Does the protocol's calls: `shell.driver` over HTTP, `local.api` in memory."""

    async def do(self, call: Call) -> Any:
        """The answer to a call, or the Problem with it."""


async def drive(
    steps: Generator[Sequence[C], Sequence[Any], R],
    do: Callable[[Sequence[C]], Awaitable[list[Any]]],
    allowed: Callable[[], bool],
) -> R | None:
    """Do the batches of calls that a generator asks for; None if this process may work no more before it has ended."""
    try:
        batch = next(steps)
        while True:
            if not allowed():
                log.warning("work was given up: this replica may do no more")
                return None
            batch = steps.send(await do(batch))
    except StopIteration as stop:
        result: R = stop.value
        return result
