"""`Retry-After` is obeyed by all calls of a client, bounded and spread (F9)."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from adze.shell.cluster import ApiError, Cluster, Credentials
from adze.shell.throttle import LONGEST, Throttle
from tests.serving import served


class Time:
    """A clock that only `sleep` moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def throttle(time: Time) -> Throttle:
    return Throttle(lambda: time.now, time.sleep)


@pytest.mark.parametrize("code", [429, 503])
async def test_calls_wait_as_long_as_the_server_asks(time: Time, throttle: Throttle, code: int) -> None:
    throttle.heed(code, {"Retry-After": "4"})
    await throttle.wait()
    assert 4 <= sum(time.slept) <= 6
    await throttle.wait()
    assert len(time.slept) == 1, "the pause is over"


@pytest.mark.parametrize(
    ("code", "value"), [(500, "4"), (429, ""), (429, "-1"), (429, "²"), (503, "Wed, 21 Oct 2026 07:28:00 GMT")]
)
async def test_other_answers_ask_for_no_pause(time: Time, throttle: Throttle, code: int, value: str) -> None:
    throttle.heed(code, {"Retry-After": value} if value else {})
    await throttle.wait()
    assert time.slept == []


async def test_a_shorter_wish_does_not_shorten_a_pause(time: Time, throttle: Throttle) -> None:
    throttle.heed(429, {"Retry-After": "9"})
    throttle.heed(429, {"Retry-After": "1"})
    await throttle.wait()
    assert sum(time.slept) >= 9


async def test_no_call_waits_for_ever(time: Time, throttle: Throttle) -> None:
    throttle.heed(429, {"Retry-After": "86400"})
    await throttle.wait()
    assert LONGEST <= sum(time.slept) <= 1.5 * LONGEST


class Server:
    """Answers the first `refusals` calls 429 with a pause of a second."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.calls = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.calls += 1
        if self.calls <= self.refusals:
            return web.Response(status=429, headers={"Retry-After": "1"}, text="{}")
        return web.Response(text="{}")


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    subject = Server(refusals=1)
    app = web.Application()
    app.add_routes([web.get("/{path:.*}", subject.answer)])
    async with served(app) as address:
        yield subject, address


async def test_a_throttled_client_starts_no_call_before_the_pause_is_over(
    server: tuple[Server, str], time: Time
) -> None:
    subject, address = server
    cluster = Cluster(Credentials(server=address), agent="test")
    cluster._throttle = Throttle(lambda: time.now, time.sleep)
    try:
        with pytest.raises(ApiError, match="429"):
            await cluster.call("GET", "/pods")
        assert (subject.calls, time.slept) == (1, [])
        await asyncio.gather(*(cluster.call("GET", "/pods") for _ in range(3)))
        assert subject.calls == 4
        assert sum(time.slept) >= 1
    finally:
        await cluster.close()
