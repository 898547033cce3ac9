"""The events gateway: HTTP in, WorkflowEvents out. Every replica serves it; the one that works processes the events.

An answer of 202 means that the events are objects in etcd. Everything else may be sent again: the same source and id
give the same object.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from aiohttp import web

from adze import __version__
from adze.core import cloudevents, openapi
from adze.core.calls import Failure
from adze.core.cloudevents import BODY_LIMIT, Rejected
from adze.core.model import API_VERSION, Event, EventSpec
from adze.core.openapi import Accepted, Problem
from adze.shell import metrics
from adze.shell.access import Access
from adze.shell.cluster import ApiError, Cluster, resource
from adze.shell.driver import problem
from adze.shell.webhooks import Webhooks

log = structlog.get_logger()

IN_FLIGHT = 64
"""Requests of a kind that are served at a time; a further one is to come again."""
BACKLOG = 10_000
"""Events of a namespace that may wait to be processed before further ones are to come later."""
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


class Gateway:
    """Serves the gateway's addresses until stopped."""

    def __init__(
        self,
        cluster: Cluster,
        namespaces: tuple[str, ...],
        backlog: Callable[[str], int],
        webhooks: Webhooks | None = None,
    ) -> None:
        """`cluster` is one of its own: a burst of events must not take connections from the steps.

        `namespaces` are those that adze serves, empty for all; `backlog` gives how many events of one wait.
        """
        self._cluster = cluster
        self._namespaces = namespaces
        self._backlog = backlog
        self._access = Access(cluster)
        self._webhooks = webhooks
        self._busy = {"events": 0, "webhooks": 0}
        self._document = msgspec.json.encode(openapi.document(__version__, webhooks is not None))
        self._runner: web.AppRunner | None = None

    def app(self) -> web.Application:
        """The application."""
        app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_problems])
        app.router.add_get("/openapi.json", self._openapi)
        app.router.add_post("/v1/namespaces/{namespace}/events", self._events)
        if self._webhooks:
            app.router.add_post("/v1/namespaces/{namespace}/webhooks/{name}", self._delivery)
        return app

    async def start(self, port: int) -> None:
        """Serve. OSError if the port is taken."""
        # Compressed bodies are refused, so nothing here may unpack them.
        self._runner = web.AppRunner(self.app(), access_log=None, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, port=port).start()

    async def stop(self) -> None:
        """Answer what is being served, and take no more."""
        if self._runner:
            await self._runner.cleanup()

    async def _openapi(self, _: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json")

    async def _events(self, request: web.Request) -> web.Response:
        with self._slot("events"):
            namespace = self._namespace(request)
            await self._authorize(request, namespace)
            body = await _body(request)
            specs = cloudevents.parse(_headers(request), body)
            return await self._accept(namespace, specs)

    async def _delivery(self, request: web.Request) -> web.Response:
        assert self._webhooks is not None
        with self._slot("webhooks"):
            namespace = self._namespace(request)
            name = request.match_info["name"]
            if not re.fullmatch(openapi.WEBHOOK, name):
                raise Refused(404, f"there is no WorkflowWebhook {name!r}")
            body = await _body(request)
            spec = await self._webhooks.event(namespace, name, _headers(request), body)
            if spec is None:
                return web.Response(status=204)
            return await self._accept(namespace, [spec])

    @contextmanager
    def _slot(self, kind: str) -> Iterator[None]:
        if self._busy[kind] >= IN_FLIGHT:
            raise Refused(429, f"{IN_FLIGHT} requests are being served", Retry_After=SOON)
        self._busy[kind] += 1
        try:
            yield
        finally:
            self._busy[kind] -= 1

    def _namespace(self, request: web.Request) -> str:
        namespace = request.match_info["namespace"]
        # It becomes a part of paths at the API server.
        if not re.fullmatch(openapi.NAMESPACE, namespace):
            raise Refused(404, "no namespace has such a name", "namespace")
        if self._namespaces and namespace not in self._namespaces:
            raise Refused(404, f"adze does not serve the namespace {namespace}", "namespace")
        return namespace

    async def _authorize(self, request: web.Request, namespace: str) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Refused(
                401, "send the header Authorization: Bearer TOKEN", "Authorization", WWW_Authenticate="Bearer"
            )
        user = await self._access.user(token.strip())
        if user is None:
            detail = "the API server doesn't take this token"
            raise Refused(401, detail, "Authorization", WWW_Authenticate='Bearer error="invalid_token"')
        if not await self._access.may_create(user, namespace):
            raise Refused(403, f"{user.username} may not create workflowevents.adze.dev in namespace {namespace}")

    async def _accept(self, namespace: str, specs: list[EventSpec]) -> web.Response:
        waiting = self._backlog(namespace)
        if waiting + len(specs) > BACKLOG:
            raise Refused(429, f"{waiting} events of {namespace} wait to be processed", Retry_After=LATER)
        places = [f"[{index}]." if len(specs) > 1 else "" for index in range(len(specs))]
        stored = (self._store(namespace, spec, place) for spec, place in zip(specs, places, strict=True))
        results = await asyncio.gather(*stored, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        names = tuple(result for result in results if isinstance(result, str))
        return _json(202, Accepted(events=names))

    async def _store(self, namespace: str, spec: EventSpec, place: str) -> str:
        """Create the WorkflowEvent, or find it there; its name. `place` leads to the event within the request."""
        manifest = cloudevents.manifest(spec, namespace)
        name: str = manifest["metadata"]["name"]
        path = resource(API_VERSION, namespace, "workflowevents")
        try:
            await self._cluster.call("POST", path, manifest)
        except ApiError as error:
            if problem(error).failure is not Failure.EXISTS:
                raise
            there = await self._there(f"{path}/{name}")
            if not cloudevents.same(there.spec, spec):
                detail = f"source and id came with other content before, as WorkflowEvent {name}"
                raise Refused(409, detail, f"{place}id") from None
        return name

    async def _there(self, path: str) -> Event:
        try:
            return msgspec.json.decode(await self._cluster.call("GET", path), type=Event)
        except ApiError as error:
            if error.code == 404:  # deleted just now, since it was old
                raise Refused(503, "the event was there and is not any more", Retry_After=SOON) from None
            raise


async def _body(request: web.Request) -> bytes:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused(415, "send it uncompressed", "Content-Encoding")
    if (request.content_length or 0) > BODY_LIMIT:
        raise web.HTTPRequestEntityTooLarge(BODY_LIMIT, request.content_length or 0)
    try:
        async with asyncio.timeout(READ_TIMEOUT):
            return await request.read()
    except TimeoutError:
        raise Refused(408, f"the body did not come within {READ_TIMEOUT:.0f} s", "body") from None


def _headers(request: web.Request) -> Mapping[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal as application/problem+json."""
    try:
        response = await handler(request)
    except Refused as refused:
        response = _problem(refused)
    except Rejected as rejected:
        response = _problem(Refused(rejected.status, str(rejected), rejected.field))
    except ApiError as error:
        response = _problem(_of_api(error))
    except web.HTTPRequestEntityTooLarge:
        response = _problem(Refused(413, f"a request has at most {BODY_LIMIT} bytes", "body"))
    except web.HTTPException as error:
        response = _problem(
            Refused(error.status, error.reason, **{k: v for k, v in error.headers.items() if k == "Allow"})
        )
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:
        log.exception("a request failed", method=request.method, path=request.path)
        response = _problem(Refused(500, "the operator's log has more"))
    metrics.gateway_requests.labels(_endpoint(request), response.status).inc()
    return response


def _of_api(error: ApiError) -> Refused:
    """What the API server's refusal of a WorkflowEvent means for the sender."""
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
    log.warning("the gateway's call failed", error=str(error))
    return Refused(503, "the API server can't take it now", Retry_After=LATER)


def _endpoint(request: web.Request) -> str:
    path = request.match_info.route.resource.canonical if request.match_info.route.resource else ""
    return {"events": "events", "{name}": "webhooks", "openapi.json": "openapi"}.get(path.rpartition("/")[2], "none")


def _problem(refused: Refused) -> web.Response:
    return _json(refused.problem.status, refused.problem, "application/problem+json", refused.headers)


def _json(
    status: int, body: Any, kind: str = "application/json", headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=kind, headers=headers)
