"""Allowances: what fits in a window, what the log forgets, and which entries can't be used."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adze.core import rates, slots
from adze.core.model import MOST_UNITS, Lease, Run
from adze.core.rates import KEPT, InvalidRate, Rate, State, Taken, Window
from adze.core.revision import InvalidWorkflow
from adze.core.slots import Take
from adze.core.values import Values
from tests.builders import NOW, revision, run, seconds, step

MINUTE = seconds(60)


def entry(limit: Any = 100, per: str = "1m", key: str = "k", **fields: Any) -> Rate:
    """A compiled entry of a step's `rateLimit`."""
    (rate,) = revision(step("a", rate_limit=[{"key": key, "limit": limit, "per": per, **fields}])).nodes["a"].rates
    return rate


def take(what: Rate, subject: Run | None = None, live: Rate | None = None, **data: Any) -> Take:
    """What an attempt of a run with that input takes."""
    subject = subject or run("hello")
    return rates.take(what, subject, Values(subject, data, {}), live)


def one(limit: int = 2, units: int = 1, per: timedelta = MINUTE) -> Take:
    return Take("g", "k", limit, units, per)


def taken(after: float, units: int = 1) -> Taken:
    """Units taken so many seconds after NOW."""
    return rates.stamp(NOW + seconds(after), units)


# Entries


def test_key_limit_and_units_may_be_expressions() -> None:
    what = entry("input.plan == 'pro' ? 100 : 10", key="api-${input.user}", units="size(input.list)")
    found = take(what, user="eva", plan="pro", list=[1, 2])
    assert (found.key, found.limit, found.units, found.per) == ("api-eva", 100, 2, MINUTE)
    assert take(entry(5)).units == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"key": "${input.empty}"}, "gives a text of 0 characters"),
        ({"key": "${input.number}"}, "which is no text"),
        ({"key": "${input.missing}"}, "missing"),
        ({"limit": "input.number - 7"}, "limit input.number - 7 gives 0: a whole number from 1 to 1000000 is needed"),
        ({"limit": "input.empty"}, "limit input.empty gives ''"),
        ({"units": "input.number"}, "key 'k': an attempt takes 7 units, and limit allows 5"),
        ({"units": "input.missing"}, "missing"),
        ({"units": f"{MOST_UNITS} + 1"}, "a whole number from 1 to 1000000 is needed"),
    ],
)
def test_what_can_not_be_used_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRate) as refused:
        take(entry(**{"limit": 5, **fields}), empty="", number=7)
    assert words in str(refused.value)


@pytest.mark.parametrize("per", ["0s", "500ms", "745h"])
def test_a_window_has_a_length_of_one_second_to_31_days(per: str) -> None:
    with pytest.raises(InvalidWorkflow) as refused:
        entry(per=per)
    assert "spec.steps[a].rateLimit[0].per: must be" in str(refused.value)


def test_what_shares_an_allowance() -> None:
    assert take(entry()).group == take(entry(5, units=2)).group
    assert take(entry()).group != take(entry(per="2m")).group, "another window is another allowance"
    assert take(entry()).group != take(entry(), run("world")).group
    shared = entry(scope="providers")
    assert take(shared).group == take(shared, run("world")).group
    assert rates.lease_name(take(entry()).group) != slots.lease_name(take(entry()).group, 0)


def test_the_limit_is_that_of_today() -> None:
    assert take(entry(5), live=entry(9, units=3)).limit == 9
    assert take(entry(5), live=entry(9, units=3)).units == 1


# Windows


def test_units_leave_the_window_once_it_has_passed() -> None:
    state = State(log=(taken(0), taken(10)))
    assert not Window(state, MINUTE, NOW + seconds(59.999)).fits(one(), "x")
    assert Window(state, MINUTE, NOW + seconds(60)).fits(one(), "x")
    assert Window(state, MINUTE, NOW + seconds(30)).reserve(one(), "x") == NOW + seconds(60)


def test_those_in_line_know_when_their_turn_comes() -> None:
    window = Window(State(log=(taken(0), taken(10))), MINUTE, NOW + seconds(30))
    moments = [window.reserve(one(), str(number)) - NOW for number in range(5)]
    assert moments == [seconds(60), seconds(70), seconds(120), seconds(130), seconds(180)]


def test_who_needs_much_is_not_overtaken() -> None:
    window = Window(State(log=(taken(0),)), MINUTE, NOW + seconds(30))
    assert window.reserve(one(units=2), "big") == NOW + seconds(60)
    assert not window.fits(one(), "small")
    assert window.reserve(one(), "small") == NOW + seconds(120)


def test_nothing_is_taken_of_a_closed_key() -> None:
    window = Window(State(closed_until=NOW + seconds(90)), MINUTE, NOW)
    assert not window.fits(one(), "x")
    assert window.reserve(one(), "x") == NOW + seconds(90)


def test_times_never_go_back() -> None:
    ahead = Window(State(log=(taken(2),)), MINUTE, NOW)
    assert not ahead.fits(one(), "x"), "another process's clock was ahead"
    assert ahead.reserve(one(), "x") == NOW + seconds(2)


def test_a_lowered_limit_waits_until_enough_has_left() -> None:
    state = State(log=(taken(0), taken(5), taken(10)))
    assert Window(state, MINUTE, NOW + seconds(20)).reserve(one(limit=1), "x") == NOW + seconds(70)


def test_units_taken_too_long_ago_are_taken_anew_in_place_of_the_old() -> None:
    state = State(named={"x": taken(0, 2)})
    assert state.fresh("x", MINUTE, NOW + seconds(4.9))
    assert not state.fresh("x", MINUTE, NOW + seconds(5))
    assert not state.fresh("x", seconds(1), NOW + seconds(1)), "a window shorter than that is over sooner"
    later = NOW + seconds(30)
    assert not Window(state, MINUTE, later).fits(one(), "y")
    assert Window(state, MINUTE, later).fits(one(units=2), "x")
    new = state.after({"x": rates.stamp(later, 2)}, (), MINUTE, later)
    assert (new.log, dict(new.named)) == ((), {"x": taken(30, 2)})


def test_an_attempt_that_has_started_needs_its_name_no_more_and_its_units_still_count() -> None:
    new = State(named={"x": taken(0), "y": taken(1)}).after({"z": taken(3)}, ["x"], MINUTE, NOW + seconds(3))
    assert (new.log, set(new.named)) == ((taken(0),), {"y", "z"})
    assert new.used(MINUTE, NOW + seconds(3)) == 3


def test_what_has_left_the_window_is_forgotten() -> None:
    state = State(log=(taken(0),), named={"x": taken(1)}, closed_until=NOW + seconds(61))
    assert not state.over(MINUTE, NOW + seconds(60.9))
    assert state.over(MINUTE, NOW + seconds(61))
    assert state.after({}, (), MINUTE, NOW + seconds(61)) == State()


takings = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 3)), min_size=1, max_size=300)


@given(takings, st.integers(3, 40))
def test_no_window_ever_holds_more_than_the_limit(asks: list[tuple[int, int]], limit: int) -> None:
    """Attempts come at any time; the log is written, shortened and read again in between."""
    per, state, now = seconds(10), State(), NOW
    true: list[Taken] = []
    for number, (pause, units) in enumerate(asks):
        now += timedelta(milliseconds=pause)
        what, name = one(limit, units, per), str(number)
        window = Window(state, per, now)
        if not window.fits(what, name):
            now = window.reserve(what, name)
            assert Window(state, per, now).fits(what, name), "the moment that was told is true"
        true.append(rates.stamp(now, units))
        state = state.after({name: true[-1]}, [str(number - 1)], per, now)
        assert len(state.log) <= KEPT
    for last in true:
        assert sum(some.units for some in true if last.at - 10_000 < some.at <= last.at) <= limit


def test_a_long_log_is_shortened_to_the_later_times() -> None:
    state = State(log=tuple(taken(number / 10) for number in range(KEPT + 50)))
    new = state.after({}, (), MINUTE, NOW + seconds(20))
    assert len(new.log) == KEPT
    assert sum(entry.units for entry in new.log) == KEPT + 50
    assert new.log[-1].at == state.log[-1].at


def test_a_lease_is_over_once_its_window_has_passed_and_it_is_open() -> None:
    state = State(log=(taken(0),), closed_until=NOW + seconds(70))
    lease = msgspec.convert(rates.manifest("shop", one(), state, NOW), Lease)
    assert not rates.over(lease, NOW + seconds(69))
    assert rates.over(lease, NOW + seconds(70))


def test_an_annotation_that_can_not_be_read_is_nothing() -> None:
    assert rates.state(None) == State()
