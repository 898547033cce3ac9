"""All scenarios by name, as `python -m tests.chaos` runs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from . import burst, crash, havoc, people, rights, shapes, storms, traffic
from .arena import Result
from .lab import Lab

Scenario = Callable[[Lab, int], Awaitable[Result]]


async def crash_diamond(lab: Lab, seed: int) -> Result:
    """Crash before and after every write of a four-step diamond with one retry."""
    return await crash.every_write(lab, shapes.diamond, seed)


async def crash_pair(lab: Lab, seed: int) -> Result:
    """Crash before and after every write of two steps with one retry."""
    return await crash.every_write(lab, shapes.pair, seed)


async def crash_fan(lab: Lab, seed: int) -> Result:
    """Crash before and after every write of a fan-out whose run and items hold keys."""
    return await crash.every_write(lab, shapes.queued_fan, seed)


async def crash_event(lab: Lab, seed: int) -> Result:
    """Crash before and after every write of an event that starts a run."""
    return await crash.every_write(lab, lambda name: traffic.event(name, of=name), seed, workflows=[traffic.ALL])


async def no_cas(lab: Lab, seed: int) -> Result:
    """Two operators whose status writes are no compare-and-swap. This MUST be Broken, or the chaos doesn't bite."""
    return await havoc.two_operators(lab, seed, seconds=20, runs=8, prelude=NO_CAS)


NO_CAS = """
from adze.shell import cluster
call = cluster.Cluster.call
async def broken(self, method, path, body=None, *rest, **params):
    if method == "PATCH" and path.endswith("/status"):
        body["metadata"].pop("resourceVersion", None)
    return await call(self, method, path, body, *rest, **params)
cluster.Cluster.call = broken
"""
"""An operator that overwrites what another has written."""


async def no_names(lab: Lab, seed: int) -> Result:
    """A burst for an operator whose runs of events have new names each time. This MUST be Broken too."""
    return await burst.burst(lab, seed, events=400, prelude=NO_NAMES)


NO_NAMES = """
import uuid
from adze.core import names
names.event_run = lambda *_: f"any-{uuid.uuid4().hex[:12]}"
"""
"""An operator that doesn't find a run that another has started."""


async def crowd(lab: Lab, seed: int) -> Result:
    """200 runs in flight, and kill -9 of the operator every 1 to 6 seconds for two minutes."""
    return await havoc.kills(lab, seed, seconds=120, runs=200, within=20, patience=900)


ALL: dict[str, Scenario] = {
    "crash": crash_diamond,
    "crash-fan": crash_fan,
    "crash-event": crash_event,
    "two": havoc.two_operators,
    "lease": havoc.lease,
    "kills": havoc.kills,
    "control-plane": havoc.control_plane,
    "full": havoc.full,
    "node-parts": havoc.node_parts,
    "users": people.users,
    "strippers": people.strippers,
    "quota": havoc.quota,
    "gone": havoc.namespace_gone,
    "cordon": havoc.cordon,
    "rights": rights.rights,
    "poison": people.poison,
    "refusals": storms.refusals,
    "broken": storms.broken,
    "lost-answers": storms.every_write_lost,
    "throttled": storms.throttled,
    "no-way": storms.no_way,
    "stale": storms.stale,
    "stalled": storms.stalled,
    "dropped": storms.dropped,
}
"""The order of a full run."""
OTHERS: dict[str, Scenario] = {
    "crash-pair": crash_pair,
    "crowd": crowd,
    "no-cas": no_cas,
    "no-names": no_names,
    "burst": burst.burst,
}
"""Run by name only."""
