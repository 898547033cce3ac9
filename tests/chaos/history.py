"""What the API server committed, revision by revision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import msgspec

from adze.core import names
from adze.core.model import Attempt, Event, ItemsStatus, Metadata, Run, StepStatus, Workflow
from adze.core.model.base import Annotations
from adze.core.names import ATTEMPT, ITEM, RUN_UID, STEP
from adze.core.pods import Pod
from adze.core.slots import LeaseMetadata, Slot


class Marks(Annotations, frozen=True, kw_only=True):
    """A run's annotations, with those that say which event has started it."""

    event_source: str = msgspec.field(default="", name=names.EVENT_SOURCE)
    event_id: str = msgspec.field(default="", name=names.EVENT_ID)


class MarkedMetadata(Metadata, frozen=True, kw_only=True):
    """A run's metadata with them."""

    annotations: Marks = Marks()


class Started(Run, frozen=True, kw_only=True):
    """A run as it is recorded."""

    metadata: MarkedMetadata


class Page(msgspec.Struct, frozen=True):
    """A ConfigMap with outputs of items."""

    metadata: LeaseMetadata
    data: Mapping[str, str] = {}


Item = Run | Pod | Slot | Page | Workflow | Event
T = TypeVar("T", Run, Pod, Slot, Event)


@dataclass(frozen=True, slots=True)
class Entry:
    """One revision of an object, or its removal. Versions of all kinds have one order: they are etcd's."""

    version: int
    item: Item
    removed: bool = False
    at: datetime | None = None
    """When it was heard of: never before it was committed."""

    @property
    def run_uid(self) -> str:
        """UID of the run that it's about; empty if it's about none."""
        if isinstance(self.item, Run):
            return self.item.metadata.uid
        if isinstance(self.item, Workflow | Event):
            return ""
        return self.item.metadata.labels.get(RUN_UID, "")

    def __str__(self) -> str:
        moment = f" {self.at:%H:%M:%S.%f}"[:-3] if self.at else ""
        return f"@{self.version}{moment} {_shown(self.item)}{' REMOVED' if self.removed else ''}"


@dataclass(frozen=True, slots=True)
class Breach:
    """A predicate that doesn't hold, and the entries that show it."""

    code: str
    message: str
    evidence: tuple[Entry, ...] = ()

    def __str__(self) -> str:
        return "\n    ".join([f"{self.code}: {self.message}", *map(str, self.evidence)])


@dataclass(slots=True)
class History:
    """Entries in the order of their versions. A gap is a reason why some may be missing."""

    entries: list[Entry] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    def by_run(self) -> dict[str, list[Entry]]:
        """The entries of each run with its Pods, slots and pages."""
        runs: dict[str, list[Entry]] = {}
        for entry in self.entries:
            if entry.run_uid:
                runs.setdefault(entry.run_uid, []).append(entry)
        return runs

    def runs(self) -> dict[str, Run]:
        """The runs that are there at the end, by UID."""
        return _last(self.entries, Run)

    def pods(self) -> dict[str, Pod]:
        """The Pods that are there at the end, by UID."""
        return _last(self.entries, Pod)

    def __str__(self) -> str:
        objects = Counter(kind for kind, _ in {(_kind(e.item), e.item.metadata.uid) for e in self.entries})
        return f"{len(self.entries)} revisions of " + ", ".join(f"{n} {kind}s" for kind, n in sorted(objects.items()))

    def slots(self) -> dict[str, Slot]:
        """The slots that are taken at the end, by UID of their Leases."""
        return _last(self.entries, Slot)

    def events(self) -> dict[str, Event]:
        """The WorkflowEvents that are there at the end, by UID."""
        return _last(self.entries, Event)


def _last(entries: Iterable[Entry], kind: type[T]) -> dict[str, T]:
    items: dict[str, T] = {}
    for entry in entries:
        if not isinstance(entry.item, kind):
            continue
        if entry.removed:
            items.pop(entry.item.metadata.uid, None)
        else:
            items[entry.item.metadata.uid] = entry.item
    return items


def _kind(item: Item) -> str:
    return "run" if isinstance(item, Run) else type(item).__name__.lower()


def _shown(item: Item) -> str:
    match item:
        case Run():
            return _run(item)
        case Pod():
            return _pod(item)
        case Slot():
            marked = " marked" if item.marked else ""
            return f"slot {item.number} of {item.key}: {item.spec.holder_identity}{marked}"
        case Page():
            return f"page {item.metadata.name}"
        case Workflow():
            cron = " ".join(
                f"[{e.schedule} up to {e.decided_time:%H:%M:%S}, {e.missed} missed]" for e in item.status.cron
            )
            return f"workflow {item.metadata.name}{' suspended' if item.spec.suspend else ''} {cron}"
        case Event():
            done = "processed" if item.status.processed_time else "waits"
            return f"event {item.metadata.name} ({item.spec.source} {item.spec.id}, {item.spec.type}) {done}"


def _run(run: Run) -> str:
    flags = "".join(
        f" {flag}"
        for flag, on in (
            ("cancel", run.spec.cancel),
            ("suspend", run.spec.suspend),
            ("deleting", run.metadata.deletion_timestamp),
        )
        if on
    )
    steps = " ".join(map(_step, run.status.steps))
    reason = f"({run.status.reason})" if run.status.reason else ""
    return f"run {run.metadata.name} {run.status.phase}{reason}{flags} [{steps}]"


def _step(step: StepStatus) -> str:
    return f"{step.name}:{step.phase}{_tries(step.attempts)}{_items(step.items) if step.items else ''}"


def _items(items: ItemsStatus) -> str:
    entries = "".join(f" {entry.name}:{entry.phase}{_tries(entry.attempts)}" for entry in items.active)
    return f"{{{items.total}: ok {items.succeeded}; failed {items.failed}; cancelled {items.cancelled};{entries}}}"


def _tries(attempts: Iterable[Attempt]) -> str:
    return "".join(f"/{a.number}={'open' if a.finish_time is None else a.reason or 'ok'}" for a in attempts)


def _pod(pod: Pod) -> str:
    labels = pod.metadata.labels
    state = pod.main
    container = "waits"
    if state.running:
        container = "runs"
    elif state.terminated:
        container = f"exit {state.terminated.exit_code}"
    flags = [flag for flag, on in (("gated", pod.gated), ("held", pod.held), ("deleting", pod.deleting)) if on]
    facts = " ".join([pod.status.phase, pod.status.reason or "", container, *flags]).replace("  ", " ")
    step = f"{labels.get(STEP)}[{labels[ITEM]}]" if ITEM in labels else labels.get(STEP)
    return f"pod {pod.name} ({step}/{labels.get(ATTEMPT)} {pod.metadata.uid[:8]}) {facts}"
