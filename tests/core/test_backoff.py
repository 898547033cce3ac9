"""How long a step waits before its next attempt (design, section 4.2)."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adze.core.backoff import delay
from adze.core.model import Backoff, BackoffType


def delays(backoff: Backoff, count: int) -> list[float]:
    return [delay(backoff, failures, "seed").total_seconds() for failures in range(1, count + 1)]


@pytest.mark.parametrize(
    ("kind", "factor", "wanted"),
    [
        ("Constant", 2, [2, 2, 2, 2, 2]),
        ("Linear", 2, [2, 4, 6, 8, 10]),
        ("Exponential", 2, [2, 4, 8, 16, 32]),
        ("Exponential", 3, [2, 6, 18, 54, 162]),
        ("Exponential", 1, [2, 2, 2, 2, 2]),
    ],
)
def test_delays_grow_as_the_type_says(kind: str, factor: int, wanted: list[float]) -> None:
    assert delays(Backoff(type=BackoffType(kind), base="2s", factor=factor, max="1h"), 5) == wanted


@pytest.mark.parametrize("kind", list(BackoffType))
def test_no_delay_is_longer_than_max(kind: BackoffType) -> None:
    assert max(delays(Backoff(type=kind, base="3s", max="10s"), 100)) == (3 if kind is BackoffType.CONSTANT else 10)


def test_the_default_is_exponential_from_two_seconds_to_five_minutes() -> None:
    assert delays(Backoff(), 10) == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


@pytest.mark.parametrize("kind", list(BackoffType))
@pytest.mark.parametrize("base", ["0s", "1ms", "24h", "8760h"])
def test_no_delay_overflows(kind: BackoffType, base: str) -> None:
    for factor in (1, 2, 10):
        found = delays(Backoff(type=kind, base=base, max="24h", factor=factor), 100)
        assert found == sorted(found)
        assert found[-1] <= 86400


def test_without_a_base_nothing_is_waited_for() -> None:
    assert delays(Backoff(base="0s"), 3) == [0, 0, 0]


@given(st.integers(1, 100), st.integers(0, 100), st.text(max_size=40))
def test_jitter_stretches_by_at_most_its_percentage_and_is_the_same_everywhere(
    failures: int, jitter: int, seed: str
) -> None:
    plain = delay(Backoff(), failures, seed)
    stretched = delay(Backoff(jitter=jitter), failures, seed)
    assert plain <= stretched <= plain * (1 + jitter / 100) + timedelta(microseconds=1)
    assert stretched == delay(Backoff(jitter=jitter), failures, seed)


def test_jitter_spreads_the_retries_of_many_runs() -> None:
    found = {delay(Backoff(jitter=50), 1, f"pod-{number}") for number in range(100)}
    assert len(found) > 90
    assert max(found) - min(found) > timedelta(seconds=0.8)
