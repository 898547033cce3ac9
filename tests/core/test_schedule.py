"""Schedules: what they take, and when they tick, beside an oracle that uses no scheduling library."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adze.core import schedule
from tests import oracle

EXPRESSIONS = [
    "0 9 * * *",
    "30 2 * * *",
    "*/10 1-3 * * *",
    "15 */2 * * *",
    "0 0 * * *",
    "59 23 * * 6,0",
    "0 0 1 * *",
    "30 1 13 * 5",
    "0 * * * *",
    "*/20 * * * *",
    "5 0-23 * * MON-FRI",
    "* 2 * MAR,OCT SUN",
    "30 45 2 * * *",
    "15,45 */30 0,1,2 * * *",
    "20 30 * * * *",
]
"""Fixed times, intervals, both kinds of days, six fields: some meet a shift of the clocks, some don't."""
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "America/Havana",
    "America/Scoresbysund",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Asia/Beirut",
    "Asia/Tehran",
    "Asia/Gaza",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Apia",
    "Antarctica/Troll",
]
"""Shifts of two hours, one and a half one; at midnight; on both hemispheres; across the date line; none at all."""


def ticks(text: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """The ticks after `start`, up to `end`."""
    found = []
    moment = schedule.parse(text, zone).after(start)
    while moment and moment <= end:
        found.append(moment)
        moment = schedule.parse(text, zone).after(moment)
    return found


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("year", [2011, 2026])
def test_it_ticks_as_the_oracle_says(zone: str, year: int) -> None:
    plain = datetime(year, 5, 30, tzinfo=UTC)
    for day in (plain, *oracle.shifts(zone, year)):
        minutes = oracle.window(zone, day - timedelta(days=2), 4)
        first, last = minutes[0][0] + oracle.DAY, minutes[-1][0] - oracle.DAY
        for text in EXPRESSIONS:
            assert ticks(text, zone, first, last) == oracle.ticks(text, minutes), (text, day)


def local(zone: str, text: str, *walls: str) -> list[str]:
    """The next ticks after a wall time, as wall times with offsets."""
    place = oracle.ZoneInfo(zone)
    moment: datetime | None = datetime.fromisoformat(walls[0]).replace(tzinfo=place)
    found = []
    for _ in walls[1:]:
        assert moment
        moment = schedule.parse(text, zone).after(moment)
        found.append(moment.astimezone(place).isoformat(timespec="minutes") if moment else "never")
    return found


@pytest.mark.parametrize(
    ("text", "start", "expected"),
    [
        ("30 2 * * *", "2026-03-28T12:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),
        ("*/15 2 * * *", "2026-03-28T12:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
        ("0 2,3 * * *", "2026-03-28T12:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
        ("0 */2 * * *", "2026-03-29T00:00", ["2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00"]),
        ("30 * * * *", "2026-03-29T01:00", ["2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00"]),
        ("30 2 * * *", "2026-10-24T12:00", ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
        ("30 2,3 * * *", "2026-10-24T12:00", ["2026-10-25T02:30+02:00", "2026-10-25T03:30+01:00"]),
        ("30 * * * *", "2026-10-25T02:00", ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"]),
        ("0 9 * * *", "2026-10-24T12:00", ["2026-10-25T09:00+01:00", "2026-10-26T09:00+01:00"]),
    ],
)
def test_when_the_clocks_are_shifted_in_berlin(text: str, start: str, expected: list[str]) -> None:
    assert local("Europe/Berlin", text, start, *expected) == expected


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ],
)
def test_names(name: str, same: str) -> None:
    start = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert schedule.parse(name, "Asia/Tokyo").after(start) == schedule.parse(same, "Asia/Tokyo").after(start)


def test_seconds_come_first() -> None:
    start = datetime(2026, 2, 3, 4, 5, 6, 700_000, tzinfo=UTC)
    assert schedule.parse("7 5 4 * * *", "UTC").after(start) == datetime(2026, 2, 3, 4, 5, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 12 L * *", datetime(2026, 2, 28, 12, tzinfo=UTC)),
        ("0 12 LW 5 *", datetime(2026, 5, 29, 12, tzinfo=UTC)),
        ("0 12 * * 1#2", datetime(2026, 2, 9, 12, tzinfo=UTC)),
        ("0 12 * * 5L", datetime(2026, 2, 27, 12, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2028, 2, 29, tzinfo=UTC)),
        ("0 * 29 2 *", datetime(2028, 2, 29, tzinfo=UTC)),
    ],
)
def test_last_days_and_rare_ones(text: str, expected: datetime) -> None:
    assert schedule.parse(text, "UTC").after(datetime(2026, 2, 3, tzinfo=UTC)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("* * * *", "4 fields"),
        ("* * * * * * *", "7 fields"),
        ("", "0 fields"),
        ("@reboot", "is none of @hourly"),
        ("@Daily", "is none of"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day of month"),
        ("* * * 13 *", "bad month"),
        ("* * * * 8", "bad day of week"),
        ("60 0 0 * * *", "bad second"),
        ("5-1 * * * *", "bad minute"),
        ("*/0 * * * *", "bad minute"),
        ("*/61 * * * *", "a step of 61"),
        ("0 0 30 2 *", "bad day of month"),
        ("nine * * * *", "bad minute"),
    ],
)
def test_a_text_that_is_no_schedule(text: str, words: str) -> None:
    with pytest.raises(schedule.InvalidSchedule, match=words):
        schedule.parse(text, "UTC")


@pytest.mark.parametrize("zone", ["Mars/Phobos", "Europe", "", "../UTC", "/etc/localtime", "europe/berlin", "UTC+1"])
def test_a_text_that_is_no_time_zone(zone: str) -> None:
    with pytest.raises(schedule.UnknownZone, match="is no time zone"):
        schedule.parse("@daily", zone)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789*/-,#LW@ SUNmonJAN?", max_size=24))
def test_any_text_is_a_schedule_or_refused(text: str) -> None:
    try:
        made = schedule.parse(text, "Europe/Berlin")
    except schedule.InvalidSchedule:
        return
    start = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)
    first = made.after(start)
    assert first is None or first > start
