"""The cache of step results: a ConfigMap for what a step of a Workflow has handed over under a key. See adr/0028.

An entry is written once and never changes. From the ConfigMap's own creation it is valid for the `ttl` of the step that
reads it, and no longer than the step that wrote it said. Whatever is wrong with an entry, the step runs instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from adze.core import duration, names
from adze.core.expressions import ExpressionError, Lookup, Template
from adze.core.model import Entry, Run, Step

LONGEST = timedelta(days=30)
"""How long an entry may be valid."""
SIZE_LIMIT = 64 * 1024
"""Bytes of an output that is kept; a larger one isn't."""


class EntryNeeded(Exception):
    """A plan needs to know whether there is such an entry."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the entry {name} of the cache is needed")
        self.name = name


@dataclass(frozen=True, slots=True)
class Cache:
    """The `cache` of a step, compiled. `definition` names what the step does."""

    key: Template
    ttl: timedelta
    definition: str


def definition(step: Step) -> str:
    """A digest of a step, defaults merged in: another definition never finds what this one has handed over."""
    plain = msgspec.structs.replace(step, cache=None)
    return names.digest(msgspec.json.encode(plain, order="deterministic").decode(), length=32)


def entry_name(run: Run, step: str, cache: Cache, values: Lookup) -> str | None:
    """Name of the entry that the step reads and writes; None if its key can't be computed."""
    try:
        key = msgspec.json.encode(cache.key.render(values), order="deterministic").decode()
    except ExpressionError:
        return None
    # Runs without a Workflow share with those that bring the same one.
    scope = run.spec.workflow or run.status.revision
    return f"adze-cache-{names.digest(scope, step, cache.definition, key, length=32)}"


def valid(entry: Entry, ttl: timedelta, now: datetime) -> bool:
    """Whether a step with that `ttl` may use an entry."""
    created = entry.metadata.creation_timestamp
    return created is not None and now < created + min(ttl, lifetime(entry))


def expired(entry: Entry, now: datetime) -> bool:
    """Whether nobody may use an entry any more."""
    return not valid(entry, LONGEST, now)


def lifetime(entry: Entry) -> timedelta:
    """How long an entry is valid by what its writer said; not at all if somebody else has written it."""
    try:
        return duration.parse(entry.data.ttl)
    except ValueError:
        return timedelta(0)


def output(entry: Entry) -> dict[str, Any] | None:
    """What was handed over; ValueError if it's no JSON object."""
    try:
        found: dict[str, Any] = msgspec.json.decode(entry.data.output, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return found or None


def manifest(
    run: Run, step: str, cache: Cache, content: Mapping[str, Any] | None, values: Lookup
) -> dict[str, Any] | None:
    """The ConfigMap of a new entry; None if there's to be none. It has no owner: it outlives the run that made it."""
    name = entry_name(run, step, cache, values)
    text = msgspec.json.encode(content or {}).decode()
    if name is None or len(text) > SIZE_LIMIT:
        return None
    labels = {names.MANAGED_BY: "adze", names.CACHE: step}
    if run.spec.workflow:
        labels[names.WORKFLOW] = names.label(run.spec.workflow)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": run.metadata.namespace, "labels": labels},
        "immutable": True,
        "data": {"output": text, "run": run.metadata.name, "ttl": duration.show(cache.ttl)},
    }
