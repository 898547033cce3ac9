"""The events gateway: HTTP in, WorkflowEvents out. Every replica serves it; the one that works processes the events.

An answer of 202 means that the events are objects in etcd. Everything else may be sent again: the same source and id
give the same object.
"""

import asyncio
import re
from collections.abc import Callable, Mapping

import msgspec
import structlog
from aiohttp import web

from adze import __version__
from adze.core import cloudevents, openapi
from adze.core.calls import Failure
from adze.core.cloudevents import BODY_LIMIT, Rejected
from adze.core.model import API_VERSION, Event, EventSpec
from adze.core.openapi import Accepted
from adze.shell import metrics
from adze.shell.access import Access
from adze.shell.cluster import ApiError, Cluster, resource
from adze.shell.driver import problem
from adze.shell.http import (
    LATER,
    SOON,
    Refused,
    Server,
    Turns,
    answer,
    bearer,
    body,
    of_api,
    problems,
    unknown_token,
)
from adze.shell.webhooks import Webhooks

log = structlog.get_logger()

IN_FLIGHT = 64
"""Requests of a kind that are served at a time; a further one is to come again."""
BACKLOG = 10_000
"""Events of a namespace that may wait to be processed before further ones are to come later."""


class Gateway:
    """Answers at the gateway's addresses."""

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
        self._turns = Turns(IN_FLIGHT)
        self._document = msgspec.json.encode(openapi.document(__version__, webhooks is not None))

    def server(self) -> Server:
        """What serves it."""
        app = web.Application(client_max_size=BODY_LIMIT, middlewares=[problems(BODY_LIMIT, _explain, _count)])
        app.router.add_get("/openapi.json", self._openapi)
        app.router.add_post("/v1/namespaces/{namespace}/events", self._events)
        if self._webhooks:
            app.router.add_post("/v1/namespaces/{namespace}/webhooks/{name}", self._delivery)
        return Server(app)

    async def _openapi(self, _: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json")

    async def _events(self, request: web.Request) -> web.Response:
        with self._turns.take("events"):
            namespace = self._namespace(request)
            await self._authorize(request, namespace)
            specs = cloudevents.parse(_headers(request), await body(request, BODY_LIMIT))
            return await self._accept(namespace, specs)

    async def _delivery(self, request: web.Request) -> web.Response:
        assert self._webhooks is not None
        with self._turns.take("webhooks"):
            namespace = self._namespace(request)
            name = request.match_info["name"]
            if not re.fullmatch(openapi.WEBHOOK, name):
                raise Refused(404, f"there is no WorkflowWebhook {name!r}")
            content = await body(request, BODY_LIMIT)
            spec = await self._webhooks.event(namespace, name, _headers(request), content)
            if spec is None:
                return web.Response(status=204)
            return await self._accept(namespace, [spec])

    def _namespace(self, request: web.Request) -> str:
        namespace = request.match_info["namespace"]
        # It becomes a part of paths at the API server.
        if not re.fullmatch(openapi.NAMESPACE, namespace):
            raise Refused(404, "no namespace has such a name", "namespace")
        if self._namespaces and namespace not in self._namespaces:
            raise Refused(404, f"adze does not serve the namespace {namespace}", "namespace")
        return namespace

    async def _authorize(self, request: web.Request, namespace: str) -> None:
        user = await self._access.user(bearer(request))
        if user is None:
            raise unknown_token()
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
        return answer(202, Accepted(events=names))

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


def _headers(request: web.Request) -> Mapping[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _explain(error: Exception) -> Refused | None:
    if isinstance(error, Rejected):
        return Refused(error.status, str(error), error.field)
    return of_api(error) if isinstance(error, ApiError) else None


def _count(request: web.Request, status: int) -> None:
    metrics.gateway_requests.labels(_endpoint(request), status).inc()


def _endpoint(request: web.Request) -> str:
    path = request.match_info.route.resource.canonical if request.match_info.route.resource else ""
    return {"events": "events", "{name}": "webhooks", "openapi.json": "openapi"}.get(path.rpartition("/")[2], "none")
