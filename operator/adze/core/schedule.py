"""Schedules: when they tick. The calendar is cronsim's; time zones and their shifts are ours, for 5 and 6 fields alike.

A schedule speaks of wall time, and each wall time ticks once: one that a shift leaps over ticks at the shift, one that
a shift repeats ticks the first time. Only a schedule for all hours of the day counts the hours that pass: it ticks in
both of two repeated hours, and has nothing to make up for in a gap.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
FIELDS = (("second", 60), ("minute", 60), ("hour", 24), ("day of month", 31), ("month", 12), ("day of week", 7))
"""Fields of a schedule and the longest step that makes sense in each."""
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class InvalidSchedule(ValueError):
    """A text that is no schedule, or a schedule that never ticks."""


class UnknownZone(ValueError):
    """A text that names no time zone."""


class Schedule(Protocol):
    """When something is due."""

    def after(self, moment: datetime) -> datetime | None:
        """The first tick after a moment, in UTC; None if there is none for decades."""


@lru_cache(maxsize=4096)
def parse(text: str, time_zone: str) -> Schedule:
    """Read a schedule. InvalidSchedule and UnknownZone say what is wrong with which of the two."""
    zone = _zone(time_zone)
    fields = NAMES.get(text, text).upper().split()
    if text.startswith("@") and text not in NAMES:
        raise InvalidSchedule(f"{text!r} is none of {', '.join(NAMES)}")
    if len(fields) not in (5, 6):
        raise InvalidSchedule(f"{text!r} has {len(fields)} fields, not 5, or 6 with seconds first")
    fields = fields if len(fields) == 6 else ["0", *fields]
    for field, (name, longest) in zip(fields, FIELDS, strict=True):
        for step in re.findall(r"/([0-9]+)", field):
            if int(step) > longest:
                raise InvalidSchedule(f"{text!r}: a step of {step} in the field for the {name} is more than {longest}")
    expression = " ".join(fields)
    try:
        calendar = CronSim(expression, datetime(2000, 1, 1))  # noqa: DTZ001  (cronsim is asked for wall times)
        next(calendar)
    except CronSimError as error:
        raise InvalidSchedule(f"{text!r}: {str(error).lower().replace('-', ' ')}") from None
    except StopIteration:
        raise InvalidSchedule(f"{text!r} never ticks") from None
    kind = _Hourly if len(calendar.hours) == 24 else _Daily
    return kind(expression, zone)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(name: str) -> ZoneInfo:
    if name not in _zones():
        raise UnknownZone(f"{name!r} is no time zone, such as UTC or Europe/Berlin")
    return ZoneInfo(name)


def _wall_after(expression: str, wall: datetime) -> datetime | None:
    """The first wall time after another that the expression matches, both without a zone."""
    return next(CronSim(expression, wall), None)


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta(0)


def _shift(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first moment, in whole seconds, whose offset is no longer that of `before`. At `after` it isn't."""
    offset = _offset(zone, before)
    while after - before > SECOND:
        middle = before + (after - before) // SECOND // 2 * SECOND
        if _offset(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after


@dataclass(frozen=True, slots=True)
class _Daily:
    """Ticks at wall times."""

    expression: str
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        """The first tick after a moment."""
        # Where a wall time comes twice, this starts from the first: what has been is passed over below.
        wall: datetime | None = moment.astimezone(self.zone).replace(tzinfo=None, fold=0)
        while wall and (wall := _wall_after(self.expression, wall)):
            tick = self._moment(wall)
            if tick > moment:
                return tick
        return None

    def _moment(self, wall: datetime) -> datetime:
        late = wall.replace(tzinfo=self.zone, fold=0).astimezone(UTC)
        if late.astimezone(self.zone).replace(tzinfo=None) == wall:
            return late
        # There's no such wall time: the shift lies between what the offsets before and after it make of it.
        early = wall.replace(tzinfo=self.zone, fold=1).astimezone(UTC)
        return _shift(self.zone, early, late)


@dataclass(frozen=True, slots=True)
class _Hourly:
    """Ticks at each moment whose wall time matches."""

    expression: str
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        """The first tick after a moment."""
        start = moment.astimezone(UTC).replace(microsecond=0) + SECOND
        while True:
            # Day by day, as the offset may change: within one offset wall time and UTC run alike.
            offset = _offset(self.zone, start)
            wall = _wall_after(self.expression, (start + offset - SECOND).replace(tzinfo=None))
            if wall is None:
                return None
            tick = (wall - offset).replace(tzinfo=UTC)
            near = tick - start <= HOUR and _offset(self.zone, tick) == offset
            end = start + DAY if near else self._end(start, offset)
            if tick < end:
                return tick
            # No shift repeats more than a day, so days without a match before the tick can be left out.
            start = max(end, tick - 2 * DAY) if end == start + DAY else end

    def _end(self, start: datetime, offset: timedelta) -> datetime:
        """Where the offset changes, at most a day on."""
        for before in (start + number * HOUR for number in range(24)):
            if _offset(self.zone, before + HOUR) != offset:
                return _shift(self.zone, before, before + HOUR)
        return start + DAY
