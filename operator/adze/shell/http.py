"""What the operator's two servers for others share: the gateway, and the receiver of large outputs."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from aiohttp import web

from adze.core.calls import Failure
from adze.core.openapi import Problem
from adze.shell.cluster import ApiError
from adze.shell.driver import problem

log = structlog.get_logger()

READ_TIMEOUT = 10.0
"""Seconds within which a body must come."""
SOON, LATER = "1", "5"
"""Retry-After, in seconds: when all are busy; when the backlog is long, a quota is used up or the API server away."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """A request that is not accepted."""

    def __init__(self, status: int, detail: str, field: str = "", **headers: str) -> None:
        super().__init__(detail)
        self.problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, field=field)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Turns:
    """How many requests of each kind are served at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._busy: dict[str, int] = {}

    @contextmanager
    def take(self, kind: str) -> Iterator[None]:
        """Serve one, unless all turns are taken."""
        if self._busy.get(kind, 0) >= self._limit:
            raise Refused(429, f"{self._limit} requests are being served", Retry_After=SOON)
        self._busy[kind] = self._busy.get(kind, 0) + 1
        try:
            yield
        finally:
            self._busy[kind] -= 1


class Server:
    """Serves an application until stopped."""

    def __init__(self, app: web.Application) -> None:
        self.app = app
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> None:
        """Serve. OSError if the port is taken."""
        # Compressed bodies are refused, so nothing here may unpack them.
        self._runner = web.AppRunner(self.app, access_log=None, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, port=port).start()

    async def stop(self) -> None:
        """Answer what is being served, and take no more."""
        if self._runner:
            await self._runner.cleanup()


def bearer(request: web.Request) -> str:
    """The token that the request bears."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused(401, "send the header Authorization: Bearer TOKEN", "Authorization", WWW_Authenticate="Bearer")
    return token.strip()


def unknown_token() -> Refused:
    """A token that is nobody's."""
    detail = "the API server doesn't take this token"
    return Refused(401, detail, "Authorization", WWW_Authenticate='Bearer error="invalid_token"')


async def body(request: web.Request, limit: int) -> bytes:
    """The request's body, of at most `limit` bytes; the application's `client_max_size` guards a chunked one."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused(415, "send it uncompressed", "Content-Encoding")
    if (request.content_length or 0) > limit:
        raise web.HTTPRequestEntityTooLarge(limit, request.content_length or 0)
    try:
        async with asyncio.timeout(READ_TIMEOUT):
            return await request.read()
    except TimeoutError:
        raise Refused(408, f"the body did not come within {READ_TIMEOUT:.0f} s", "body") from None


def problems(
    limit: int, explain: Callable[[Exception], Refused | None], count: Callable[[web.Request, int], None]
) -> Any:
    """A middleware that makes every refusal application/problem+json.

    `explain` knows the application's own exceptions, `limit` is its largest body, `count` is told of every answer.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            response = _problem(explain(error) or _refused(request, error, limit))
        count(request, response.status)
        return response

    return middleware


def _refused(request: web.Request, error: Exception, limit: int) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return Refused(413, f"a request has at most {limit} bytes", "body")
    if isinstance(error, web.HTTPException):
        allowed = {name: value for name, value in error.headers.items() if name == "Allow"}
        return Refused(error.status, error.reason, **allowed)
    log.error("a request failed", method=request.method, path=request.path, exc_info=error)
    return Refused(500, "the operator's log has more")


def of_api(error: ApiError) -> Refused:
    """What the API server's refusal of an object means for the sender."""
    failure = problem(error)
    if failure.reason == "NamespaceTerminating":
        return Refused(409, error.message, "namespace")
    if failure.reason == "QuotaExceeded" or error.code == 429:
        return Refused(429, error.message, Retry_After=LATER)
    if failure.failure is Failure.NOT_FOUND:
        return Refused(404, error.message, "namespace")
    if error.code in (400, 413, 422):
        field = error.causes[0].field if error.causes else ""
        return Refused(413 if error.code == 413 else 400, error.message, field)
    log.warning("a call for somebody else failed", error=str(error))
    return Refused(503, "the API server can't take it now", Retry_After=LATER)


def _problem(refused: Refused) -> web.Response:
    return answer(refused.problem.status, refused.problem, "application/problem+json", refused.headers)


def answer(
    status: int, content: Any, kind: str = "application/json", headers: Mapping[str, str] | None = None
) -> web.Response:
    """A response with JSON."""
    return web.Response(status=status, body=msgspec.json.encode(content), content_type=kind, headers=headers)
