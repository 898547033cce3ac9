"""A small client of the API server: six verbs, typed answers, one error type.

The official client costs four to six times the CPU of this a call, most of it before the socket. HTTP is left to
reqwest (docs/adr/0035-reqwest.md).
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import DetailedPyreqwestError, PyreqwestError, ReadTimeoutError

from adze.shell import metrics
from adze.shell.skew import Skew
from adze.shell.throttle import Throttle

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
JSON = "application/json"
METADATA = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""Asks for an answer that holds nothing of an object but its metadata."""

TIMEOUT = timedelta(seconds=15)
"""For one call, from its turn to its whole answer."""
CONNECT = timedelta(seconds=5)
IDLE = timedelta(seconds=30)
"""A connection that was unused for longer is closed; the API server does so after 90 s, maybe as a call is sent."""
SILENCE = timedelta(seconds=75)
"""A watch without even a bookmark is ended: the API server sends one a minute, unless nothing at all has happened."""
TOKEN_AGE = 60.0
"""Seconds for which a token is taken from memory. Its file has the next one long before it ends."""


class Cause(msgspec.Struct, frozen=True):
    """A detail of a refusal."""

    reason: str = ""
    message: str = ""
    field: str = ""


class Details(msgspec.Struct, frozen=True):
    """Details of a refusal."""

    causes: tuple[Cause, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """The API server's word on a failed call (metav1.Status)."""

    reason: str = ""
    message: str = ""
    code: int = 0
    details: Details | None = None


class ApiError(Exception):
    """The API server refused a call, or didn't answer: then `code` is 0 and the call may have succeeded."""

    def __init__(self, code: int, reason: str, message: str, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.causes = causes


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach and convince an API server. What `token_path` holds changes: tokens rotate."""

    server: str
    ca: str | None = None
    insecure: bool = False
    certificate: str | None = None
    private_key: str | None = None
    token: str | None = None
    token_path: Path | None = None

    def current_token(self) -> str | None:
        """The token to show, if there's one."""
        return self.token_path.read_text().strip() if self.token_path else self.token

    def client(self, agent: str) -> Client:
        """An HTTP client that trusts the CA and shows the client certificate."""
        builder = (
            ClientBuilder()
            .user_agent(agent)
            .no_proxy()
            .follow_redirects(False)
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .pool_idle_timeout(IDLE)
            .danger_accept_invalid_certs(self.insecure)
        )
        if self.ca:
            builder = builder.add_root_certificate_pem(self.ca.encode())
        if self.certificate and self.private_key:
            builder = builder.identity_pem(f"{self.certificate}\n{self.private_key}".encode())
        return builder.build()


def text_of(data: bytes | str | None) -> str | None:
    """PEM text of what a kubeconfig holds: base64 or PEM."""
    if not data:
        return None
    raw = data.encode() if isinstance(data, str) else data
    return (raw if raw.startswith(b"-----") else base64.b64decode(raw)).decode()


class Cluster:
    """Calls one API server. At most `connections` calls are in flight, and none starts while it asks for a pause."""

    def __init__(
        self,
        credentials: Credentials,
        agent: str,
        connections: int = 48,
        skew: Skew | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`skew` is told of the answers' times."""
        self._skew = skew
        self._clock = clock
        self._credentials = credentials
        self._server = credentials.server.rstrip("/")
        self._authorization: dict[str, str] = {}
        self._read_again = 0.0
        # Not the client's limit: a wait for a connection would count against the call's timeout, and watches hang.
        self._turn = asyncio.Semaphore(connections)
        self._throttle = Throttle()
        self._client = credentials.client(agent)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def call(
        self, method: str, path: str, body: Any = None, kind: str = JSON, accept: str = JSON, **params: str
    ) -> bytes:
        """One call; the answer's body. ApiError tells what went wrong."""
        headers = {"Accept": accept}
        builder = self._client.request(method, self._server + path).timeout(TIMEOUT)
        if params:
            builder = builder.query(params)
        if body is not None:
            headers["Content-Type"] = kind
            builder = builder.body_bytes(msgspec.json.encode(body))
        async with self._turn:
            await self._throttle.wait()
            request = builder.headers(headers | self._authorized()).build()
            sent = self._skew.clock() if self._skew else 0.0
            try:
                response = await request.send()
                answer = bytes(await response.bytes())
            except PyreqwestError as error:
                raise _unreachable(f"{method} {path}", error) from error
        if self._skew:
            self._skew.heed(response.get_header("Date") or "", sent)
        metrics.api_calls.labels(method, response.status).inc()
        if response.status < 400:
            return answer
        self._throttle.heed(response.status, response.headers)
        raise _error(response.status, answer)

    async def watch(self, path: str, **params: str) -> AsyncIterator[bytes]:
        """The lines of a watch until the server ends it or falls silent. ApiError if it can't be opened or breaks."""
        params |= {"watch": "true", "allowWatchBookmarks": "true"}
        await self._throttle.wait()
        # A limit of 0 hands every line over at once; any other would hold lines back until so many bytes are there.
        builder = self._client.get(self._server + path).query(params).streamed_read_buffer_limit(0)
        try:
            async with builder.headers({"Accept": JSON, **self._authorized()}).build_streamed() as response:
                if response.status >= 400:
                    self._throttle.heed(response.status, response.headers)
                    raise _error(response.status, bytes(await response.bytes()))
                rest = b""
                while chunk := await response.body_reader.read_chunk():
                    *lines, rest = (rest + bytes(chunk)).split(b"\n")
                    for line in lines:
                        if line:
                            yield line
        except ReadTimeoutError:
            return
        except PyreqwestError as error:
            raise _unreachable(f"watch {path}", error) from error

    def _authorized(self) -> dict[str, str]:
        if self._clock() >= self._read_again:
            token = self._credentials.current_token()
            self._authorization = {"Authorization": f"Bearer {token}"} if token else {}
            self._read_again = self._clock() + TOKEN_AGE
        return self._authorization


def _unreachable(call: str, error: PyreqwestError) -> ApiError:
    # The innermost cause says what happened, the error only where.
    causes = error.details["causes"] if isinstance(error, DetailedPyreqwestError) else None
    return ApiError(0, "Unreachable", f"{call}: {causes[-1]['message'] if causes else error.message}")


def _error(code: int, answer: bytes) -> ApiError:
    try:
        status = msgspec.json.decode(answer, type=Status)
    except msgspec.DecodeError:
        return ApiError(code, "", answer[:200].decode(errors="replace"))
    return ApiError(code, status.reason, status.message, status.details.causes if status.details else ())


def resource(group: str, namespace: str | None, plural: str, name: str = "", subresource: str = "") -> str:
    """The path of a resource; `group` is `v1` or `group/version`."""
    parts = ["/api" if group == "v1" else "/apis", group]
    parts += ["namespaces", namespace] if namespace else []
    parts += [part for part in (plural, name, subresource) if part]
    return "/".join(parts)


def selector(labels: Mapping[str, str | None]) -> str:
    """A label selector; a label without a value must merely exist."""
    return ",".join(name if value is None else f"{name}={value}" for name, value in labels.items())


async def jittered(seconds: float, seed: int) -> None:
    """Sleep between half and the whole of `seconds`, so that many clients don't come back together."""
    await asyncio.sleep(seconds * (0.5 + (seed * 2654435761 % 1000) / 2000))
