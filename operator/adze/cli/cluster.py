"""What the commands ask of a cluster, and the options that say which one. Errors come as the Failures of exits.py."""

import functools
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from adze.cli import exits
from adze.cli.kubeconfig import Access, login
from adze.cli.resources import PODS, REVIEWS, Resource
from adze.core import names

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, Retry

Object = dict[str, Any]
Query = Mapping[str, str | int | None]
NOTHING: Query = {}
JSON = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
NAMES = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
PAGE = 500
CONNECT = 10.0
"""Seconds until a connection must stand."""
ANSWER = 30.0
"""Seconds until an answer must begin, and between its parts."""
SILENCE = 75.0
"""The same for a watch, in which bookmarks come each minute."""
AGAIN = 6
"""How often an overloaded API server, which says when to come back, is asked again."""
WATCH = 240
"""Seconds after which the server ends a watch, and all is read again."""


class Absent(exits.NotFound):
    """The object of that name isn't there, though its kind is."""


class Conflict(exits.Failure):
    """The object has changed since it was read."""


class Expired(exits.Unreachable):
    """A watch or a list that must begin again."""


class Cluster:
    """One namespace of a cluster, through the official client's connections. Threads may share it."""

    def __init__(self, access: Access, namespace: str | None = None) -> None:
        self._access = access
        self.namespace = namespace or access.namespace

    def get(self, resource: Resource, name: str, accept: str = JSON) -> Object:
        """An object; NotFound says which names come close."""
        try:
            return self._call("get", resource, "GET", resource.path(self.namespace, name), NOTHING, accept=accept)
        except Absent:
            raise self._missing(resource, name) from None

    def find(self, resource: Resource, name: str) -> Object | None:
        """An object, or None if there is none of that name."""
        try:
            return self._call("get", resource, "GET", resource.path(self.namespace, name), NOTHING)
        except Absent:
            return None

    def pages(
        self, resource: Resource, query: Query = NOTHING, everywhere: bool = False, accept: str = JSON
    ) -> Iterator[Object]:
        """The pages of a list: in the Cluster's namespace, or in all of them."""
        path = resource.path(None if everywhere else self.namespace)
        more: str | None = None
        while True:
            page = self._call("list", resource, "GET", path, {**query, "limit": PAGE, "continue": more}, accept=accept)
            yield page
            more = page["metadata"].get("continue")
            if not more:
                return

    def items(self, resource: Resource, query: Query = NOTHING) -> list[Object]:
        """The objects of the namespace; queries are `labelSelector` and `fieldSelector`."""
        return [item for page in self.pages(resource, query) for item in page["items"]]

    def names_of(self, resource: Resource) -> list[str]:
        """The names of the objects of the namespace."""
        return [item["metadata"]["name"] for page in self.pages(resource, accept=NAMES) for item in page["items"]]

    def create(self, resource: Resource, body: Object, dry_run: bool = False) -> Object:
        """Create an object; unknown fields are refused."""
        query = {"fieldValidation": "Strict", "dryRun": "All" if dry_run else None}
        return self._call("create", resource, "POST", resource.path(self.namespace), query, body)

    def patch(self, resource: Resource, name: str, body: Object, dry_run: bool = False) -> Object:
        """Merge-patch an object. Conflict if `body` has a resourceVersion that has passed."""
        query = {"dryRun": "All" if dry_run else None}
        return self._call("patch", resource, "PATCH", resource.path(self.namespace, name), query, body)

    def whoami(self) -> str:
        """The name by which the cluster knows who asks."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = self._call("create", REVIEWS, "POST", REVIEWS.path(None), NOTHING, review)
        name: str = answer["status"]["userInfo"]["username"]
        return name

    def watch(self, resource: Resource, version: str, query: Query = NOTHING) -> Iterator[tuple[str, Object]]:
        """Changes after a resource version, as (ADDED, MODIFIED or DELETED, object), until the server ends it."""
        asked: Query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": WATCH,
            "resourceVersion": version,
        }
        for line in self._lines("watch", resource, resource.path(self.namespace), {**query, **asked}, SILENCE):
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise Expired(event["object"].get("message", "the watch has ended"))
            if event["type"] != "BOOKMARK":
                yield event["type"], event["object"]

    def log(self, pod: str, query: Query = NOTHING) -> Iterator[str]:
        """The lines of a Pod's own container; `follow` goes on until its end. BadInput if it hasn't started."""
        path = PODS.path(self.namespace, pod, "log")
        silence = None if query.get("follow") else ANSWER
        lines = self._lines("get", PODS, path, {**query, "container": names.MAIN}, silence)
        return (line.decode(errors="replace") for line in lines)

    def _call(
        self, verb: str, resource: Resource, method: str, path: str, query: Query, body: Any = None, accept: str = JSON
    ) -> Object:
        with self._open(verb, resource, method, path, query, body, accept) as response:
            found: Object = json.loads(response.data)
            return found

    def _lines(self, verb: str, resource: Resource, path: str, query: Query, silence: float | None) -> Iterator[bytes]:
        """The lines of an answer as they come."""
        with self._open(verb, resource, "GET", path, query, silence=silence) as response:
            rest = b""
            for chunk in response.stream(2**16):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
            if rest:
                yield rest

    @contextmanager
    def _open(
        self,
        verb: str,
        resource: Resource,
        method: str,
        path: str,
        query: Query,
        body: Any = None,
        accept: str = JSON,
        silence: float | None = ANSWER,
    ) -> Iterator["BaseHTTPResponse"]:
        """An answer that is none of the errors, which are raised."""
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        headers = self._access.headers()
        headers["Accept"] = accept
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else JSON
        given = {name: value for name, value in query.items() if value is not None}
        url = f"{self._access.server}{path}" + (f"?{urlencode(given)}" if given else "")
        try:
            response = self._access.pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                timeout=Timeout(connect=CONNECT, read=silence),
                retries=_retries(method),
                preload_content=False,
            )
            try:
                if response.status >= 400:
                    raise self._error(verb, resource, response.status, response.data)
                yield response
            finally:
                response.close()
        except HTTPError as error:
            raise exits.Unreachable(
                f"can't reach the cluster at {self._access.server} (context {self._access.context}): {_words(error)}"
            ) from None

    def _error(self, verb: str, resource: Resource, code: int, answer: bytes) -> Exception:
        """The Failure for an answer of the API server."""
        status = _status(answer)
        message = status.get("message") or answer[:200].decode(errors="replace").strip()
        about = status.get("details", {}).get("kind", "")
        if code == 401:
            return exits.Forbidden(
                f"not logged in: the cluster refuses the credentials of context {self._access.context}"
            )
        if code == 403:
            return exits.Forbidden(f"no permission to {verb} {resource.full}: {message}")
        if code == 404 and about == "namespaces":
            return exits.NotFound(f"there is no namespace {self.namespace!r}")
        if code == 404 and not about and resource.full.endswith(".adze.dev"):
            return exits.NotFound(f"adze is not installed in this cluster: it has no {resource.full}")
        if code == 404:
            return Absent(message)
        if code == 409 and status.get("reason") == "Conflict":
            return Conflict(message)
        if code == 410:
            return Expired(message)
        if code in (400, 409, 413, 422):
            return exits.BadInput(message)
        return exits.Unreachable(f"the cluster at {self._access.server} answers {code}: {message}")

    def _missing(self, resource: Resource, name: str) -> exits.NotFound:
        """That there is no such object, with names that come close."""
        said = f"there is no {resource.word} {name!r} in namespace {self.namespace!r}"
        try:
            return exits.NotFound(said + exits.did_you_mean(name, self.names_of(resource)))
        except exits.Failure:
            return exits.NotFound(said)


def _retries(method: str) -> "Retry":
    """A read is asked again once, as a connection that was kept may have been closed; nothing else is, but politely."""
    from urllib3 import Retry

    reads = 1 if method == "GET" else 0
    busy = {429}
    return Retry(connect=0, read=reads, redirect=0, other=0, status=AGAIN, status_forcelist=busy, allowed_methods=None)


def _status(answer: bytes) -> Object:
    try:
        status = json.loads(answer)
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _words(error: Exception) -> str:
    """What went wrong with a connection, without the classes of the library."""
    reason = str(getattr(error, "reason", None) or error)
    return re.sub(r"^\w+\(host=[^)]*\): ", "", reason)


def on_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options that choose a cluster and a namespace, and calls it with that Cluster."""

    @click.option("-n", "--namespace", metavar="NAME", help="Namespace. Default: that of the kubeconfig's context.")
    @click.option("--context", metavar="NAME", help="Context of the kubeconfig. Default: the current one.")
    @click.option(
        "--kubeconfig",
        metavar="FILE",
        help="The kubeconfig. Default: KUBECONFIG, else ~/.kube/config, else the Pod's own.",
    )
    @functools.wraps(command)
    def with_cluster(namespace: str | None, context: str | None, kubeconfig: str | None, **options: Any) -> None:
        asked = click.get_current_context()
        if os.environ.get("NO_COLOR"):
            asked.color = False
        try:
            command(Cluster(login(kubeconfig, context), namespace), **options)
        except KeyboardInterrupt:
            asked.exit(exits.INTERRUPTED)

    return with_cluster
