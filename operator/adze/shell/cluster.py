"""A small client of the API server: six verbs, typed answers, one error type.

The official client costs four to six times the CPU of this a call, most of it before the socket.
"""

import asyncio
import base64
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from adze.shell import metrics
from adze.shell.skew import Skew
from adze.shell.throttle import Throttle

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
JSON = "application/json"
METADATA = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""Asks for an answer that holds nothing of an object but its metadata."""

TIMEOUT = aiohttp.ClientTimeout(total=15, sock_connect=5)
SILENCE = 75
"""Seconds after which a watch without even a bookmark is taken for dead (the API server sends one a minute)."""


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
    """How to reach and convince an API server. `token_path` is read again and again: tokens rotate."""

    server: str
    ca: str | None = None
    insecure: bool = False
    certificate: str | None = None
    private_key: str | None = None
    token: str | None = None
    token_path: Path | None = None

    def headers(self) -> dict[str, str]:
        """The Authorization header, if there's a token."""
        token = self.token_path.read_text().strip() if self.token_path else self.token
        return {"Authorization": f"Bearer {token}"} if token else {}

    def tls(self) -> ssl.SSLContext:
        """A TLS context that trusts the CA and shows the client certificate."""
        context = ssl.create_default_context(cadata=self.ca)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate and self.private_key:
            with tempfile.NamedTemporaryFile("w") as pair:  # ssl loads key pairs from files only
                pair.write(f"{self.certificate}\n{self.private_key}")
                pair.flush()
                context.load_cert_chain(pair.name)
        return context


def text_of(data: bytes | str | None) -> str | None:
    """PEM text of what a kubeconfig holds: base64 or PEM."""
    if not data:
        return None
    raw = data.encode() if isinstance(data, str) else data
    return (raw if raw.startswith(b"-----") else base64.b64decode(raw)).decode()


class Cluster:
    """Calls one API server. At most `connections` calls are in flight, and none starts while it asks for a pause."""

    def __init__(self, credentials: Credentials, agent: str, connections: int = 48, skew: Skew | None = None) -> None:
        """`skew` is told of the answers' times."""
        self._skew = skew
        self._credentials = credentials
        # Not the connector's limit: a wait for a connection would count against the call's timeout.
        self._turn = asyncio.Semaphore(connections)
        self._throttle = Throttle()
        connector = aiohttp.TCPConnector(limit=0, ssl=credentials.tls(), ttl_dns_cache=300)
        # Watches hang; they must not take connections from calls.
        watching = aiohttp.TCPConnector(limit=0, ssl=credentials.tls(), ttl_dns_cache=300)
        options: dict[str, Any] = {"headers": {"User-Agent": agent}, "auto_decompress": True}
        self._session = aiohttp.ClientSession(credentials.server, connector=connector, timeout=TIMEOUT, **options)
        self._watching = aiohttp.ClientSession(
            credentials.server,
            connector=watching,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE),
            read_bufsize=2**20,
            **options,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
        await self._watching.close()

    async def call(
        self, method: str, path: str, body: Any = None, kind: str = JSON, accept: str = JSON, **params: str
    ) -> bytes:
        """One call; the answer's body. ApiError tells what went wrong."""
        headers = {**self._credentials.headers(), "Accept": accept}
        data = None
        if body is not None:
            data = msgspec.json.encode(body)
            headers["Content-Type"] = kind
        async with self._turn:
            await self._throttle.wait()
            sent = self._skew.clock() if self._skew else 0.0
            try:
                async with self._session.request(method, path, data=data, headers=headers, params=params) as response:
                    if self._skew:
                        self._skew.heed(response.headers.get("Date", ""), sent)
                    answer = await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise ApiError(0, "Unreachable", f"{method} {path}: {error or type(error).__name__}") from error
        metrics.api_calls.labels(method, response.status).inc()
        if response.status < 400:
            return answer
        self._throttle.heed(response.status, response.headers)
        raise _error(response.status, answer)

    async def watch(self, path: str, **params: str) -> AsyncIterator[bytes]:
        """The lines of a watch until the server ends it. ApiError if it can't be opened or falls silent."""
        headers = {**self._credentials.headers(), "Accept": JSON}
        params |= {"watch": "true", "allowWatchBookmarks": "true"}
        await self._throttle.wait()
        try:
            async with self._watching.get(path, headers=headers, params=params) as response:
                if response.status >= 400:
                    self._throttle.heed(response.status, response.headers)
                    raise _error(response.status, await response.read())
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line:
                            yield line
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", f"watch {path}: {error or type(error).__name__}") from error


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
