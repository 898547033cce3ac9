"""The checker on events and schedules: histories that hold, and one for each way to break a predicate."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from adze.core.model import (
    CronStatus,
    Event,
    EventSpec,
    EventStatus,
    Phase,
    Run,
    RunSpec,
    StepStatus,
    TickRun,
    Trigger,
    TriggerKind,
    Workflow,
)
from tests.builders import NOW, step, workflow
from tests.chaos.history import MarkedMetadata, Marks, Started
from tests.chaos.story import Book, must_break, must_hold, must_leave, replace

SECOND = timedelta(seconds=1)
Break = Callable[[], Book]

# Events


def _waits(book: Book, name: str = "w", **trigger: Any) -> None:
    on = {"events": [{"name": "order:*", **trigger}]}
    metadata = replace(_metadata(name), generation=1)
    book.add(Workflow(metadata=metadata, spec=workflow(step("a"), on=on)))


def _metadata(name: str, uid: str = "", **marks: str) -> MarkedMetadata:
    return MarkedMetadata(name=name, namespace="shop", uid=uid or name, annotations=Marks(**marks))


def _sent(book: Book, name: str = "e", *, processed: bool = False, **data: Any) -> None:
    spec = EventSpec(source="/s", id="1", type="order:created", data=data)
    status = EventStatus(processed_time=NOW if processed else None)
    book.add(Event(metadata=_metadata(name), spec=spec, status=status))


def _started(book: Book, uid: str = "u", of: str = "w", *, removed: bool = False, **marks: str) -> None:
    metadata = _metadata(f"{of}-1", uid, **{"event_source": "/s", "event_id": "1", **marks})
    book.add(Started(metadata=metadata, spec=RunSpec(workflow=of)), removed)


def _events(*acts: Callable[[Book], None]) -> Break:
    def write() -> Book:
        book = Book()
        for act in acts:
            act(book)
        return book

    return write


def _processed(book: Book) -> None:
    _sent(book, processed=True)


def _again(book: Book) -> None:
    _sent(book, "e-again")
    _sent(book, "e-again", processed=True)


def _second(book: Book) -> None:
    _started(book, "another")


def _removed(book: Book) -> None:
    _started(book, removed=True)


# Schedules

SCHEDULE = "*/5 * * * * *"


class Clockwork:
    """A Workflow whose schedule ticks at each fifth second after NOW, and its runs."""

    def __init__(self) -> None:
        self.book = Book()
        self.status = CronStatus(schedule=SCHEDULE, time_zone="UTC", decided_time=NOW)
        self.look(0)

    def look(self, seconds: int, *ticks: int, missed: int = 0, uid: str = "", **fields: Any) -> None:
        """A look is recorded: decided up to there, with runs for some ticks."""
        runs = tuple(TickRun(name=f"w-{tick}", uid=uid or f"run-{tick}", time=_at(tick)) for tick in ticks)
        status = replace(
            self.status, decided_time=_at(seconds), missed=self.status.missed + missed, runs=runs, **fields
        )
        self.status = status
        spec = workflow(step("a"), on={"cron": [{"schedule": SCHEDULE}]})
        whole = Workflow(metadata=_metadata("w"), spec=spec)
        self.book.add(replace(whole, status=replace(whole.status, cron=(status,))))

    def begins(self, tick: int, uid: str = "", **status: Any) -> None:
        """A run that says that it's a tick's begins, or what its status says."""
        trigger = Trigger(kind=TriggerKind.CRON, schedule=SCHEDULE, time_zone="UTC", time=_at(tick))
        metadata = _metadata(f"w-{tick}", uid or f"run-{tick}")
        spec = msgspec.to_builtins(workflow(step("a", when="false")))
        status = status or {"workflow_spec": spec, "revision": "r", "steps": (StepStatus(name="a"),)}
        bare = Run(metadata=metadata, spec=RunSpec(workflow="w"))
        self.book.add(bare)
        self.book.add(replace(bare, status=replace(bare.status, trigger=trigger, **status)))


def _at(second: int) -> datetime:
    return NOW + second * SECOND


def _schedule_holds() -> Book:
    clock = Clockwork()
    clock.look(5, 5)
    clock.begins(5)
    clock.look(16, 10, missed=1)
    clock.begins(10)
    clock.begins(15, reason="Duplicate", phase=Phase.CANCELLED)
    clock.look(60, reason="Suspended")
    clock.look(100, reason="Suspended")
    clock.look(200)
    return clock.book


def _clock(write: Callable[[Clockwork], None]) -> Break:
    def book() -> Book:
        clock = Clockwork()
        write(clock)
        return clock.book

    return book


def _two_recorded(clock: Clockwork) -> None:
    clock.look(5, 5)
    clock.look(5, 5, uid="another")


def _two_began(clock: Clockwork) -> None:
    clock.look(5, 5)
    clock.begins(5)
    clock.begins(5, "another")


def _gave_way(clock: Clockwork) -> None:
    clock.look(5, 5)
    clock.begins(5, reason="Duplicate", phase=Phase.CANCELLED)


HOLDS: dict[str, Break] = {
    "an event with one run": _events(_waits, _sent, _started, _processed),
    "the same event again": _events(_waits, _sent, _started, _processed, _again),
    "an event nobody waits for": _events(lambda book: _waits(book, filter="event.data.n > 5"), _again),
    "a run deleted before the event's status": _events(_waits, _sent, _started, _removed, _second, _processed),
    "a Workflow that comes later": _events(_sent, _waits, _processed),
    "a schedule": _schedule_holds,
}
BREAKS: dict[str, tuple[str, Break]] = {
    "an event has two runs": ("S14", _events(_waits, _sent, _started, _second, _processed)),
    "an event has a second run once processed": (
        "S14",
        _events(_waits, _sent, _started, _processed, _removed, _second),
    ),
    "an event has no run": ("S14", _events(_waits, _sent, _processed)),
    "an event has a run that nothing asks for": ("S14", _events(_sent, _started, _processed)),
    "a run is of no event": ("S14", _events(_waits, _started)),
    "a tick has no run": ("S16", _clock(lambda clock: clock.look(5))),
    "a tick has a run and is missed": ("S16", _clock(lambda clock: clock.look(5, 5, missed=1))),
    "a run is of no tick": ("S16", _clock(lambda clock: clock.look(9, 5, 7))),
    "a tick has two runs recorded": ("S16", _clock(_two_recorded)),
    "a tick has two runs that begin": ("S16", _clock(_two_began)),
    "a run begins before its tick is recorded": ("S16", _clock(lambda clock: clock.begins(5))),
    "a tick's run gives way": ("S16", _clock(_gave_way)),
    "a schedule goes back": ("S16", _clock(lambda clock: clock.look(-5))),
}
LEFT: dict[str, tuple[str, Break]] = {
    "an event was never processed": ("L1", _events(_waits, _sent)),
    "a schedule was never looked at": ("L1", _clock(lambda clock: clock.look(60, reason="Suspended"))),
}


@pytest.mark.parametrize("write", HOLDS.values(), ids=HOLDS)
def test_what_holds(write: Break) -> None:
    must_hold(write())


@pytest.mark.parametrize(("code", "write"), BREAKS.values(), ids=BREAKS)
def test_what_breaks(code: str, write: Break) -> None:
    must_break(write(), code)


@pytest.mark.parametrize(("code", "write"), LEFT.values(), ids=LEFT)
def test_what_is_left_at_the_end(code: str, write: Break) -> None:
    must_leave(write(), code)
