"""A forEach step while the rules work on it: its list, the items that have an entry, and how they fold away.

An item in flight has an entry of its own, which the rules treat as a step's status. When nothing of it can run any more
it folds into intervals (docs/adr/0020-fan-out.md), and its output goes into the status or into a page
(docs/adr/0021-pages-of-outputs.md).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any, Self

import msgspec

from adze.core import intervals, names
from adze.core.expressions import ExpressionError
from adze.core.model import FailurePolicy, ItemsStatus, ItemStatus, Metadata, Phase, RunStatus, StepStatus
from adze.core.revision import Node, Revision
from adze.core.schema import json_size
from adze.core.values import Values, error

MAX_ITEMS = 50_000
"""Items of one run, of all its forEach steps together."""
MAX_PARALLEL = 100
"""Items of a step in flight, where it sets nothing."""
ENTRIES = 756
"""Items of one run that may have an entry: 500 in flight, 256 in backoff."""
WAVE = 50
"""Items that one pass claims, so that other runs get their turn."""
FAILURES = 100
"""Failed items of one run that keep their last attempt in the status."""
INLINE_LIMIT = 64 * 1024
"""Bytes of items' outputs in a run's status; what is more goes into pages."""
PAGE_LIMIT = 256 * 1024
"""Bytes of a page, give or take one output."""
OUTPUTS_LIMIT = 8 * 1024 * 1024
"""Bytes of items' outputs of one run."""
ROOM = 6
"""Bytes that an item may take in the intervals."""
REST = timedelta(microseconds=100)
LONGEST_REST = timedelta(seconds=1)
ERROR_LIMIT = 200
"""Bytes of the error in a failed item's place."""


@dataclass(slots=True)
class Fan:
    """One forEach step that has been expanded and hasn't ended.

    `share` is how many such steps share the limits of the run that is `owner`. `ending` is set when a limit or a user
    ends the step. `pages` are new ones, by name: they must be written before the status.
    """

    node: Node
    status: StepStatus
    entries: dict[str, ItemStatus]
    owner: Metadata
    share: int
    outputs_size: int | None = None
    pages: dict[str, dict[str, Any]] = field(default_factory=dict)
    folded: list[ItemStatus] = field(default_factory=list)
    next: int = 0
    holes: list[int] = field(default_factory=list)
    ending: tuple[str, str] | None = None

    @classmethod
    def of(cls, node: Node, status: StepStatus, owner: Metadata, share: int) -> Self:
        """As it stands in a status."""
        items = status.items
        assert items is not None
        entries = {entry.name: entry for entry in items.active}
        started = [names.index(name) or 0 for name in entries]
        done = (items.succeeded, items.failed, items.cancelled)
        end = max((*(index + 1 for index in started), *map(intervals.end, done)))
        holes: list[int] = []
        if len(started) + sum(map(intervals.size, done)) < end:
            holes = sorted(set(intervals.members(intervals.rest(end, *done))) - set(started))
        return cls(node, status, entries, owner, share, next=end, holes=holes)

    @property
    def items(self) -> ItemsStatus:
        """What the status says of the items; entries and folded items come on top."""
        assert self.status.items is not None
        return self.status.items

    @property
    def stopped(self) -> bool:
        """Whether nothing new may start: the step is being ended, or an item has failed for good."""
        if self.ending:
            return True
        parts = (*self.folded, *self.entries.values())
        return self._fails and (bool(self.items.failed) or any(part.phase is Phase.FAILED for part in parts))

    @property
    def _fails(self) -> bool:
        return self.node.step.failure_policy is not FailurePolicy.CONTINUE

    @property
    def left(self) -> int:
        """How many items nobody has started."""
        return len(self.holes) + self.items.total - self.next

    def take(self) -> int:
        """The first of those, which then counts as started. Only a rerun has holes before the end of what is known."""
        if self.holes:
            return self.holes.pop(0)
        self.next += 1
        return self.next - 1

    def has_room(self, output: dict[str, Any]) -> bool:
        """Whether there's room for one more output, which then counts."""
        if self.outputs_size is None:
            self.outputs_size = self.items.paged + json_size(self.items.outputs)
        self.outputs_size += json_size(output)
        return self.outputs_size <= OUTPUTS_LIMIT // self.share

    def fold(self, name: str) -> None:
        """An item has ended and nothing of it can run any more."""
        self.folded.append(self.entries.pop(name))

    def absorb(self) -> StepStatus:
        """The step's status with everything that has happened to its items so far."""
        self.status = self._result()
        self.folded = []
        return self.status

    def _result(self) -> StepStatus:
        ended = {phase: [part for part in self.folded if part.phase is phase] for phase in Phase if phase.final}
        items = self.items
        outputs = dict(items.outputs or {})
        for part in self.folded:
            if kept := part.output if part.phase is Phase.SUCCEEDED else _error(part):
                outputs[str(names.index(part.name))] = kept
        items = msgspec.structs.replace(
            items,
            succeeded=intervals.add(items.succeeded, _indexes(ended[Phase.SUCCEEDED])),
            failed=intervals.add(items.failed, _indexes(ended[Phase.FAILED])),
            cancelled=intervals.add(items.cancelled, _indexes(ended[Phase.CANCELLED])),
            active=tuple(self.entries.values()),
            failures=(*items.failures, *ended[Phase.FAILED])[: max(1, FAILURES // self.share)],
            outputs=outputs or None,
        )
        if self.folded:
            items = self._paged(items)
        return self._told(items) if self.entries or not self._complete else self._ended(items)

    def _paged(self, items: ItemsStatus) -> ItemsStatus:
        """Outputs that are too many go into pages; the last of a step that has pages go there too."""
        last = bool(items.pages) and self._complete and not self.entries
        if not items.outputs or (json_size(items.outputs) <= INLINE_LIMIT // self.share and not last):
            return items
        contents, page, size = [], dict[str, Any](), 0
        for index, output in items.outputs.items():
            page[index], size = output, size + json_size(output)
            if size > PAGE_LIMIT:
                contents.append(page)
                page, size = {}, 0
        new = {
            names.page(self.owner.name, self.owner.uid, self.node.name, msgspec.json.encode(each).decode()): each
            for each in (*contents, page)
            if each
        }
        self.pages |= new
        paged = items.paged + json_size(items.outputs)
        return msgspec.structs.replace(items, outputs=None, pages=(*items.pages, *new), paged=paged)

    @property
    def _complete(self) -> bool:
        return self.stopped or not self.left

    def _told(self, items: ItemsStatus) -> StepStatus:
        done, failed = intervals.size(items.succeeded), intervals.size(items.failed)
        message = f"{done + failed}/{items.total} items"
        message += f", {failed} failed" if failed else ""
        held = next((part for part in items.active if part.reason not in (None, "Starting", "Backoff")), None)
        if held and not held.phase.final:
            message += f"; {held.name}: {held.reason}: {held.message}"
        reason = held.reason if held and not held.phase.final else None
        return msgspec.structs.replace(self.status, phase=Phase.RUNNING, reason=reason, message=message, items=items)

    def _ended(self, items: ItemsStatus) -> StepStatus:
        left = intervals.rest(items.total, items.succeeded, items.failed)
        failed = intervals.size(items.failed)
        message = f"{failed} of {items.total} items failed" if failed else None
        if failed and self._fails:
            first = items.failures[0]
            phase, reason = Phase.FAILED, "ItemsFailed"
            message = f"{message}; {first.name}: {error(first)}"
        elif self.ending:
            phase, (reason, message) = Phase.CANCELLED, self.ending
        else:
            phase, reason = Phase.SUCCEEDED, None
        items = msgspec.structs.replace(items, cancelled=left)
        return msgspec.structs.replace(self.status, phase=phase, reason=reason, message=message, items=items)


def _indexes(parts: Iterable[ItemStatus]) -> list[int]:
    return [index for part in parts if (index := names.index(part.name)) is not None]


def _error(part: ItemStatus) -> dict[str, Any] | None:
    return {"error": error(part).encode()[:ERROR_LIMIT].decode(errors="ignore")} if error(part) else None


def listed(node: Node, values: Values) -> tuple[list[Any], str]:
    """The list of a forEach and its digest; ExpressionError if it gives none."""
    assert node.for_each is not None
    found = node.for_each(values)
    if not isinstance(found, list):
        raise ExpressionError(f"forEach must give a list, not {msgspec.json.encode(found).decode()[:60]}")
    return found, names.digest(msgspec.json.encode(found).decode(), length=16)


@dataclass(frozen=True, slots=True)
class _Question:
    digest: str
    ask: Callable[[], tuple[list[Any], str]] = field(compare=False)


@lru_cache(maxsize=32)
def _answered(question: _Question) -> list[Any]:
    """The list of that digest. It's its name, so a list that another run has asked for is the same."""
    found, digest = question.ask()
    if digest != question.digest:
        raise ExpressionError(f"forEach now gives a list of digest {digest}, not {question.digest}")
    return found


def with_item(values: Values, revision: Revision, node: Node) -> Values:
    """What the expressions of an item see: the values of its step, and the item."""
    status = values.steps[node.name]
    if node.index is None or status.items is None:
        return values
    digest = status.items.digest
    items = _answered(_Question(digest, lambda: listed(revision.nodes[node.name], values)))
    return replace(values, item=(node.index, items[node.index]))


def never(status: StepStatus, reason: str, message: str) -> StepStatus:
    """A step that is cancelled before its run has started."""
    items = status.items
    if items:
        items = msgspec.structs.replace(items, cancelled=intervals.rest(items.total, items.succeeded, items.failed))
    return msgspec.structs.replace(status, phase=Phase.CANCELLED, reason=reason, message=message, items=items)


def reserved(steps: Iterable[StepStatus]) -> int:
    """Bytes of a run's status that its forEach steps may come to take, besides entries."""
    totals = [status.items.total for status in steps if status.items]
    return INLINE_LIMIT + ROOM * sum(totals) if totals else 0


def rest(status: RunStatus) -> timedelta:
    """How long a run rests between two passes: what happens to its items meanwhile shares one write."""
    totals = (step.items.total for step in status.steps if step.items and not step.phase.final)
    return min(REST * sum(totals), LONGEST_REST)


def settled(items: ItemsStatus, index: int) -> bool:
    """Whether an item has folded: each of its attempts is closed."""
    return any(intervals.holds(text, index) for text in (items.succeeded, items.failed, items.cancelled))


def folded(status: RunStatus, part: str) -> bool:
    """Whether that is an item which has folded."""
    index = names.index(part)
    step = next((step for step in status.steps if step.name == names.step_of(part)), None)
    return index is not None and step is not None and step.items is not None and settled(step.items, index)
