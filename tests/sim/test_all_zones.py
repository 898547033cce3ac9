"""Every time zone over ten years, around each shift of its clocks, beside the oracle."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest

from tests import oracle
from tests.core.test_schedule import EXPRESSIONS, ticks

YEARS = range(2018, 2028)


def _days() -> dict[datetime, list[str]]:
    """Days whose clocks are shifted, with one zone for each way in which that happens."""
    found: dict[datetime, dict[tuple[timedelta | None, ...], str]] = defaultdict(dict)
    for zone in sorted(available_timezones()):
        for year in YEARS:
            for day in oracle.shifts(zone, year):
                hours = (day - oracle.DAY + timedelta(minutes=30 * number) for number in range(49))
                shape = tuple(hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours)
                found[day].setdefault(shape, zone)
    return {day: list(zones.values()) for day, zones in found.items()}


DAYS = _days()


def test_there_are_shifts_to_look_at() -> None:
    assert sum(map(len, DAYS.values())) > 400
    assert len({zone for zones in DAYS.values() for zone in zones}) > 50


@pytest.mark.parametrize("year", YEARS)
def test_every_shift_of_every_zone(year: int) -> None:
    for day, zones in DAYS.items():
        if day.year != year:
            continue
        for zone in zones:
            minutes = oracle.window(zone, day - timedelta(days=2), 3)
            first, last = minutes[0][0] + oracle.DAY, minutes[-1][0] - oracle.DAY
            for text in EXPRESSIONS:
                assert ticks(text, zone, first, last) == oracle.ticks(text, minutes), (text, zone, day)
        oracle.window.cache_clear()


def test_years_without_a_break() -> None:
    """From tick to tick for ten years: each is the first after the one before, and none is left out over the years."""
    start, end = datetime(2018, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    for zone in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"):
        assert len(ticks("0 9 * * *", zone, start, end)) == (end - start) // oracle.DAY
        assert len(ticks("30 2 * * *", zone, start, end)) == (end - start) // oracle.DAY
