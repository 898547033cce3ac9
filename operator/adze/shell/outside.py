"""What the engine needs of the world around it: a clock, somebody who does the calls, an order of versions."""

from datetime import UTC, datetime
from typing import Any, Protocol

from adze.core.calls import Call
from adze.core.model import Run
from adze.core.pods import Pod


def utcnow() -> datetime:
    """The operator's only clock, in the milliseconds that the status shows."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class Driver(Protocol):
    """Does the protocol's calls: `shell.driver` over HTTP, `local.api` in memory."""

    async def do(self, call: Call) -> Any:
        """The answer to a call, or the Problem with it."""


def version(item: Run | Pod) -> int:
    """resourceVersions are comparable numbers (KEP-5504)."""
    return int(item.metadata.resource_version or 0)
