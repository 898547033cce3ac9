"""S16: each tick of a schedule has exactly one run or is counted as missed, and no other run passes for a tick's.

Ticks are worked out second by second, without the scheduling library (tests/oracle.py). Schedules are in UTC.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta

from adze.core.model import CronStatus, Run, TriggerKind, Workflow
from tests.oracle import Expression

from .history import Breach, Entry, History

SECOND = timedelta(seconds=1)
PATIENCE = timedelta(seconds=15)
"""A tick that nobody has looked at for so long is a lost one, where nothing stands in the way."""
Key = tuple[str, str]
"""Workflow and schedule."""


def between(schedule: str, start: datetime, end: datetime) -> list[datetime]:
    """The ticks after `start`, up to and with `end`."""
    expression = Expression(schedule)
    found = []
    moment = start.replace(microsecond=0) + SECOND
    while moment <= end:
        if moment.second in expression.seconds and expression.matches(moment.replace(tzinfo=None)):
            found.append(moment)
        moment += SECOND
    return found


class Clock:
    """What is known of schedules and of the runs that say that they are a tick's."""

    def __init__(self, *, ended: bool) -> None:
        self.breaches: list[Breach] = []
        self._ended = ended
        self._known: dict[Key, CronStatus] = {}
        self._recorded: dict[Key, dict[datetime, str]] = defaultdict(dict)
        self._began: dict[tuple[Key, datetime], Entry] = {}
        self._withdrawn: set[tuple[Key, datetime]] = set()

    def hear(self, entry: Entry) -> None:
        """The next entry."""
        match entry.item:
            case Workflow() as workflow if not entry.removed:
                for status in workflow.status.cron:
                    self._status(entry, (workflow.metadata.name, status.schedule), status)
            case Run() as run if run.status.trigger and run.status.trigger.kind is TriggerKind.CRON:
                self._run(entry, run)

    def _status(self, entry: Entry, key: Key, new: CronStatus) -> None:
        old, self._known[key] = self._known.get(key), new
        recorded = self._recorded[key]
        for run in new.runs:
            if recorded.setdefault(run.time, run.uid) != run.uid:
                self._tell(entry, f"{run.name} had the run {recorded[run.time]} and has {run.uid} now")
        if old is None:
            return
        if new.decided_time < old.decided_time:
            self._tell(entry, f"schedule {key[1]!r} of {key[0]} goes back to {new.decided_time}")
        elif "Suspended" in (old.reason, new.reason):
            late = between(key[1], old.decided_time, new.decided_time - PATIENCE) if old.reason is None else []
            if late and self._ended:
                self._tell(entry, f"{key[0]}: nobody has looked at the tick of {late[0]} for {PATIENCE}", "L1")
        else:
            self._count(entry, key, old, new)

    def _count(self, entry: Entry, key: Key, old: CronStatus, new: CronStatus) -> None:
        due = between(key[1], old.decided_time, new.decided_time)
        known = {run.time for run in old.runs}
        runs = {run.time for run in new.runs if run.time not in known}
        runs |= {tick for tick in due if (key, tick) in self._withdrawn}
        missed = new.missed - old.missed
        if not runs <= set(due):
            self._tell(entry, f"{key[0]} has runs of no tick: {sorted(map(str, runs - set(due)))}")
        elif len(due) != len(runs) + missed:
            self._tell(entry, f"{key[0]}: of {len(due)} ticks {len(runs)} have a run and {missed} count as missed")

    def _run(self, entry: Entry, run: Run) -> None:
        trigger = run.status.trigger
        assert trigger and trigger.time
        key, tick = (run.spec.workflow or "", trigger.schedule or ""), trigger.time
        mine = self._recorded[key].get(tick) == run.metadata.uid
        if run.status.workflow_spec is None:
            if run.status.reason == "Duplicate" and mine:
                self._tell(entry, f"{run.metadata.name} is its tick's run and gave way")
            elif run.status.phase.final:
                self._withdrawn.add((key, tick))
            return
        first = self._began.setdefault((key, tick), entry)
        if first.item.metadata.uid != run.metadata.uid:
            self._tell(entry, f"the tick {tick} of {key[0]} has two runs that began", first=first)
        elif first is entry and not mine:
            self._tell(entry, f"{run.metadata.name} began before its tick was recorded")

    def _tell(self, entry: Entry, message: str, code: str = "S16", first: Entry | None = None) -> None:
        self.breaches.append(Breach(code, message, (first, entry) if first else (entry,)))


def miscounted(history: History, *, ended: bool) -> list[Breach]:
    """Ticks that were lost or doubled. With `ended` also those that nobody looked at."""
    clock = Clock(ended=ended)
    for entry in history.entries:
        clock.hear(entry)
    return clock.breaches
