"""Who may send events: the API server knows (TokenReview) and decides (SubjectAccessReview)."""

import hashlib
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

import msgspec

from adze.core.model import GROUP
from adze.shell.cluster import Cluster

KNOWN_FOR = 30.0
"""Seconds for which a yes is remembered: a right taken away ends after that."""
REFUSED_FOR = 5.0
"""Seconds for which a no is remembered."""
REMEMBERED = 1000
"""Answers that are remembered."""

TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class User(msgspec.Struct, frozen=True):
    """Who a token belongs to, as the API server says."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class _TokenStatus(msgspec.Struct, frozen=True):
    authenticated: bool = False
    audiences: tuple[str, ...] = ()
    user: User = User()


class _TokenReview(msgspec.Struct, frozen=True):
    status: _TokenStatus = _TokenStatus()


class _AccessStatus(msgspec.Struct, frozen=True):
    allowed: bool = False


class _AccessReview(msgspec.Struct, frozen=True):
    status: _AccessStatus = _AccessStatus()


async def review_token(cluster: Cluster, token: str, audience: str | None = None) -> User | None:
    """Whose token it is; None if nobody's, or if it's for another audience. ApiError if the API server can't say."""
    spec = {"token": token, **({"audiences": [audience]} if audience else {})}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    status = msgspec.json.decode(await cluster.call("POST", TOKENS, body), type=_TokenReview).status
    # An authenticator that knows no audiences names none.
    known = status.authenticated and (audience is None or audience in status.audiences)
    return status.user if known else None


class Access:
    """Asks the API server, and remembers its answers for a short time. ApiError if it can't say."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._answers: dict[Hashable, tuple[float, Any]] = {}

    async def user(self, token: str) -> User | None:
        """Whose token it is; None if nobody's."""
        # Not the token itself: what is remembered is no secret.
        key = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        found: User | None = await self._remembered(key, lambda: review_token(self._cluster, token))
        return found

    async def may_create(self, user: User, namespace: str) -> bool:
        """Whether this user may create WorkflowEvents there."""
        key = msgspec.json.encode((user, namespace))
        allowed: bool = await self._remembered(key, lambda: self._review_access(user, namespace))
        return allowed

    async def _remembered(self, key: Hashable, ask: Callable[[], Awaitable[Any]]) -> Any:
        until, answer = self._answers.get(key, (0.0, None))
        if self._clock() < until:
            return answer
        answer = await ask()
        if len(self._answers) >= REMEMBERED:
            self._answers.clear()
        self._answers[key] = self._clock() + (KNOWN_FOR if answer else REFUSED_FOR), answer
        return answer

    async def _review_access(self, user: User, namespace: str) -> bool:
        what = {"group": GROUP, "resource": "workflowevents", "verb": "create", "namespace": namespace}
        spec = {"user": user.username, "uid": user.uid, "groups": user.groups, "extra": user.extra}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {**spec, "resourceAttributes": what},
        }
        review = msgspec.json.decode(await self._cluster.call("POST", ACCESS, body), type=_AccessReview)
        return review.status.allowed
