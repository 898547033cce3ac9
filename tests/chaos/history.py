"""What the API server committed, revision by revision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from adze.core.model import Attempt, Run
from adze.core.names import ATTEMPT, RUN_UID, STEP
from adze.core.pods import Pod

T = TypeVar("T", Run, Pod)


@dataclass(frozen=True, slots=True)
class Entry:
    """One revision of a run or a Pod, or its removal. Versions of all kinds have one order: they are etcd's."""

    version: int
    item: Run | Pod
    removed: bool = False
    at: datetime | None = None
    """When it was heard of: never before it was committed."""

    @property
    def run_uid(self) -> str:
        """UID of the run that it's about."""
        if isinstance(self.item, Run):
            return self.item.metadata.uid
        return self.item.metadata.labels.get(RUN_UID, "")

    def __str__(self) -> str:
        what = _run(self.item) if isinstance(self.item, Run) else _pod(self.item)
        moment = f" {self.at:%H:%M:%S.%f}"[:-3] if self.at else ""
        return f"@{self.version}{moment} {what}{' REMOVED' if self.removed else ''}"


@dataclass(slots=True)
class History:
    """Entries in the order of their versions. A gap is a reason why some may be missing."""

    entries: list[Entry] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    def by_run(self) -> dict[str, list[Entry]]:
        """The entries of each run with its Pods."""
        runs: dict[str, list[Entry]] = {}
        for entry in self.entries:
            runs.setdefault(entry.run_uid, []).append(entry)
        return runs

    def runs(self) -> dict[str, Run]:
        """The runs that are there at the end, by UID."""
        return _last(self.entries, Run)

    def pods(self) -> dict[str, Pod]:
        """The Pods that are there at the end, by UID."""
        return _last(self.entries, Pod)


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
    steps = " ".join(f"{step.name}:{step.phase}{_tries(step.attempts)}" for step in run.status.steps)
    reason = f"({run.status.reason})" if run.status.reason else ""
    return f"run {run.metadata.name} {run.status.phase}{reason}{flags} [{steps}]"


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
    return f"pod {pod.name} ({labels.get(STEP)}/{labels.get(ATTEMPT)} {pod.metadata.uid[:8]}) {facts}"
