"""When a schedule ticks, worked out minute by minute: no scheduling library, no cleverness. For tests of the real one.

A window is every minute of some days with its wall time. An hourly schedule (for all 24 hours) ticks at each minute
whose wall time matches. Any other ticks once for each matching wall time of the calendar: at its first occurrence, or,
if the clocks leap over it, at the first minute after the leap.
"""

import calendar
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
WORDS = {
    **{name: number for number, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"])},
    **{name.upper(): number for number, name in enumerate(calendar.month_abbr)},
}

Window = tuple[tuple[datetime, datetime], ...]
"""(UTC, wall time) of each minute."""


@cache
def window(zone: str, start: datetime, days: int) -> Window:
    """Every minute of some days."""
    place = ZoneInfo(zone)
    moments = (start + number * MINUTE for number in range(days * 24 * 60))
    return tuple((moment, moment.astimezone(place).replace(tzinfo=None, fold=0)) for moment in moments)


def field(text: str, low: int, high: int) -> frozenset[int]:
    """The numbers that a field allows."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = WORDS.get(first) if first in WORDS else int(first)
            end = (WORDS.get(last) if last in WORDS else int(last)) if last else (high if step else start)
        found |= set(range(start, end + 1, int(step or 1)))
    return frozenset(found)


class Expression:
    """A schedule, read for the oracle."""

    def __init__(self, text: str) -> None:
        parts = text.upper().split()
        parts = parts if len(parts) == 6 else ["0", *parts]
        sets = [field(part, low, high) for part, (low, high) in zip(parts, BOUNDS, strict=True)]
        self.seconds, self.minutes, self.hours, self.days, self.months, self.weekdays = sets
        self.both = parts[3].startswith("*") or parts[5].startswith("*")
        self.hourly = self.hours == frozenset(range(24))

    def day(self, wall: datetime) -> bool:
        """Whether the day of a wall time is one of the schedule's."""
        of_month = wall.day in self.days
        of_week = bool({wall.isoweekday(), wall.isoweekday() % 7} & self.weekdays)
        return wall.month in self.months and (of_month and of_week if self.both else of_month or of_week)

    def matches(self, wall: datetime) -> bool:
        """Whether a wall time's minute is one of the schedule's."""
        return wall.minute in self.minutes and wall.hour in self.hours and self.day(wall)


def ticks(text: str, minutes: Window) -> list[datetime]:
    """The ticks from the second day of a window to its last but one."""
    expression = Expression(text)
    found = set(_hourly(expression, minutes) if expression.hourly else _daily(expression, minutes))
    first, last = minutes[0][0] + DAY, minutes[-1][0] - DAY
    return sorted(tick for tick in found if first < tick <= last)


def _hourly(expression: Expression, minutes: Window) -> Iterator[datetime]:
    for moment, wall in minutes:
        if expression.matches(wall):
            for second in expression.seconds:
                yield moment + timedelta(seconds=second)


def _daily(expression: Expression, minutes: Window) -> Iterator[datetime]:
    first: dict[datetime, datetime] = {}
    for moment, wall in minutes:
        first.setdefault(wall, moment)
    leaps = [(before, after, moment) for (_, before), (moment, after) in pairwise(minutes) if after > before + MINUTE]
    wall = minutes[0][1]
    while wall <= minutes[-1][1]:
        if expression.matches(wall):
            for second in expression.seconds:
                if wall in first:
                    yield first[wall] + timedelta(seconds=second)
                else:
                    yield next(moment for before, after, moment in leaps if before < wall < after)
        wall += MINUTE


def shifts(zone: str, year: int) -> list[datetime]:
    """The days of a year, in UTC, before which the clocks of a zone are shifted."""
    place = ZoneInfo(zone)
    days = [datetime(year, 1, 1, tzinfo=UTC) + number * DAY for number in range(366)]
    offsets = [day.astimezone(place).utcoffset() for day in days]
    return [day for day, (before, after) in zip(days[1:], pairwise(offsets), strict=True) if before != after]
