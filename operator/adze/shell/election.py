"""Which replica works: one Lease, renewed by compare-and-swap.

It saves work, no more: two replicas at once are safe, since every claim is a compare-and-swap and every Pod waits
behind its gate. kopf's peering is no election (equal peers pause each other), and the elector of the official client
neither stops its leader when the API server is away nor gives the Lease back (see docs/adr/0012-own-elector.md).
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from adze.core.model import LEASE_API_VERSION, MICROTIME
from adze.shell.cluster import ApiError, Cluster, resource

log = structlog.get_logger()

DURATION = 8.0
"""Seconds after its last renewal for which a Lease is held."""
RENEWAL = 2.0
"""Seconds between renewals."""
POLL = 1.0
"""Seconds between the looks of a replica that waits."""


class LeaseLostError(RuntimeError):
    """Another replica may work now: this process must not go on."""


class Elector:
    """Waits for the Lease, keeps it, gives it back. Times are by the monotonic clock; clocks of hosts never compare."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._held: dict[str, Any] | None = None
        self._until = 0.0
        self._seen: tuple[str, float] = ("", 0.0)

    def valid(self) -> bool:
        """Whether this replica may write now. False after a long pause of the process, even before it's noticed."""
        return self._clock() < self._until

    async def lead(self) -> None:
        """Return once this replica holds the Lease."""
        while True:
            try:
                if await self._try():
                    log.info("leading", lease=self._name, identity=self._identity)
                    return
            except ApiError as error:
                log.warning("the Lease can't be taken", lease=self._name, error=str(error))
            await asyncio.sleep(POLL)

    async def keep(self) -> None:
        """Renew until the Lease is lost, then raise LeaseLostError."""
        while True:
            await asyncio.sleep(RENEWAL)
            try:
                if not await self._try():
                    raise LeaseLostError(f"another replica holds the Lease {self._name}")
            except ApiError as error:
                log.warning("the Lease wasn't renewed", lease=self._name, error=str(error))
            if not self.valid():
                raise LeaseLostError(f"the Lease {self._name} could not be renewed for {DURATION:.0f} s")

    async def release(self) -> None:
        """Give the Lease back, so that another replica needn't wait for its end."""
        if self._held is None or not self.valid():
            return
        self._until = 0.0
        try:
            await self._write(self._held, holder="")
        except ApiError as error:
            log.warning("the Lease was not given back", lease=self._name, error=str(error))

    async def _try(self) -> bool:
        """Take or renew the Lease if it's free, ours, or has not changed for its duration under our eyes."""
        lease = await self._read()
        holder = lease["spec"].get("holderIdentity") or ""
        version = lease["metadata"].get("resourceVersion", "")
        if version != self._seen[0]:
            self._seen = (version, self._clock())
        expired = self._clock() >= self._seen[1] + DURATION
        if holder not in ("", self._identity) and not expired:
            return False
        before = self._clock()
        try:
            self._held = await self._write(lease, holder=self._identity)
        except ApiError as error:
            if error.code == 409:
                return False
            raise
        self._seen = (self._held["metadata"]["resourceVersion"], self._clock())
        # Counted from before the call: others count from after it.
        self._until = before + DURATION
        return True

    async def _read(self) -> dict[str, Any]:
        path = resource(LEASE_API_VERSION, self._namespace, "leases", self._name)
        try:
            lease: dict[str, Any] = msgspec.json.decode(await self._cluster.call("GET", path))
        except ApiError as error:
            if error.code != 404:
                raise
            metadata = {"name": self._name, "namespace": self._namespace}
            lease = {"apiVersion": LEASE_API_VERSION, "kind": "Lease", "metadata": metadata, "spec": {}}
        return lease

    async def _write(self, lease: dict[str, Any], holder: str) -> dict[str, Any]:
        old = lease.get("spec") or {}
        now = datetime.now(UTC).strftime(MICROTIME)
        changed = holder != (old.get("holderIdentity") or "")
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(DURATION),
            "acquireTime": now if changed else old.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": old.get("leaseTransitions", 0) + (1 if changed and holder else 0),
        }
        exists = "resourceVersion" in lease["metadata"]
        path = resource(LEASE_API_VERSION, self._namespace, "leases", self._name if exists else "")
        answer = await self._cluster.call("PUT" if exists else "POST", path, {**lease, "spec": spec})
        written: dict[str, Any] = msgspec.json.decode(answer)
        return written
