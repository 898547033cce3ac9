"""A faulty proxy between one operator process and the API server. A kubeconfig points to it.

It passes everything, watches line by line, and does on command what networks and API servers do: refuse, delay, break
off before or after the commit, show old lists, stall a watch or lose an event of it. It counts the writes that it
forwards, and can kill or freeze the operator right before or after the n-th of them.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from adze.shell.cluster import Credentials

from .faults import Do, Fault, Match, Request, write

HOP = frozenset(
    {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade", "accept-encoding"}
)
BIG = 2**24
_GONE = (ConnectionError, aiohttp.ClientError, OSError)


def _tls(upstream: Credentials) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=upstream.ca)
    if upstream.certificate and upstream.private_key:
        with tempfile.NamedTemporaryFile("w") as pair:  # ssl loads key pairs from files only
            pair.write(f"{upstream.certificate}\n{upstream.private_key}")
            pair.flush()
            context.load_cert_chain(pair.name)
    return context


@dataclass(slots=True)
class Trap:
    """Do `act` once, right before or after the forwarding of the `at`-th request (from 1) that matches.

    `act` kills the operator, or freezes it. With `answers` the request goes its way nevertheless: a frozen process
    finds the answer when it wakes. Without, nothing is forwarded any more (before) or no answer is given (after).
    """

    at: int
    after: bool
    act: Callable[[], None]
    match: Match = write
    answers: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)
    _seen: int = 0

    def number(self, request: Request) -> bool:
        """Count the request; whether it's the one."""
        if self.done.is_set() or not self.match(request):
            return False
        self._seen += 1
        return self._seen == self.at


class Proxy:
    """Listens on a port of this machine."""

    def __init__(self, upstream: Credentials, seed: int = 0) -> None:
        self._upstream = upstream
        self._chance = Random(seed)
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self.port = 0
        self.faults: list[Fault] = []
        self.injected: Counter[str] = Counter()
        self.writes: list[str] = []
        """The writes forwarded, as method and resource."""
        self.calls: list[tuple[float, str, str, int]] = []
        """Time, method, resource and status of every answer given (not of watches)."""
        self.trap: Trap | None = None
        self.user = ""
        """Whom the operator is for the API server; empty: an administrator."""
        self.down = False
        """Accept nothing: each connection is reset."""
        self._watches: list[_Watch] = []

    async def __aenter__(self) -> Proxy:
        connector = aiohttp.TCPConnector(limit=0, ssl=_tls(self._upstream))
        self._session = aiohttp.ClientSession(
            self._upstream.server, connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
        )
        application = web.Application(client_max_size=BIG)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for watch in list(self._watches):
            watch.close()
        if self._runner:
            await self._runner.cleanup()
        if self._session:
            await self._session.close()

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here. The proxy shows its own certificate to the API server."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "current-context": "proxy",
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def stall(self, on: bool) -> None:
        """Let the open watches hang, or let them go on (with all that came meanwhile)."""
        for watch in self._watches:
            watch.stall(on)
        self.injected[Do.STALL.value] += on * len(self._watches)

    def cut(self) -> None:
        """Break off all open watches."""
        self.injected[Do.CUT.value] += len(self._watches)
        for watch in list(self._watches):
            watch.close()

    def forget(self) -> None:
        """Lose what the stalled watches have got so far. Their connections stay."""
        self.injected[Do.DROP.value] += sum(watch.forget() for watch in self._watches)

    # Requests

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        request = Request(incoming.method, incoming.path, dict(incoming.query))
        if self.down:
            return _broken_off(incoming)
        body = await incoming.read()
        for fault in self.faults:
            if fault.hits(request, self._chance):
                self.injected[fault.label] += 1
                early = await self._suffer(fault, request, incoming)
                if early is not None:
                    return early
                if fault.do in (Do.RESET_AFTER, Do.DROP):
                    return await self._forward(request, incoming, body, fault)
        return await self._forward(request, incoming, body, None)

    async def _suffer(self, fault: Fault, request: Request, incoming: web.Request) -> web.StreamResponse | None:
        """What a fault does before the request is forwarded; an answer if it never is."""
        match fault.do:
            case Do.ANSWER:
                self.calls.append((time.monotonic(), request.method, request.kind, fault.code))
                return _expired(fault) if request.watch and fault.code == 410 else _refusal(fault)
            case Do.RESET_BEFORE:
                return _broken_off(incoming)
            case Do.DELAY:
                await asyncio.sleep(fault.seconds)
            case Do.STALE:
                request.query.update(resourceVersion=fault.version, resourceVersionMatch="Exact")
        return None

    async def _forward(
        self, request: Request, incoming: web.Request, body: bytes, fault: Fault | None
    ) -> web.StreamResponse:
        assert self._session is not None
        trap = self.trap if self.trap and self.trap.number(request) else None
        if trap and not trap.after and self._springs(trap):
            return _broken_off(incoming)
        if request.write:
            self.writes.append(f"{request.method} {request.kind}")
        headers = {name: value for name, value in incoming.headers.items() if name.lower() not in HOP}
        headers["Accept-Encoding"] = "identity"
        if self.user:
            headers["Impersonate-User"] = self.user
        try:
            async with self._session.request(
                request.method, request.path, params=request.query, data=body or None, headers=headers
            ) as answer:
                if request.watch and answer.status == 200:
                    return await self._stream(incoming, answer, fault)
                content = await answer.read()
        except _GONE:
            return _broken_off(incoming)
        self.calls.append((time.monotonic(), request.method, request.kind, answer.status))
        if trap and trap.after and self._springs(trap):
            return _broken_off(incoming)
        if fault and fault.do is Do.RESET_AFTER:
            return _broken_off(incoming)
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
        return web.Response(status=answer.status, body=content, headers=kept)

    def _springs(self, trap: Trap) -> bool:
        """Whether the request ends here."""
        trap.act()
        trap.done.set()
        return not trap.answers

    async def _stream(
        self, incoming: web.Request, answer: aiohttp.ClientResponse, fault: Fault | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        watch = _Watch(response, answer, drops=bool(fault and fault.do is Do.DROP))
        self._watches.append(watch)
        try:
            await response.prepare(incoming)
            await watch.pass_on()
        except _GONE:
            pass
        finally:
            self._watches.remove(watch)
        return response


class _Watch:
    """An open watch. `drops` loses its next event that isn't a bookmark."""

    def __init__(self, response: web.StreamResponse, answer: aiohttp.ClientResponse, *, drops: bool) -> None:
        self._response = response
        self._answer = answer
        self._drops = drops
        self._waiting: list[bytes] = []
        self._wakes = asyncio.Event()
        self._stalled = False

    def stall(self, on: bool) -> None:
        self._stalled = on
        self._wakes.set()

    def forget(self) -> int:
        count = len(self._waiting)
        self._waiting.clear()
        return count

    def close(self) -> None:
        self._answer.close()
        self._stalled = False
        self._wakes.set()

    async def pass_on(self) -> None:
        reader = asyncio.create_task(self._read())
        try:
            while not reader.done() or (self._waiting and not self._stalled):
                await self._wakes.wait()
                self._wakes.clear()
                while self._waiting and not self._stalled:
                    await self._response.write(self._waiting.pop(0) + b"\n")
            await reader
        finally:
            reader.cancel()

    async def _read(self) -> None:
        """Read on while the client is kept waiting: what it misses is known here."""
        rest = b""
        try:
            async for chunk in self._answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if self._drops and b'"type":"BOOKMARK"' not in line[:40]:
                        self._drops = False
                    else:
                        self._waiting.append(line)
                self._wakes.set()
        finally:
            self._wakes.set()


def _status(fault: Fault) -> dict[str, Any]:
    details = {"retryAfterSeconds": fault.retry_after} if fault.retry_after else {}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": fault.reason,
        "message": f"a fault was injected: {fault.code}",
        "code": fault.code,
        "details": details,
    }


def _expired(fault: Fault) -> web.Response:
    """The API server tells a watch whose version is too old by an event, not by an HTTP status."""
    return web.Response(body=json.dumps({"type": "ERROR", "object": _status(fault)}).encode() + b"\n")


def _refusal(fault: Fault) -> web.Response:
    status = _status(fault)
    headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after else {}
    return web.Response(
        status=fault.code, body=json.dumps(status).encode(), headers=headers, content_type="application/json"
    )


def _broken_off(incoming: web.Request) -> web.Response:
    """Reset the connection: the client gets no answer."""
    with suppress(Exception):
        if incoming.transport is not None:
            incoming.transport.abort()
    return web.Response(status=502)
