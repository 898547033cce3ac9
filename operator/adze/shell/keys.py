"""Deletes the Leases of idempotency keys whose window is over. Those without a window go with the run that holds it."""

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from adze.core import keys, names
from adze.core.model import Lease
from adze.shell.cluster import ApiError, Cluster, resource, selector
from adze.shell.driver import LEASES
from adze.shell.outside import utcnow

log = structlog.get_logger()

PAUSE = 600.0
"""Seconds between two looks: a Lease that is kept longer than needed does no harm."""
PAGE = "500"


class _ListMeta(msgspec.Struct):
    continue_: str = msgspec.field(default="", name="continue")


class _Leases(msgspec.Struct):
    metadata: _ListMeta
    items: list[Lease] = []


async def sweep(cluster: Cluster, namespaces: Sequence[str]) -> None:
    """Delete what is over, again and again, until cancelled."""
    while True:
        for namespace in namespaces or (None,):
            try:
                await _sweep(cluster, resource(LEASES, namespace, "leases"))
            except ApiError as error:
                log.warning("Leases of idempotency keys not swept", namespace=namespace, error=str(error))
        await asyncio.sleep(PAUSE)


async def _sweep(cluster: Cluster, path: str) -> None:
    params = {"labelSelector": selector({names.LEASE: names.KEY}), "limit": PAGE}
    while True:
        page = msgspec.json.decode(await cluster.call("GET", path, **params), type=_Leases)
        for lease in page.items:
            if keys.expired(lease, utcnow()):
                await _delete(cluster, lease)
        if not page.metadata.continue_:
            return
        params["continue"] = page.metadata.continue_


async def _delete(cluster: Cluster, lease: Lease) -> None:
    metadata = lease.metadata
    preconditions = {"uid": metadata.uid, "resourceVersion": metadata.resource_version}
    try:
        path = resource(LEASES, metadata.namespace, "leases", metadata.name)
        await cluster.call("DELETE", path, {"preconditions": preconditions})
    except ApiError as error:
        # Gone, or taken by another run meanwhile.
        if error.code not in (404, 409):
            raise
