"""Each strategy as a function: whom it admits, in which order, and who gives way."""

from collections.abc import Iterable, Mapping
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adze.core.model import Strategy
from adze.core.slots import RUN, Need, Want
from adze.core.strategies import STRATEGIES, Line, Member, Ranking
from tests.builders import NOW, seconds


def member(
    name: str, born: int = 0, *, key: str = "k", priority: int = 0, ticket: int = 0, strategy: Strategy = Strategy.QUEUE
) -> Member:
    """A run that was created `born` seconds after the first."""
    order = (-priority, NOW + seconds(born), ticket, name, -1)
    return Member(name, name, key, Want(RUN, (Need("g", key, 1, strategy),), order))


def rank(
    strategy: Strategy,
    waiting: Iterable[Member] = (),
    holding: Iterable[Member] = (),
    limit: int = 1,
    turns: Mapping[str, int] | None = None,
) -> Ranking:
    """The ranking of a group whose holders fill that many of its slots."""
    held = list(holding)
    queue = sorted(waiting, key=lambda one: one.order)
    return STRATEGIES[strategy](Line(queue, held, limit, max(0, limit - len(held)), turns or {}))


def names(members: Iterable[Member]) -> list[str]:
    return [one.run for one in members]


def test_each_strategy_of_the_api_has_a_function() -> None:
    assert set(STRATEGIES) == set(Strategy)


def test_a_queue_goes_by_priority_then_creation_then_ticket() -> None:
    waiting = [
        member("young", 9),
        member("second", 5, ticket=12),
        member("first", 5, ticket=11),
        member("urgent", 20, priority=1),
        member("last", 0, priority=-1),
    ]
    ranking = rank(Strategy.QUEUE, waiting, [member("h")])
    assert names(ranking.admit) == ["urgent", "first", "second", "young", "last"]
    assert ranking.dismiss == {}


def test_keys_take_turns_however_many_runs_one_has() -> None:
    waiting = [member(f"a{n}", n, key="A") for n in range(4)]
    waiting += [member("b", 10, key="B"), member("c", 11, key="C")]
    assert names(rank(Strategy.ROUND_ROBIN, waiting, limit=6).admit) == ["a0", "b", "c", "a1", "a2", "a3"]


def test_turns_go_round_one_slot_at_a_time() -> None:
    waiting = [member(f"{key}{n}", n, key=key) for n in range(3) for key in "ABC"]
    turns: dict[str, int] = {}
    served = []
    for turn in range(1, 10):
        (chosen,) = rank(Strategy.ROUND_ROBIN, waiting, limit=1, turns=turns).admit
        waiting.remove(chosen)
        turns[chosen.key] = turn
        served.append(chosen.key)
    assert "".join(served) == "ABCABCABC"


def test_the_key_with_fewest_slots_comes_first_though_it_was_served_last() -> None:
    waiting = [member("a", key="A"), member("b", 1, key="B")]
    holding = [member("h1", key="A"), member("h2", key="A")]
    assert names(rank(Strategy.ROUND_ROBIN, waiting, holding, 3, {"A": 1, "B": 2}).admit) == ["b"]


def test_within_a_key_turns_go_by_priority() -> None:
    waiting = [member("old", key="A"), member("urgent", 5, key="A", priority=3)]
    assert names(rank(Strategy.ROUND_ROBIN, waiting).admit) == ["urgent"]


def test_exactly_the_newest_survive_whatever_their_priority() -> None:
    holding = [member("r1", 1, priority=9), member("r2", 2)]
    waiting = [member("r3", 3, priority=-5), member("r4", 4), member("r0", 0, priority=100)]
    ranking = rank(Strategy.CANCEL_IN_PROGRESS, waiting, holding, limit=2)
    assert set(names(ranking.admit)) == {"r3", "r4"}
    assert ranking.dismiss == dict.fromkeys(("r0", "r1", "r2"), ("Superseded", "r4"))


def test_the_newest_of_one_second_is_told_by_the_ticket() -> None:
    ranking = rank(Strategy.CANCEL_IN_PROGRESS, [member("b", ticket=7), member("a", ticket=8)])
    assert (names(ranking.admit), set(ranking.dismiss)) == (["a"], {"b"})


def test_who_was_superseded_by_none_goes_on() -> None:
    ranking = rank(Strategy.CANCEL_IN_PROGRESS, [], [member("r1", 1), member("r2", 2)], limit=2)
    assert (ranking.admit, ranking.dismiss) == ([], {})


def test_an_older_run_that_comes_late_does_not_cancel_a_newer() -> None:
    ranking = rank(Strategy.CANCEL_IN_PROGRESS, [member("old", 1)], [member("new", 2)])
    assert (ranking.admit, ranking.dismiss) == ([], {"old": ("Superseded", "new")})


def test_what_finds_no_slot_is_cancelled_and_what_runs_is_not() -> None:
    waiting = [member("w1", 5), member("w2", 6), member("w3", 7, priority=1)]
    ranking = rank(Strategy.CANCEL_NEWEST, waiting, [member("h", 9)], limit=2)
    assert names(ranking.admit) == ["w3"]
    assert ranking.dismiss == {"w1": ("LimitReached", "h"), "w2": ("LimitReached", "h")}


def test_over_a_lowered_limit_only_those_who_wait_are_cancelled() -> None:
    holding = [member("h1", 1), member("h2", 2)]
    assert set(rank(Strategy.CANCEL_NEWEST, [member("w", 3)], holding, limit=1).dismiss) == {"w"}
    assert set(rank(Strategy.KEEP_NEWEST_QUEUED, [member("w", 3)], holding, limit=1).dismiss) == set()


def test_only_the_newest_waits() -> None:
    waiting = [member("w1", 1, priority=9), member("w2", 2), member("w3", 3)]
    ranking = rank(Strategy.KEEP_NEWEST_QUEUED, waiting, [member("h")])
    assert names(ranking.admit) == ["w3"]
    assert ranking.dismiss == {"w1": ("Superseded", "w3"), "w2": ("Superseded", "w3")}


def test_the_free_slots_are_filled_before_one_is_kept() -> None:
    waiting = [member(f"w{n}", n) for n in range(4)]
    ranking = rank(Strategy.KEEP_NEWEST_QUEUED, waiting, limit=2)
    assert (names(ranking.admit), set(ranking.dismiss)) == (["w0", "w1", "w3"], {"w2"})


@st.composite
def lines(draw: st.DrawFn) -> Line:
    """Any group: few keys, priorities and moments, so that they meet."""
    few = st.integers(0, 3)
    count = draw(st.integers(0, 9))
    members = [
        member(f"r{n}", draw(few), key=draw(st.sampled_from("ABC")), priority=draw(few), ticket=draw(few))
        for n in range(count)
    ]
    limit = draw(st.integers(1, 4))
    held = draw(st.integers(0, count))
    turns = draw(st.dictionaries(st.sampled_from("ABC"), few))
    waiting = sorted(members[held:], key=lambda one: one.order)
    return Line(waiting, members[:held], limit, max(0, limit - held), turns)


@pytest.mark.parametrize("strategy", Strategy)
@given(line=lines())
def test_nobody_is_lost_doubled_or_both_admitted_and_dismissed(strategy: Strategy, line: Line) -> None:
    ranking = STRATEGIES[strategy](line)
    admitted, dismissed = names(ranking.admit), set(ranking.dismiss)
    waiting, holding = set(names(line.waiting)), set(names(line.holding))
    assert len(admitted) == len(set(admitted))
    assert set(admitted) <= waiting
    assert dismissed <= waiting | holding
    assert not dismissed & set(admitted)
    free = min(line.free, len(waiting))
    if strategy is not Strategy.CANCEL_IN_PROGRESS:
        assert not dismissed & holding, "only CancelInProgress touches what runs"
        assert len(admitted) >= free, "no slot stays free while somebody waits"
    if strategy in (Strategy.QUEUE, Strategy.ROUND_ROBIN):
        assert not dismissed
    if strategy is Strategy.CANCEL_NEWEST:
        assert dismissed == waiting - set(admitted)
        assert len(admitted) == free
    if strategy is Strategy.KEEP_NEWEST_QUEUED:
        assert len(waiting - dismissed) == min(len(waiting), free + 1)
    if strategy is Strategy.CANCEL_IN_PROGRESS:
        assert len((waiting | holding) - dismissed) == min(line.limit, len(waiting | holding))


@given(line=lines())
def test_no_key_gets_two_more_slots_than_another_that_waits(line: Line) -> None:
    ranking = STRATEGIES[Strategy.ROUND_ROBIN](Line(line.waiting, (), line.limit, line.limit, line.turns))
    for served in accumulate(([one] for one in ranking.admit), initial=[]):
        left = {one.key for one in line.waiting if one not in served}
        counts = {key: sum(one.key == key for one in served) for key in "ABC"}
        assert all(counts[key] <= counts[other] + 1 for key in counts for other in left)
