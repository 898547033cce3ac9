"""Reading the API server's audit log: which client wrote what, and how often.

The server notes each write within about a second of answering it; reads are not noted (see audit-policy.yaml).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Event:
    """One answered write. ``end`` is the offset in the file just after it, from which reading can go on."""

    user_agent: str
    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    status: int
    time: str
    end: int

    @property
    def client(self) -> str:
        """The user agent's name: what stands before its first slash."""
        return self.user_agent.partition("/")[0]


class Write(NamedTuple):
    """What writes are counted by; ``resource`` is like ``pods``, ``pods/status`` or ``workflows.example.dev``."""

    client: str
    verb: str
    resource: str


def end(path: Path) -> int:
    """The offset of the end of the log at this moment, 0 for a log that is not there yet."""
    return path.stat().st_size if path.exists() else 0


def events(path: Path, offset: int = 0) -> Iterator[Event]:
    """Yield the events noted from ``offset`` on; a last line that is still being written is left for later."""
    if not path.exists():
        return
    with path.open("rb") as log:
        log.seek(offset)
        for line in log:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield _event(json.loads(line), offset)


def count(some: Iterable[Event], *, client: str | None = None) -> Counter[Write]:
    """Count writes by client, verb and resource, of one client only if ``client`` is given."""
    return Counter(Write(e.client, e.verb, e.resource) for e in some if client is None or e.client == client)


def _event(noted: dict[str, Any], offset: int) -> Event:
    target = noted.get("objectRef", {})
    resource = target.get("resource", noted.get("requestURI", ""))
    if target.get("apiGroup"):
        resource += f".{target['apiGroup']}"
    if target.get("subresource"):
        resource += f"/{target['subresource']}"
    return Event(
        user_agent=noted.get("userAgent", ""),
        user=noted.get("user", {}).get("username", ""),
        verb=noted.get("verb", ""),
        resource=resource,
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        status=noted.get("responseStatus", {}).get("code", 0),
        time=noted.get("stageTimestamp", ""),
        end=offset,
    )
