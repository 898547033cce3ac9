"""Deletes Leases that are over: of idempotency keys whose window has passed, and of allowances that nobody has used.

Idempotency keys without a window go with the run that holds them.
"""

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from adze.core import keys, names, rates
from adze.core.model import LEASE_API_VERSION, Lease
from adze.shell.cluster import ApiError, Cluster, resource, selector
from adze.shell.lists import pages
from adze.shell.outside import utcnow

log = structlog.get_logger()

PAUSE = 600.0
"""Seconds between two looks: a Lease that is kept longer than needed does no harm."""


OVER = {names.KEY: keys.expired, names.ALLOWANCE: rates.over}


async def sweep(cluster: Cluster, namespaces: Sequence[str]) -> None:
    """Delete what is over, again and again, until cancelled."""
    while True:
        for namespace in namespaces or (None,):
            try:
                await _sweep(cluster, resource(LEASE_API_VERSION, namespace, "leases"))
            except ApiError as error:
                log.warning("Leases not swept", namespace=namespace, error=str(error))
        await asyncio.sleep(PAUSE)


async def _sweep(cluster: Cluster, path: str) -> None:
    for kind, over in OVER.items():
        async for page in pages(cluster, path, labelSelector=selector({names.LEASE: kind})):
            for item in page.items:
                lease = msgspec.json.decode(item, type=Lease)
                if over(lease, utcnow()):
                    await _delete(cluster, lease)


async def _delete(cluster: Cluster, lease: Lease) -> None:
    metadata = lease.metadata
    preconditions = {"uid": metadata.uid, "resourceVersion": metadata.resource_version}
    try:
        path = resource(LEASE_API_VERSION, metadata.namespace, "leases", metadata.name)
        await cluster.call("DELETE", path, {"preconditions": preconditions})
    except ApiError as error:
        # Gone, or taken of by another run meanwhile.
        if error.code not in (404, 409):
            raise
