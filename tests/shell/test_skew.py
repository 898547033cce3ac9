"""The clock here against the API server's (F24)."""

from collections.abc import AsyncIterator
from email.utils import formatdate

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from adze.shell import metrics
from adze.shell.cluster import Cluster, Credentials
from adze.shell.skew import EVERY, TOLERATED, Skew
from tests.serving import served

NOON = 1_772_366_400.0


class Clock:
    """A clock here, and how many seconds it's ahead of the API server's."""

    def __init__(self) -> None:
        self.now = NOON
        self.ahead = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def skew(clock: Clock) -> Skew:
    return Skew(clock, clock)


def answered(skew: Skew, clock: Clock, took: float = 0.0) -> float:
    """What the metric shows after a call whose answer was written halfway."""
    clock.now += EVERY
    sent = clock.now
    date = formatdate(sent + took / 2 - clock.ahead, usegmt=True)
    clock.now += took
    skew.heed(date, sent)
    return float(metrics.clock_skew._value.get())


@pytest.mark.parametrize("fraction", [0.0, 0.4, 0.999])
@pytest.mark.parametrize("took", [0.0, 0.02, 8.0])
def test_clocks_that_agree_have_no_skew_however_long_a_call_takes(
    clock: Clock, skew: Skew, took: float, fraction: float
) -> None:
    clock.now += fraction
    assert answered(skew, clock, took) == 0


@pytest.mark.parametrize("ahead", [300, 7, 2, -2, -7, -300])
def test_the_metric_shows_the_skew_to_a_second(clock: Clock, skew: Skew, ahead: int) -> None:
    clock.ahead = ahead
    shown = answered(skew, clock)
    assert abs(ahead) - 1 <= abs(shown) <= abs(ahead)
    assert (shown > 0) is (ahead > 0)


def test_one_warning_until_the_clocks_agree_again(clock: Clock, skew: Skew) -> None:
    with capture_logs() as logs:
        for ahead in (0, TOLERATED, 20, 25, 20, 0, -20, -20):
            clock.ahead = ahead
            answered(skew, clock)
    assert [(entry["event"], entry["seconds"]) for entry in logs] == [
        ("the clock here is ahead of the API server's", 19.0),
        ("the clock here is behind the API server's", 20.0),
    ]


def test_a_header_is_parsed_once_in_a_while(clock: Clock, skew: Skew) -> None:
    clock.ahead = 20
    assert answered(skew, clock) == 19
    clock.now += EVERY - 0.1
    skew.heed("never looked at", clock.now)
    skew.heed(formatdate(clock.now), clock.now)
    assert metrics.clock_skew._value.get() == 19


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_an_answer_without_a_time_tells_nothing(clock: Clock, skew: Skew, date: str) -> None:
    clock.ahead = 20
    answered(skew, clock)
    clock.now += EVERY
    skew.heed(date, clock.now)
    assert metrics.clock_skew._value.get() == 19


@pytest.fixture
async def server(clock: Clock) -> AsyncIterator[str]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="{}", headers={"Date": formatdate(clock.now - 60, usegmt=True)})

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", answer)])
    async with served(app) as address:
        yield address


async def test_a_client_looks_at_the_answers_of_its_calls(server: str, clock: Clock, skew: Skew) -> None:
    cluster = Cluster(Credentials(server=server), agent="test", skew=skew)
    try:
        await cluster.call("GET", "/pods")
    finally:
        await cluster.close()
    assert metrics.clock_skew._value.get() == 59
