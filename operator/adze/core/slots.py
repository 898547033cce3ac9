"""Slots: the places under a concurrency key, each one a Lease that is taken by create.

The name of a Lease is its key's digest and a number below the limit. Two replicas that want the same place ask for the
same name, and the API server lets one have it: so holders never outnumber the limit, whatever anybody believes
(docs/adr/0024-slots-are-leases.md).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from adze.core import names
from adze.core.expressions import ExpressionError, Lookup, Program, Template
from adze.core.model import LEASE_API_VERSION, MICROTIME, MOST_SLOTS, Concurrency, RateLimit, Run, Strategy, version

LONGEST_KEY = 253

RUN = ""
"""The holder that is the run itself; an attempt's is `attempt_holder`."""


class InvalidKey(ValueError):
    """A key or a limit that can't be used; the text says which and why."""


class LeaseMetadata(msgspec.Struct, frozen=True, rename="camel"):
    """The part of a Lease's metadata that adze reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class LeaseSpec(msgspec.Struct, frozen=True, rename="camel"):
    """The part of a Lease's spec that adze reads."""

    holder_identity: str = ""


class Slot(msgspec.Struct, frozen=True):
    """A taken slot: the Lease as it was last seen."""

    metadata: LeaseMetadata
    spec: LeaseSpec = LeaseSpec()

    @property
    def group(self) -> str:
        """Digest of the key that it belongs to."""
        return self.metadata.labels.get(names.SLOTS, "")

    @property
    def run_uid(self) -> str:
        """UID of the run that holds it."""
        return self.metadata.labels.get(names.RUN_UID, "")

    @property
    def run(self) -> str:
        """Name of that run."""
        return self.spec.holder_identity.partition("/")[0]

    @property
    def holder(self) -> str:
        """What of the run holds it: RUN or an attempt."""
        return self.metadata.annotations.get(names.HOLDER, RUN)

    @property
    def key(self) -> str:
        """The key."""
        return self.metadata.annotations.get(names.SLOT_KEY, "")

    @property
    def marked(self) -> bool:
        """Whether it's about to be given back: nobody may rely on it."""
        return names.GIVING_BACK in self.metadata.annotations

    @property
    def number(self) -> int:
        """Its number within the group, from 0."""
        return int(self.metadata.name.rpartition("-")[2])


@dataclass(frozen=True, slots=True)
class Entry:
    """A `concurrency` entry of a workflow or step, compiled."""

    spec: Concurrency
    key: Template
    limit: int | Program


@dataclass(frozen=True, slots=True)
class Need:
    """One key that a run or an attempt must hold a slot of."""

    group: str
    key: str
    limit: int
    strategy: Strategy


@dataclass(frozen=True, slots=True)
class Take:
    """Units of a key's allowance that an attempt takes as it starts: at most `limit` in any window of length `per`."""

    group: str
    key: str
    limit: int
    units: int
    per: timedelta


@dataclass(frozen=True, slots=True)
class Closing:
    """A step's word that nothing is to be taken of an allowance before a moment."""

    take: Take
    until: datetime


Order = tuple[int, datetime, int, str, int]
"""Who comes first: higher priority, older run, smaller ticket; then UID and the step's place, none are equal."""


@dataclass(frozen=True, slots=True)
class Want:
    """What a run asks of the queues for `holder`: slots, all of them or none, and then units, all of them or none.

    `running`: it has used its slots already, and its units are taken. `counts`: it needs a place under the caps.
    """

    holder: str
    needs: tuple[Need, ...]
    order: Order
    running: bool = False
    takes: tuple[Take, ...] = ()
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a want has no slots or units yet, for people; worth telling again at `again`.

    `news`: it hasn't been told before. Two replicas whose words differ must not correct each other again and again.
    """

    message: str
    again: datetime
    reason: str = "Queued"
    news: bool = True


@dataclass(frozen=True, slots=True)
class Dismissal:
    """A strategy's word that a run must not go on: it gave way to the run `by`."""

    reason: str
    message: str
    by: str


def claimed(run: Run, holder: str) -> bool:
    """Whether the run has used the slots of a holder: it has started, or that attempt has been claimed."""
    if holder == RUN:
        return run.status.start_time is not None
    step, _, number = holder.rpartition("#")
    status = next((part for part in run.status.parts() if part.name == step), None)
    # An item that has left the status has used whatever it had.
    return bool(status.attempts and status.attempts[-1].number >= int(number)) if status else step.endswith("]")


def in_use(run: Run, holder: str) -> bool:
    """Whether a run that has used a holder's slots still does: it hasn't ended, and that attempt is open."""
    if run.status.phase.final or holder == RUN:
        return not run.status.phase.final
    step, _, number = holder.rpartition("#")
    part = next((part for part in run.status.parts() if part.name == step), None)
    return bool(part and part.open_attempt and part.open_attempt.number == int(number))


def needed(wants: Iterable[Want], held: Sequence[Slot], holder: str) -> list[Slot] | None:
    """The slots by which a holder may run, its run's own among them; None if one isn't there."""
    found: list[Slot] = []
    for want in wants:
        for need in want.needs if want.holder in (RUN, holder) else ():
            mine = (need.group, want.holder)
            slot = next((slot for slot in held if (slot.group, slot.holder) == mine and not slot.marked), None)
            if slot is None:
                return None
            found.append(slot)
    return found


def attempt_holder(step: str, number: int) -> str:
    """The holder that is one attempt of a step."""
    return f"{step}#{number}"


def need(entry: Entry, run: Run, values: Lookup, level: str, live: Entry | None = None) -> Need:
    """The key and limit of an entry for this run. `live` is the entry as the Workflow has it now: its limit counts.

    InvalidKey if the key is no text of 1 to 253 characters, or the limit no number from 1 up.
    """
    key = text_of_key(entry.key, values) if entry.spec.key is not None else ""
    limit = whole_number("maxRuns", (live or entry).limit, values, MOST_SLOTS)
    strategy = (live or entry).spec.strategy
    return Need(group(entry.spec, run, level, "" if strategy is Strategy.ROUND_ROBIN else key), key, limit, strategy)


def text_of_key(template: Template, values: Lookup) -> str:
    """A key; InvalidKey if it's no text of 1 to 253 characters."""
    try:
        key = template.render(values)
    except ExpressionError as error:
        raise InvalidKey(str(error)) from None
    if not isinstance(key, str):
        raise InvalidKey(f"key {template.value} gives {key!r}, which is no text")
    if not 0 < len(key) <= LONGEST_KEY:
        raise InvalidKey(f"key {template.value} gives a text of {len(key)} characters: 1 to {LONGEST_KEY} are allowed")
    if "\0" in key:
        raise InvalidKey(f"key {template.value} gives a text with a NUL character")
    return key


def whole_number(field: str, given: int | Program, values: Lookup, most: int) -> int:
    """A field that holds a number or an expression; InvalidKey if it gives no whole number from 1 to `most`."""
    try:
        number = given if isinstance(given, int) else given(values)
    except ExpressionError as error:
        raise InvalidKey(str(error)) from None
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
        source = given if isinstance(given, int) else given.source
        raise InvalidKey(f"{field} {source} gives {number!r}: a whole number from 1 to {most} is needed")
    return number


def group(spec: Concurrency | RateLimit, run: Run, level: str, key: str) -> str:
    """The digest under which a key is shared, by what the entry's scope says."""
    scope = spec.scope
    if scope == "Workflow":
        # The text of the key too: two entries of a workflow must not meet in a value that both happen to have.
        scope = f"workflow/{run.spec.workflow or run.status.revision}/{spec.key}"
    return f"{_readable(key)}{names.digest(level, scope, key, length=12)}"


def _readable(key: str) -> str:
    text = re.sub(r"[^a-z0-9]+", "-", key.lower())[:30].strip("-")
    return f"{text}-" if text else ""


def order(run: Run, workflow_priority: int, place: int = -1) -> Order:
    """A run's place in every queue, or that of its step number `place`."""
    priority = run.spec.priority if run.spec.priority is not None else workflow_priority
    created = run.metadata.creation_timestamp
    assert created is not None
    return -priority, created, run.status.ticket or version(run), run.metadata.uid, place


def lease(run: Run, want: Want, need: Need, number: int, now: datetime) -> dict[str, Any]:
    """The manifest of the Lease for slot `number` of a need."""
    who = run.metadata.name if want.holder == RUN else f"{run.metadata.name}/{want.holder}"
    return {
        "apiVersion": LEASE_API_VERSION,
        "kind": "Lease",
        "metadata": {
            "name": lease_name(need.group, number),
            "namespace": run.metadata.namespace,
            "labels": {
                names.MANAGED_BY: "adze",
                names.SLOTS: need.group,
                names.RUN: names.label(run.metadata.name),
                names.RUN_UID: run.metadata.uid,
            },
            "annotations": {names.HOLDER: want.holder, names.SLOT_KEY: need.key},
        },
        "spec": {"holderIdentity": who, "acquireTime": now.strftime(MICROTIME)},
    }


def lease_name(group: str, number: int) -> str:
    """Name of the Lease of a slot."""
    return f"adze-{group}-{number}"
