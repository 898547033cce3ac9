"""S14: for each event that was accepted each Workflow that matches has exactly one run, and no other has any."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from adze.core.events import SCOPE
from adze.core.expressions import BOOL, ExpressionError
from adze.core.model import Event, Workflow

from .history import Breach, Entry, History, Started

Identity = tuple[str, str]
"""Source and id."""


@dataclass
class Account:
    """What is known of one event, under whatever names it came."""

    accepted: Entry
    must: set[str]
    """Workflows that have matched ever since."""
    may: set[str]
    """Workflows that matched at some time before it was processed."""
    processed: int | None = None
    gone: bool = False
    runs: dict[str, dict[str, Entry]] = field(default_factory=lambda: defaultdict(dict))
    """By workflow and UID, as they were created."""


class Post:
    """Events, Workflows and runs as they come and go."""

    def __init__(self) -> None:
        self.accounts: dict[Identity, Account] = {}
        self.removed: dict[str, int] = {}
        self.strays: list[Breach] = []
        self._workflows: dict[str, Workflow] = {}

    def hear(self, entry: Entry) -> None:
        """The next entry."""
        match entry.item:
            case Workflow() as workflow:
                self._workflow(entry, workflow)
            case Event() as event:
                self._event(entry, event)
            case Started() as run if run.metadata.annotations.event_source:
                self._run(entry, run)

    def _workflow(self, entry: Entry, workflow: Workflow) -> None:
        name = workflow.metadata.name
        self._workflows.pop(name, None)
        if not entry.removed:
            self._workflows[name] = workflow
        for account in self.accounts.values():
            if account.processed is None:
                there = not entry.removed and matches(workflow, account.accepted.item)
                account.may |= {name} if there else set()
                account.must -= set() if there else {name}

    def _event(self, entry: Entry, event: Event) -> None:
        account = self.accounts.get(_identity(event))
        if account is None:
            found = {name for name, workflow in self._workflows.items() if matches(workflow, event)}
            account = self.accounts[_identity(event)] = Account(entry, set(found), set(found))
        if event.status.processed_time and account.processed is None:
            account.processed = entry.version
        account.gone |= entry.removed

    def _run(self, entry: Entry, run: Started) -> None:
        uid, marks = run.metadata.uid, run.metadata.annotations
        if entry.removed:
            self.removed[uid] = entry.version
            return
        account = self.accounts.get((marks.event_source, marks.event_id))
        name = run.spec.workflow or ""
        if account is None:
            self.strays.append(Breach("S14", f"run {run.metadata.name} is of no event", (entry,)))
        elif uid not in account.runs[name]:
            account.runs[name][uid] = entry

    def repeated(self, account: Account, runs: list[Entry]) -> bool:
        """Whether one event has started two runs of a workflow.

        Once its status stands, never. Before, only in the place of one that somebody has deleted.
        """
        for first, second in pairwise(runs):
            removed = self.removed.get(first.item.metadata.uid)
            if removed is None or removed > second.version or (account.processed or removed) < removed:
                return True
        return False


def _identity(event: Event) -> Identity:
    return event.spec.source, event.spec.id


def matches(workflow: Workflow, event: object) -> bool:
    """Whether a Workflow waits for an event. Filters see its data only; one that fails doesn't hold."""
    assert isinstance(event, Event)
    if workflow.spec.suspend or workflow.metadata.deletion_timestamp:
        return False
    kind, data = event.spec.type, {"event.data": event.spec.data or {}}
    return any(
        (kind.startswith(trigger.name[:-1]) if trigger.name.endswith("*") else kind == trigger.name)
        and (trigger.filter is None or _holds(trigger.filter, data))
        for trigger in (workflow.spec.on.events if workflow.spec.on else ())
    )


def _holds(source: str, values: Mapping[str, Any]) -> bool:
    with suppress(ExpressionError):
        return bool(SCOPE.program(source, BOOL)(values))
    return False


def unanswered(history: History, *, ended: bool) -> Iterator[Breach]:
    """What was started too often, too seldom or for nothing. With `ended` each event must have been processed."""
    post = Post()
    for entry in history.entries:
        post.hear(entry)
    yield from post.strays
    for (source, id_), account in post.accounts.items():
        what = f"event {id_} of {source}"
        for workflow, found in account.runs.items():
            runs = sorted(found.values(), key=lambda entry: entry.version)
            if workflow not in account.may:
                yield Breach("S14", f"{what} has a run of {workflow!r}, which didn't wait for it", tuple(runs))
            elif post.repeated(account, runs):
                evidence = (account.accepted, *runs)
                yield Breach("S14", f"{what} has {len(runs)} runs of {workflow!r}", evidence)
        if account.processed is not None:
            for workflow in sorted(account.must - account.runs.keys()):
                yield Breach("S14", f"{what} was processed and has no run of {workflow!r}", (account.accepted,))
        elif ended and not account.gone:
            yield Breach("L1", f"{what} was not processed", (account.accepted,))
