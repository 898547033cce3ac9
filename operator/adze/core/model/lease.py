"""A Lease of Kubernetes, as far as adze reads it: the object that one of many can take, by creating it."""

from datetime import datetime

from adze.core.model.base import Metadata, Record


class LeaseSpec(Record, frozen=True, kw_only=True):
    """Who holds it, since when, for how long."""

    holder_identity: str = ""
    acquire_time: datetime | None = None
    lease_duration_seconds: int | None = None


class Lease(Record, frozen=True, kw_only=True):
    """coordination.k8s.io/v1 Lease."""

    metadata: Metadata
    spec: LeaseSpec = LeaseSpec()
