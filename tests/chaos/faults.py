"""What the proxy can do to a request, and which requests it does it to."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random

_PATH = re.compile(
    r"^/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?$"
)


class Do(Enum):
    """What happens to a request."""

    ANSWER = "answer"
    DELAY = "delay"
    RESET_BEFORE = "reset before commit"
    RESET_AFTER = "reset after commit"
    STALE = "stale list"
    STALL = "stalled watch"
    DROP = "dropped watch event"
    CUT = "cut watch"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the proxy sees it."""

    method: str
    path: str
    query: dict[str, str]

    @property
    def watch(self) -> bool:
        """Whether it is a watch."""
        return self.query.get("watch") in ("true", "1")

    @property
    def kind(self) -> str:
        """The resource and subresource, as `pods` or `workflowruns/status`."""
        found = _PATH.match(self.path)
        if not found:
            return self.path
        return found["plural"] + (f"/{found['sub']}" if found["sub"] else "")

    @property
    def write(self) -> bool:
        """Whether it changes state. Kubernetes Events are words, not state."""
        return self.method in ("POST", "PATCH", "PUT", "DELETE") and self.kind != "events"

    @property
    def cache(self) -> bool:
        """Whether its answer fills a cache: a list of all, or a watch. The protocol's own reads are never stale."""
        one_run = "=" in self.query.get("labelSelector", "")
        named = bool((found := _PATH.match(self.path)) and found["name"])
        return self.method == "GET" and not named and not one_run

    @property
    def listing(self) -> bool:
        """Whether it fills a cache by listing."""
        return self.cache and not self.watch


Match = Callable[[Request], bool]


@dataclass(slots=True)
class Fault:
    """Do something to requests that match: let `skip` pass, then at most `times`, each with probability `share`."""

    match: Match
    do: Do
    skip: int = 0
    times: int | None = None
    share: float = 1.0
    code: int = 500
    reason: str = "InternalError"
    retry_after: int | None = None
    seconds: float = 0.0
    version: str = ""

    def hits(self, request: Request, chance: Random) -> bool:
        """Whether this request suffers; counts it."""
        if not self.match(request) or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.share < 1 and chance.random() >= self.share:
            return False
        if self.times is not None:
            self.times -= 1
        return True

    @property
    def label(self) -> str:
        """How a report names it."""
        return str(self.code) if self.do is Do.ANSWER else self.do.value


def write(request: Request) -> bool:
    """Matches writes of state."""
    return request.write


def call(request: Request) -> bool:
    """Matches everything but watches."""
    return not request.watch


def status_write(request: Request) -> bool:
    """Matches compare-and-swaps of a run's status."""
    return request.method == "PATCH" and request.kind == "workflowruns/status"


def pod_create(request: Request) -> bool:
    """Matches creates of Pods."""
    return request.method == "POST" and request.kind == "pods"


def watch_of(plural: str) -> Match:
    """Matches watches of a resource."""
    return lambda request: request.watch and request.kind == plural


REASONS = {
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def answer(code: int, match: Match, **fields: object) -> Fault:
    """A refusal that the API server could give."""
    return Fault(match, Do.ANSWER, code=code, reason=REASONS[code], **fields)  # type: ignore[arg-type]
