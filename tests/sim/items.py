"""S19: the items of a forEach step are fixed at its expansion, start once each, and end in one way each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adze.core import names
from adze.core.model import FailurePolicy, ItemsStatus, Run, StepStatus
from tests.sim import large
from tests.sim.account import Account
from tests.sim.violation import Violation

if TYPE_CHECKING:
    from tests.sim.check import Checker


def indexes(text: str) -> set[int]:
    """The indexes that a text names, read by other code than the core's."""
    pairs = [part.split("-") for part in text.split(",") if part]
    return {index for pair in pairs for index in range(int(pair[0]), int(pair[-1]) + 1)}


def _places(items: ItemsStatus) -> dict[str, set[int]]:
    return {
        "succeeded": indexes(items.succeeded),
        "failed": indexes(items.failed),
        "cancelled": indexes(items.cancelled),
    }


def changed(checker: Checker, account: Account, run: Run, before: StepStatus | None, after: StepStatus) -> None:
    """A forEach step was written."""
    items, old = after.items, before.items if before else None
    assert items is not None
    if old and (old.total, old.digest) != (items.total, items.digest):
        raise Violation("S19", f"the items of {after.name} have changed")
    places = _places(items)
    entries = [names.index(entry.name) for entry in items.active]
    listed = [*entries, *(index for place in places.values() for index in place)]
    if len(set(listed)) != len(listed) or any(index is None or index >= items.total for index in listed):
        raise Violation("S19", f"{after.name} lists an item twice, or one that isn't there: {items}")
    gone = {names.index(entry.name) for entry in old.active} - set(listed) if old else set()
    earlier = _places(old) if old else {place: set() for place in places}
    if gone or any(earlier[place] - places[place] for place in places):
        raise Violation("S19", f"{after.name} has lost items {gone}")
    if after.phase.final and (items.active or set(listed) != set(range(items.total))):
        raise Violation("S19", f"{after.name} ended with items that had not")
    for entry in (*items.active, *items.failures):
        checker.part(account, run, entry)
    _claims(checker, account, after, old, earlier["failed"])
    for place in places:
        for index in sorted(places[place] - earlier[place]):
            checker.goals[f"item {place}"] += 1
            _folded(checker, account, after, index, place)
    if after.phase.final:
        checker.goals[f"forEach step ended {after.phase.value}"] += 1
        checker.goals["forEach of nothing"] += items.total == 0


def _claims(checker: Checker, account: Account, step: StepStatus, old: ItemsStatus | None, failed: set[int]) -> None:
    node = checker.node(account, step.name)
    assert step.items is not None
    flying = [entry for entry in step.items.active if entry.open_attempt]
    if len(flying) > (node.step.max_parallel or 100):
        raise Violation("S19", f"{step.name} has {len(flying)} items in flight")
    known = {attempt.pod for entry in old.active for attempt in entry.attempts} if old else set()
    new = [entry.name for entry in flying if entry.attempts[-1].pod not in known]
    if new and failed and node.step.failure_policy is not FailurePolicy.CONTINUE:
        raise Violation("S19", f"{new} were claimed after items {failed} had failed")


def _folded(checker: Checker, account: Account, step: StepStatus, index: int, place: str) -> None:
    """What an item that has left for the intervals leaves behind is true."""
    assert step.items is not None and checker.api is not None
    tries = account.tries.get(names.part(step.name, index), [])
    last = tries[-1] if tries else None
    if place == "cancelled" or last is None:
        if last is not None and last.closed is None and not checker.stripped:
            if not last.outcomes:
                raise Violation("S19", f"{step.name}[{index}] was cancelled with an open attempt")
            last.closed = checker.api.revision
        if place == "succeeded":
            raise Violation("S7", f"{step.name}[{index}] succeeded without an attempt")
        return
    if last.closed is None:
        last.closed = checker.api.revision
        checker.goals["attempt ended: success"] += 1
    if place == "succeeded" and not checker.stripped:
        found = [page for name in step.items.pages if (page := checker.api.pages.get(name))]
        if len(found) < len(step.items.pages):
            raise Violation("S17", f"{step.name} refers to pages that aren't there: {step.items.pages}")
        checker.goals["outputs in a page"] += bool(found)
        output = next((page[str(index)] for page in (*found, step.items.outputs or {}) if str(index) in page), None)
        said = [truth for truth in last.outcomes if truth.reason is None]
        checker.goals["large output of an item"] += any(names.REFERENCE in (truth.output or {}) for truth in said)
        if not any(large.meant(checker, last.attempt.pod, truth.output) == output for truth in said):
            raise Violation("S7", f"{step.name}[{index}] was recorded as a success, which it was not")
