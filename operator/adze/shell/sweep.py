"""Deletes what is kept for a while and belongs to no run: idempotency keys, allowances, entries of the cache."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import structlog

from adze.core import cache, keys, names, rates
from adze.core.model import LEASE_API_VERSION, Entry, Lease
from adze.shell.cluster import ApiError, Cluster, resource, selector
from adze.shell.lists import pages
from adze.shell.outside import utcnow

log = structlog.get_logger()

PAUSE = 600.0
"""Seconds between two looks: what is kept longer than needed does no harm."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A kind of object that is kept for a while: where it is, which ones, and when its time is over."""

    api_version: str
    plural: str
    labels: dict[str, str | None]
    type: type[Lease | Entry]
    expired: Callable[[Any, datetime], bool]


KEPT = (
    # Keys without a window go with the run that holds them.
    Kept(LEASE_API_VERSION, "leases", {names.LEASE: names.KEY}, Lease, keys.expired),
    Kept(LEASE_API_VERSION, "leases", {names.LEASE: names.ALLOWANCE}, Lease, rates.over),
    Kept("v1", "configmaps", {names.CACHE: None, names.MANAGED_BY: "adze"}, Entry, cache.expired),
)


async def sweep(cluster: Cluster, namespaces: Sequence[str]) -> None:
    """Delete what is over, again and again, until cancelled."""
    while True:
        await sweep_once(cluster, namespaces)
        await asyncio.sleep(PAUSE)


async def sweep_once(cluster: Cluster, namespaces: Sequence[str]) -> None:
    """Delete what is over now."""
    for kept in KEPT:
        for namespace in namespaces or (None,):
            try:
                await _sweep(cluster, kept, namespace)
            except ApiError as error:
                log.warning("not swept", what=kept.plural, namespace=namespace, error=str(error))


async def _sweep(cluster: Cluster, kept: Kept, namespace: str | None) -> None:
    path = resource(kept.api_version, namespace, kept.plural)
    async for page in pages(cluster, path, labelSelector=selector(kept.labels)):
        for raw in page.items:
            item = msgspec.json.decode(raw, type=kept.type)
            if kept.expired(item, utcnow()):
                await _delete(cluster, kept, item)


async def _delete(cluster: Cluster, kept: Kept, item: Lease | Entry) -> None:
    metadata = item.metadata
    preconditions = {"uid": metadata.uid, "resourceVersion": metadata.resource_version}
    try:
        path = resource(kept.api_version, metadata.namespace, kept.plural, metadata.name)
        await cluster.call("DELETE", path, {"preconditions": preconditions})
    except ApiError as error:
        # Gone, or taken by another run meanwhile.
        if error.code not in (404, 409):
            raise
