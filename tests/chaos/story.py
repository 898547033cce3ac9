"""Histories made by hand, a revision at a time, for tests of the checker."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from adze.core import names
from adze.core import revision as revisions
from adze.core.model import Attempt, ItemsStatus, ItemStatus, Phase, Run, StepStatus, WorkflowSpec
from adze.core.pods import Pod
from adze.core.slots import LeaseMetadata, LeaseSpec, Slot
from tests.builders import NOW, UID, deleting, opened, pod, released, run, running, step, succeeded, workflow
from tests.chaos.checker import Verdict, Word, check
from tests.chaos.history import Entry, History

SPEC = workflow(
    step("a", retries=1, backoff={"type": "Constant", "base": "60s"}),
    step("b", parents=["a"]),
)
replace = msgspec.structs.replace


class Book:
    """A history as it is written; a second passes from revision to revision."""

    def __init__(self) -> None:
        self.version = 0
        self.entries: list[Entry] = []

    def add(self, item: Any, removed: bool = False) -> Any:
        """The next revision."""
        self.version += 1
        item = replace(item, metadata=replace(item.metadata, resource_version=str(self.version)))
        self.entries.append(Entry(self.version, item, removed, NOW + timedelta(seconds=self.version)))
        return item

    def wait(self, seconds: int) -> None:
        """Time passes, and revisions of other objects."""
        self.version += seconds

    def verdict(self, **options: Any) -> Verdict:
        """What the checker says."""
        return check(History(list(self.entries)), **options)


class Story:
    """A run in a book."""

    def __init__(self, spec: WorkflowSpec = SPEC, *, name: str = "r", uid: str = UID, book: Book | None = None) -> None:
        self.book = book or Book()
        self.run: Run = self.book.add(run(spec, name=name, uid=uid))
        self.pods: dict[str, Pod] = {}
        self.wait, self.verdict = self.book.wait, self.book.verdict
        plain = msgspec.to_builtins(spec)
        steps = [StepStatus(name=one.name) for one in spec.steps]
        self.status(Phase.RUNNING, *steps, workflow_spec=plain, revision=revisions.digest(spec), start_time=NOW)

    @property
    def entries(self) -> list[Entry]:
        """All of the book."""
        return self.book.entries

    def status(self, phase: Phase, *steps: StepStatus, **fields: Any) -> None:
        """The run's status is written: the given steps change."""
        changed = {step.name: step for step in steps}
        known = {step.name: step for step in self.run.status.steps}
        status = replace(self.run.status, phase=phase, steps=tuple((known | changed).values()), **fields)
        self.run = self.book.add(replace(self.run, status=status))

    def step(self, name: str, phase: Phase, *attempts: Attempt, run: Phase = Phase.RUNNING) -> None:
        """A step's status is written."""
        self.status(run, StepStatus(name=name, phase=phase, attempts=attempts))

    def claim(self, name: str, number: int = 1, *earlier: Attempt) -> None:
        """An attempt is claimed."""
        self.step(name, Phase.PENDING, *earlier, attempt(name, number, self.uid))

    def close(self, name: str, number: int = 1, run: Phase = Phase.RUNNING) -> None:
        """An attempt's success is recorded."""
        self.step(name, Phase.SUCCEEDED, ended(name, number, 0, self.uid), run=run)

    def fan(self, name: str, phase: Phase = Phase.RUNNING, run: Phase = Phase.RUNNING, **items: Any) -> None:
        """A forEach step over two items is written."""
        items = {"total": 2, "digest": "d", **items}
        self.status(run, StepStatus(name=name, phase=phase, items=ItemsStatus(**items)))

    @property
    def uid(self) -> str:
        """The run's UID."""
        return self.run.metadata.uid

    def _key(self, part: str, number: int) -> str:
        return attempt(part, number, self.uid).pod

    def made(self, part: str, number: int = 1, uid: str = "") -> None:
        """The Pod of an attempt is created."""
        key = self._key(part, number)
        new, index = pod(key, owner=self.uid), names.index(part)
        labels = {**new.metadata.labels, names.STEP: names.step_of(part), names.ATTEMPT: str(number)}
        labels |= {} if index is None else {names.ITEM: str(index)}
        metadata = replace(new.metadata, labels=labels, uid=uid or new.metadata.uid)
        self._pod(key, replace(new, metadata=metadata))

    def now(self, change: Callable[[Pod], Pod], part: str, number: int = 1) -> None:
        """The Pod of an attempt changes."""
        key = self._key(part, number)
        self._pod(key, change(self.pods[key]))

    def gone(self, part: str, number: int = 1) -> None:
        """The Pod of an attempt is removed."""
        self.book.add(self.pods.pop(self._key(part, number)), removed=True)

    def slot(self, key: str, number: int = 0, holder: str = "", removed: bool = False) -> None:
        """A slot is taken, or freed."""
        labels = {names.SLOTS: key, names.RUN_UID: self.uid}
        metadata = LeaseMetadata(
            name=f"adze-{key}-{number}",
            uid=f"{key}-{number}-{self.uid}",
            labels=labels,
            annotations={names.SLOT_KEY: key, names.HOLDER: holder},
        )
        self.book.add(Slot(metadata, LeaseSpec(self.run.metadata.name)), removed)

    def delete(self) -> None:
        """The run is being deleted."""
        self.run = self.book.add(deleting(self.run))

    def _pod(self, key: str, new: Pod) -> None:
        self.pods[key] = self.book.add(new)

    def runs(self, name: str, number: int = 1, end: Callable[[Pod], Pod] = succeeded) -> None:
        """A Pod's whole life, up to the end of its container."""
        self.made(name, number)
        for change in (opened, running, end):
            self.now(change, name, number)

    def whole(self, name: str, run: Phase = Phase.RUNNING) -> None:
        """A step as it should be."""
        self.claim(name)
        self.runs(name)
        self.close(name, run=run)
        self.now(released, name)


def attempt(part: str, number: int = 1, uid: str = UID) -> Attempt:
    """An open attempt of a step or an item."""
    pod = names.pod("r", uid, names.step_of(part), number, names.index(part))
    return Attempt(number=number, pod=pod)


def ended(part: str, number: int, exit_code: int, uid: str = UID) -> Attempt:
    """A closed attempt, as NOW."""
    reason = "ExitCode" if exit_code else None
    return replace(attempt(part, number, uid), finish_time=NOW, exit_code=exit_code, reason=reason)


def item(name: str, *attempts: Attempt, **fields: Any) -> ItemStatus:
    """The entry of an item."""
    return ItemStatus(name=name, attempts=attempts, **fields)


def must_hold(book: Book) -> None:
    """Nothing is wrong with it so far."""
    verdict = book.verdict(ended=False)
    assert verdict.word is Word.HELD, str(verdict)


def must_break(book: Book, code: str) -> None:
    """That predicate is broken, at the least."""
    verdict = book.verdict(ended=False)
    assert verdict.word is Word.BROKEN
    assert code in [breach.code for breach in verdict.breaches], str(verdict)


def must_leave(book: Book, code: str) -> None:
    """Only at the end something is wrong, and only that."""
    assert [breach.code for breach in book.verdict().breaches] == [code], str(book.verdict())
    assert book.verdict(ended=False).word is Word.HELD
