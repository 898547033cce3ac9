"""What is kept for a while is deleted once its time is over, and nothing else is."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from adze.core import names
from adze.shell import sweep
from tests.builders import NOW, seconds
from tests.shell.fake_cluster import FakeCluster, error

OTHERS = "somebody-elses"


def swept(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, now: datetime) -> set[str]:
    """The names that are left after one look."""

    monkeypatch.setattr(sweep, "utcnow", lambda: now)
    asyncio.run(sweep.sweep_once(cluster, ("shop",)))  # type: ignore[arg-type]
    return {name for _, _, name in cluster.objects}


def kept() -> FakeCluster:
    cluster = FakeCluster()
    for name, ttl in (("minute", "1m"), ("hour", "1h")):
        labels = {names.CACHE: "a", names.MANAGED_BY: "adze"}
        cluster.add(
            "configmaps", "shop", name, metadata={"labels": labels}, data={"ttl": ttl, "output": "{}", "run": "r"}
        )
    labels = {"metadata": {"labels": {names.LEASE: names.KEY}}}
    lease: dict[str, Any] = {"holderIdentity": "x", "acquireTime": "2026-03-01T12:00:00.000000Z"}
    cluster.add("leases", "shop", "key", spec={**lease, "leaseDurationSeconds": 60}, **labels)
    cluster.add("leases", "shop", "of-a-run", spec=lease, **labels)
    cluster.add("leases", "shop", "unused", metadata={"labels": {names.LEASE: names.ALLOWANCE}}, spec=lease)
    cluster.add("leases", "shop", OTHERS, spec=lease)
    return cluster


def test_what_is_over_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert swept(kept(), monkeypatch, NOW + seconds(59)) == {"minute", "hour", "key", "of-a-run", OTHERS}
    assert swept(kept(), monkeypatch, NOW + seconds(60)) == {"hour", "of-a-run", OTHERS}
    assert swept(kept(), monkeypatch, NOW + seconds(3600)) == {"of-a-run", OTHERS}


def test_what_has_gone_or_changed_meanwhile_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = kept()

    def conflict(method: str, path: str) -> None:
        if method == "DELETE" and path.endswith("minute"):
            raise error(409, "Conflict")

    cluster.before = conflict
    assert swept(cluster, monkeypatch, NOW + seconds(3600)) == {"minute", "of-a-run", OTHERS}


def test_a_kind_that_can_not_be_listed_does_not_stop_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = kept()

    def forbidden(method: str, path: str) -> None:
        if path.endswith("leases"):
            raise error(403, "Forbidden")

    cluster.before = forbidden
    assert swept(cluster, monkeypatch, NOW + seconds(3600)) == {"key", "of-a-run", "unused", OTHERS}
