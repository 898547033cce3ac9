"""Runs that nobody creates by hand: schedules that tick and events that come, while an arena suffers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from adze.core.model import API_VERSION

from .shapes import key, step

if TYPE_CHECKING:
    from .arena import Arena

EVERY = 0.5
"""Seconds from one event to the next."""
TYPES = ("order:created", "order:changed", "order:created", "parcel:sent")
CAUGHT_UP = 40.0
"""Seconds in which schedules must come to the present once all is well."""
Object = dict[str, Any]


def _bare(name: str) -> Object:
    """A step that costs no Pod."""
    return step(name, when="false")


def _workflow(name: str, on: Object, *steps: Object) -> Object:
    spec = {"on": on, "steps": list(steps)}
    return {"apiVersion": API_VERSION, "kind": "Workflow", "metadata": {"name": name}, "spec": spec}


ALL = _workflow("each-event", {"events": [{"name": "*"}]}, _bare("a"))
"""Waits for every event."""
ORDERS = _workflow("each-order", {"events": [{"name": "order:*"}]}, _bare("a"))
"""Waits for most events."""


def event(name: str, number: int = 0, of: str = "/chaos") -> Object:
    """A WorkflowEvent; its number says which event it is."""
    spec = {"source": of, "id": str(number), "type": TYPES[number % len(TYPES)], "data": {"n": number}}
    return {"apiVersion": API_VERSION, "kind": "WorkflowEvent", "metadata": {"name": name}, "spec": spec}


WORKFLOWS = (
    _workflow("each-tick", {"cron": [{"schedule": "*/2 * * * * *", "missed": "RunAll"}]}, _bare("a")),
    _workflow("some-ticks", {"cron": [{"schedule": "*/7 * * * * *"}]}, step("a", concurrency=[key("tick-1")])),
    ORDERS,
    _workflow(
        "some-orders",
        {"events": [{"name": "order:created", "filter": "event.data.n % 12 == 0"}]},
        step("each", forEach="[1, 2]", concurrency=[key("order-2")]),
    ),
)


class Traffic:
    """Sends events, some of them twice under other names, until `end`."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._sender: asyncio.Task[None] | None = None
        self.sent = 0

    async def start(self) -> None:
        """Create the Workflows, and begin to send."""
        for workflow in WORKFLOWS:
            await self._arena.lab.create(self._arena.namespace, workflow)
        self._sender = asyncio.create_task(self._send_on())

    async def _send_on(self) -> None:
        while True:
            await self._send(self.sent, f"e{self.sent}")
            if self.sent % 4 == 3:
                again = self._arena.chance.randrange(max(0, self.sent - 10), self.sent + 1)
                await self._send(again, f"e{again}-again-{self.sent}")
            self.sent += 1
            await asyncio.sleep(EVERY)

    async def _send(self, number: int, name: str) -> None:
        await self._arena.lab.create(self._arena.namespace, event(name, number))

    async def end(self) -> None:
        """Send no more, wait until the schedules have come to the present, and suspend them."""
        arena = self._arena
        if self._sender is None:
            return
        await self.close()
        # If they don't, the checker says so.
        with suppress(TimeoutError):
            await arena.see("schedules to catch up", self._caught_up, CAUGHT_UP)
        for workflow in WORKFLOWS:
            cron = [{**trigger, "suspend": True} for trigger in workflow["spec"]["on"].get("cron", ())]
            if cron:
                path = arena.path("workflows", workflow["metadata"]["name"])
                await arena.lab.patch(path, {"spec": {"on": {"cron": cron}}})
        with suppress(TimeoutError):
            await arena.see("schedules to stop", self._stopped, CAUGHT_UP)

    def _caught_up(self) -> bool:
        entries = [entry for workflow in self._arena.recorder.workflows.values() for entry in workflow.status.cron]
        over = self._arena.fault_over or 0.0
        return len(entries) == 2 and all(entry.decided_time.timestamp() > over for entry in entries)

    def _stopped(self) -> bool:
        workflows = self._arena.recorder.workflows.values()
        return all(entry.reason == "Suspended" for workflow in workflows for entry in workflow.status.cron)

    async def close(self) -> None:
        """Stop, whatever happened."""
        if self._sender:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
