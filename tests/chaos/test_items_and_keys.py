"""The checker on items and keys: histories that hold, and one for each way to break a predicate."""

from collections.abc import Callable

import pytest

from adze.core import names
from adze.core.model import Phase
from adze.core.slots import LeaseMetadata
from tests.builders import failed, opened, released, running, step, succeeded, workflow
from tests.chaos.history import Page
from tests.chaos.story import Book, Story, attempt, ended, item, must_break, must_hold, must_leave, replace

Break = Callable[[], Book]

# Items

FAN = workflow(
    step("each", for_each="[1, 2]", retries=1, backoff={"type": "Constant", "base": "60s"}),
    step("join", parents=["each"]),
)


def _both_claimed() -> Story:
    story = Story(FAN)
    story.fan("each")
    story.fan("each", active=(item("each[0]", attempt("each[0]")), item("each[1]", attempt("each[1]"))))
    return story


def _gathered() -> Story:
    story = _both_claimed()
    for index in (0, 1):
        story.runs(f"each[{index}]")
    story.fan("each", Phase.SUCCEEDED, succeeded="0-1")
    return story


def _items_hold() -> Book:
    story = _gathered()
    for index in (0, 1):
        story.now(released, f"each[{index}]")
    story.whole("join", run=Phase.SUCCEEDED)
    return story.book


def _item_started_twice() -> Book:
    story = _both_claimed()
    story.runs("each[1]")
    story.delete()
    story.gone("each[1]")
    story.made("each[1]", uid="another")
    for change in (opened, running):
        story.now(change, "each[1]")
    return story.book


def _item_with_two_live_pods() -> Book:
    story = _both_claimed()
    late = replace(ended("each[1]", 1, 1), reason="Timeout")
    other = item("each[0]", attempt("each[0]"))
    for number, tried in ((1, ()), (2, (late,))):
        story.wait(70)
        story.fan("each", active=(other, item("each[1]", *tried, attempt("each[1]", number))))
        story.made("each[1]", number)
        for change in (opened, running):
            story.now(change, "each[1]", number)
        story.fan("each", active=(other, item("each[1]", late)))
    return story.book


def _item_without_first_attempt() -> Book:
    story = Story(FAN)
    story.fan("each", active=(item("each[0]", attempt("each[0]", 2)),))
    return story.book


def _join_before_all_items() -> Book:
    story = _both_claimed()
    story.claim("join")
    return story.book


def _item_succeeded_though_it_failed() -> Book:
    story = _both_claimed()
    story.runs("each[0]", end=failed)
    story.fan("each", succeeded="0", active=(item("each[1]", attempt("each[1]")),))
    return story.book


def _item_lost() -> Book:
    story = _both_claimed()
    story.fan("each", active=(item("each[1]", attempt("each[1]")),))
    return story.book


def _list_changed() -> Book:
    story = _both_claimed()
    story.fan("each", total=3, active=(item("each[0]", attempt("each[0]")), item("each[1]", attempt("each[1]"))))
    return story.book


def _page_missing() -> Book:
    story = _both_claimed()
    story.book.add(Page(LeaseMetadata("p", labels={names.RUN_UID: story.uid}), {names.PAGE: '{"0":{},"1":{}}'}))
    for index in (0, 1):
        story.runs(f"each[{index}]", end=lambda pod: succeeded(pod, {}))
    story.fan("each", Phase.SUCCEEDED, succeeded="0-1", pages=("another",))
    return story.book


# Keys

KEYED = workflow(step("a", concurrency=[{"key": "step-1", "maxRuns": 1}]), concurrency=[{"key": "run-1", "maxRuns": 1}])
ONE, OTHER = "uid-1", "uid-2"


def _holder(book: Book, uid: str, *, slots: bool = True) -> Story:
    story = Story(KEYED, name=f"r-{uid}", uid=uid, book=book)
    if slots:
        story.slot("run-1")
    return story


def _works(story: Story) -> None:
    story.claim("a")
    story.slot("step-1", holder="a#1")
    story.runs("a")
    story.close("a", run=Phase.SUCCEEDED)
    story.now(released, "a")


def _keys_hold() -> Book:
    book = Book()
    for uid in (ONE, OTHER):
        story = _holder(book, uid)
        _works(story)
        story.slot("step-1", holder="a#1", removed=True)
        story.slot("run-1", removed=True)
    return book


def _two_leases() -> Book:
    story = Story(KEYED, uid=ONE)
    story.slot("run-1")
    story.slot("run-1", 1)
    return story.book


def _two_runs() -> Book:
    book = Book()
    _holder(book, ONE)
    _holder(book, OTHER, slots=False)
    return book


def _gate_without_a_slot() -> Book:
    story = _holder(Book(), ONE)
    story.claim("a")
    story.runs("a")
    return story.book


def _freed_too_early() -> Book:
    story = _holder(Book(), ONE)
    story.claim("a")
    story.slot("step-1", holder="a#1")
    story.made("a")
    for change in (opened, running):
        story.now(change, "a")
    story.slot("step-1", holder="a#1", removed=True)
    return story.book


def _two_pods() -> Book:
    book = _freed_too_early()
    story = Story(workflow(*KEYED.steps), name="r", uid=OTHER, book=book)
    story.claim("a")
    story.slot("step-1", holder="a#1")
    story.made("a")
    for change in (opened, running):
        story.now(change, "a")
    return book


def _slot_left() -> Book:
    story = _holder(Book(), ONE)
    _works(story)
    story.slot("step-1", holder="a#1", removed=True)
    return story.book


HOLDS: dict[str, Break] = {
    "items": _items_hold,
    "keys": _keys_hold,
}
BREAKS: dict[str, tuple[str, Break]] = {
    "an item starts twice": ("S1", _item_started_twice),
    "an item has two live Pods": ("S2", _item_with_two_live_pods),
    "an item's first attempt is left out": ("S3", _item_without_first_attempt),
    "a fan-in comes before all items": ("S5", _join_before_all_items),
    "an item that failed is recorded as a success": ("S7", _item_succeeded_though_it_failed),
    "an item is lost": ("S19", _item_lost),
    "the list of a forEach changes": ("S19", _list_changed),
    "a page is missing": ("S17", _page_missing),
    "more Leases than the limit": ("S11", _two_leases),
    "more runs than the limit": ("S11", _two_runs),
    "more Pods than the limit": ("S11", _two_pods),
    "a gate opens without a slot": ("S12", _gate_without_a_slot),
    "a slot is freed under a Pod": ("S12", _freed_too_early),
}
LEFT: dict[str, tuple[str, Break]] = {"a slot is left": ("L2", _slot_left)}


@pytest.mark.parametrize("write", HOLDS.values(), ids=HOLDS)
def test_what_holds(write: Break) -> None:
    must_hold(write())


@pytest.mark.parametrize(("code", "write"), BREAKS.values(), ids=BREAKS)
def test_what_breaks(code: str, write: Break) -> None:
    must_break(write(), code)


@pytest.mark.parametrize(("code", "write"), LEFT.values(), ids=LEFT)
def test_what_is_left_at_the_end(code: str, write: Break) -> None:
    must_leave(write(), code)
