"""Sets of indexes as text, against Python's sets."""

from hypothesis import given
from hypothesis import strategies as st

from adze.core import intervals

SETS = st.sets(st.integers(0, 40))


@given(SETS, SETS)
def test_text_and_set_are_the_same(one: set[int], other: set[int]) -> None:
    text = intervals.add("", one)
    assert list(intervals.members(text)) == sorted(one)
    assert intervals.add(text, other) == intervals.add("", one | other)
    assert intervals.size(text) == len(one)
    assert intervals.end(text) == max(one, default=-1) + 1
    assert [index for index in range(45) if intervals.holds(text, index)] == sorted(one)
    assert set(intervals.members(intervals.rest(41, text, intervals.add("", other)))) == set(range(41)) - one - other


def test_neighbours_become_one_interval() -> None:
    assert intervals.add("0-41,43", [42, 50]) == "0-43,50"
    assert intervals.rest(3) == "0-2"
    assert intervals.rest(0) == ""
