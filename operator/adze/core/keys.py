"""Idempotency keys: of the runs of a workflow with the same key one does the work.

The key is a Lease, taken by its creation, or by compare-and-swap once its holder no longer needs it. A run takes the
key before it begins and notes that in its status; from then on nobody asks again. See adr/0015.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import msgspec

from adze.core import duration, names, planner
from adze.core.calls import Call, CreateLease, Failure, Problem, ReadLease, ReadRun, ReplaceLease
from adze.core.model import API_VERSION, LEASE_API_VERSION, MICROTIME, Lease, Run
from adze.core.planner import Plan

REFUSED_AGAIN = timedelta(seconds=5)
"""Pause before a key that the API server refused is asked for again."""

Steps = Generator[Sequence[Call], Sequence[Any], Plan | None]


def settle(run: Run, plan: Plan, now: datetime) -> Steps:
    """The plan of a run that would begin or wait, once it's known whether it has its key; None if that isn't known."""
    if run.spec.idempotency_key is None or run.status.key_time or plan.status is None or plan.status.phase.final:
        return plan
    (answer,) = yield [CreateLease(manifest(run, now))]
    holder: str | None = None
    if isinstance(answer, Problem) and answer.failure is Failure.EXISTS:
        answer, holder = yield from _take_over(run, now)
    if holder:
        message = f"run {holder} has taken the idempotencyKey {run.spec.idempotency_key!r}"
        return planner.duplicate(run, message, now, of=holder)
    if isinstance(answer, Problem):
        if answer.failure in (Failure.REFUSED, Failure.LATER):
            return planner.waiting(run, "KeyRefused", f"idempotencyKey: {answer.message}", now, now + REFUSED_AGAIN)
        return None
    return replace(plan, status=msgspec.structs.replace(plan.status, key_time=now))


def _take_over(run: Run, now: datetime) -> Generator[Sequence[Call], Sequence[Any], tuple[Any, str | None]]:
    """The last answer of the API server, and the name of the run that holds the key if it isn't this one."""
    (lease,) = yield [ReadLease(run.metadata.namespace, names.key_lease(run.spec.workflow, run.spec.idempotency_key))]
    if isinstance(lease, Problem) or lease.spec.holder_identity == run.metadata.uid:
        return lease, None
    holder = lease.metadata.annotations.run
    if lease.spec.lease_duration_seconds:
        free = expired(lease, now)
    else:
        (other,) = yield [ReadRun(run.metadata.namespace, holder, lease.spec.holder_identity)]
        if isinstance(other, Problem):
            free = other.failure is Failure.NOT_FOUND
            if not free:
                return other, None
        else:
            free = other.metadata.uid != lease.spec.holder_identity or other.status.phase.final
    if not free:
        return lease, holder
    (answer,) = yield [ReplaceLease(lease, manifest(run, now))]
    return answer, None


def expired(lease: Lease, now: datetime) -> bool:
    """Whether the window of a key is over. A key without a window is held until its run has ended."""
    seconds = lease.spec.lease_duration_seconds
    since = lease.spec.acquire_time
    return bool(seconds and since and now >= since + timedelta(seconds=seconds))


def manifest(run: Run, now: datetime) -> dict[str, Any]:
    """The Lease of a run's key. Without a window it goes with the run that owns it."""
    metadata, spec = run.metadata, run.spec
    window = duration.parse(spec.idempotency_window) if spec.idempotency_window else None
    about: dict[str, Any] = {
        "name": names.key_lease(spec.workflow, spec.idempotency_key),
        "namespace": metadata.namespace,
        "labels": {names.MANAGED_BY: "adze", names.LEASE: names.KEY},
        "annotations": {names.RUN: metadata.name, names.IDEMPOTENCY_KEY: spec.idempotency_key},
    }
    lease: dict[str, Any] = {"holderIdentity": metadata.uid, "acquireTime": now.strftime(MICROTIME)}
    if window is None:
        owner = {"apiVersion": API_VERSION, "kind": "WorkflowRun", "name": metadata.name, "uid": metadata.uid}
        about["ownerReferences"] = [owner]
    else:
        lease["leaseDurationSeconds"] = max(1, ceil(window.total_seconds()))
    return {"apiVersion": LEASE_API_VERSION, "kind": "Lease", "metadata": about, "spec": lease}
