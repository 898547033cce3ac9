"""The client against a server that answers, hangs, breaks off, or shows a certificate."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from adze.shell import cluster as module
from adze.shell.cluster import ApiError, Cluster, Credentials
from tests.serving import served

LINE = b'{"type":"ADDED"}'
PATIENCE = 10
"""Seconds within which anything here must happen."""


async def _tokens(request: web.Request) -> web.Response:
    return web.Response(text=request.headers.get("Authorization", ""))


async def _hang(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def _watch(request: web.Request) -> web.StreamResponse:
    assert request.query["watch"] == "true"
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(LINE + b"\n" + LINE[:5])
    if request.path == "/watch":
        return await _hang(request)
    assert request.transport is not None
    request.transport.close()
    return response


def server(tls: ssl.SSLContext | None = None) -> AbstractAsyncContextManager[str]:
    """Answers `/tokens` with the Authorization header, `/hang` never, `/watch` with a line, half a line, and no end.

    `/broken` is a watch that breaks off."""
    app = web.Application()
    app.add_routes([web.get("/tokens", _tokens), web.get("/hang", _hang)])
    app.add_routes([web.get("/watch", _watch), web.get("/broken", _watch)])
    return served(app, tls)


@asynccontextmanager
async def client(credentials: Credentials, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[Cluster]:
    """A client of it."""
    subject = Cluster(credentials, agent="test", clock=clock)
    try:
        async with asyncio.timeout(PATIENCE):
            yield subject
    finally:
        await subject.close()


async def test_a_line_is_told_at_once() -> None:
    async with (
        server() as address,
        client(Credentials(address)) as subject,
        aclosing(subject.watch("/watch")) as lines,  # type: ignore[type-var]
    ):
        assert await anext(lines) == LINE


async def test_a_silent_watch_ends_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE", timedelta(seconds=0.2))
    async with server() as address, client(Credentials(address)) as subject:
        assert [line async for line in subject.watch("/watch")] == [LINE]


async def test_a_watch_that_is_never_opened_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE", timedelta(seconds=0.2))
    async with server() as address, client(Credentials(address)) as subject:
        with pytest.raises(ApiError, match="watch /hang: operation timed out"):
            [line async for line in subject.watch("/hang")]


async def test_a_watch_that_breaks_off_is_an_error() -> None:
    async with server() as address, client(Credentials(address)) as subject:
        seen = []
        with pytest.raises(ApiError, match=r"watch /broken: .*EOF"):
            async for line in subject.watch("/broken"):
                seen.append(line)
        assert seen == [LINE]


async def test_a_call_without_an_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", timedelta(seconds=0.2))
    async with server() as address, client(Credentials(address)) as subject:
        with pytest.raises(ApiError, match="GET /hang: operation timed out") as caught:
            await subject.call("GET", "/hang")
        assert caught.value.code == 0, "nobody knows whether it was done"


async def test_who_cannot_be_reached_is_said() -> None:
    async with server() as address:
        pass
    async with client(Credentials(address)) as subject:
        with pytest.raises(ApiError, match="GET /tokens: Connection refused"):
            await subject.call("GET", "/tokens")


async def test_a_new_token_is_shown_soon(tmp_path: Path) -> None:
    now = 0.0
    token = tmp_path / "token"
    token.write_text("old\n")
    async with server() as address, client(Credentials(address, token_path=token), lambda: now) as subject:
        assert await subject.call("GET", "/tokens") == b"Bearer old"
        token.write_text("new\n")
        assert await subject.call("GET", "/tokens") == b"Bearer old"
        now += module.TOKEN_AGE
        assert await subject.call("GET", "/tokens") == b"Bearer new"


def pem(*authorities: trustme.CA) -> str:
    """A file of several authorities, as a cluster has it while its own changes."""
    return "".join(authority.cert_pem.bytes().decode() for authority in authorities)


async def test_only_servers_of_a_known_authority_are_trusted() -> None:
    known, other = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    known.issue_cert("127.0.0.1").configure_cert(context)
    async with server(context) as address:
        async with client(Credentials(address, ca=pem(other, known))) as subject:
            assert await subject.call("GET", "/tokens") == b""
        async with client(Credentials(address, ca=pem(other))) as subject:
            with pytest.raises(ApiError, match="certificate"):
                await subject.call("GET", "/tokens")
        async with client(Credentials(address, ca=pem(other), insecure=True)) as subject:
            assert await subject.call("GET", "/tokens") == b""


async def test_a_client_certificate_is_shown() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    mine = authority.issue_cert("somebody@example.com")
    shown = {
        "certificate": mine.cert_chain_pems[0].bytes().decode(),
        "private_key": mine.private_key_pem.bytes().decode(),
    }
    async with server(context) as address:
        async with client(Credentials(address, ca=pem(authority), **shown)) as subject:
            assert await subject.call("GET", "/tokens") == b""
        async with client(Credentials(address, ca=pem(authority))) as subject:
            with pytest.raises(ApiError, match="GET /tokens"):
                await subject.call("GET", "/tokens")
