"""Durations as users write and read them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adze.core import duration


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("90s", timedelta(seconds=90)),
        ("1h30m", timedelta(minutes=90)),
        ("250ms", timedelta(milliseconds=250)),
        ("1.5h", timedelta(minutes=90)),
        ("1h1m1s1ms", timedelta(hours=1, minutes=1, seconds=1, milliseconds=1)),
        ("0s", timedelta()),
        ("24h", timedelta(days=1)),
        ("1m30s", timedelta(seconds=90)),
        ("90m", timedelta(minutes=90)),
    ],
)
def test_durations_are_go_style(text: str, wanted: timedelta) -> None:
    assert duration.parse(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "5", "5 s", "-5s", "+5s", "1d", "5S", "s", "1h 30m", ".5s", "1.s", "5us", "1e3s", "PT5S", "5s;"]
)
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration") as refused:
        duration.parse(text)
    assert repr(text) in str(refused.value)


def test_an_absurd_duration_is_refused_as_a_value() -> None:
    with pytest.raises(ValueError):
        duration.parse("9" * 30 + "h")


@pytest.mark.parametrize(
    ("given_seconds", "wanted"),
    [(0, "0s"), (0.4, "0.4s"), (12, "12s"), (60, "1m"), (90, "1m30s"), (3600, "1h"), (5400, "1h30m"), (86400, "24h")],
)
def test_durations_are_shown_short(given_seconds: float, wanted: str) -> None:
    assert duration.show(timedelta(seconds=given_seconds)) == wanted


@given(st.integers(0, 10**7))
def test_what_is_shown_reads_back(whole_seconds: int) -> None:
    span = timedelta(seconds=whole_seconds)
    assert duration.parse(duration.show(span)) == span
