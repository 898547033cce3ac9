"""What the API server's refusals mean to the protocol."""

import pytest

from adze.core.calls import TOO_LARGE, Failure
from adze.shell.cluster import ApiError, Cause
from adze.shell.driver import problem

WEBHOOK = 'Internal error occurred: failed calling webhook "x.example": failed to call webhook: dial tcp: refused'
QUOTA = 'pods "p" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1'
RIGHTS = 'pods is forbidden: User "adze" cannot create resource "pods" in API group "" in the namespace "x"'
GRPC = "code = ResourceExhausted desc = trying to send message larger than max"


@pytest.mark.parametrize(
    ("code", "reason", "message", "cause", "failure", "word"),
    [
        (409, "AlreadyExists", 'pods "p" already exists', None, Failure.EXISTS, "AlreadyExists"),
        (409, "Conflict", "the object has been modified", None, Failure.CONFLICT, "Conflict"),
        (422, "Invalid", "field is immutable", Cause(field="metadata.uid"), Failure.CONFLICT, "Conflict"),
        (422, "Invalid", "Required value", Cause(field="spec.containers[0].image"), Failure.REFUSED, "PodRejected"),
        (404, "NotFound", 'pods "p" not found', None, Failure.NOT_FOUND, "NotFound"),
        (403, "Forbidden", QUOTA, None, Failure.LATER, "QuotaExceeded"),
        (403, "Forbidden", "no", Cause(reason="NamespaceTerminating"), Failure.LATER, "NamespaceTerminating"),
        (403, "Forbidden", RIGHTS, None, Failure.LATER, "PermissionDenied"),
        (403, "Forbidden", 'violates PodSecurity "restricted:latest"', None, Failure.REFUSED, "PodRejected"),
        (500, "InternalError", WEBHOOK, None, Failure.LATER, "WebhookFailed"),
        (413, "RequestEntityTooLarge", "limit is 3145728", None, Failure.REFUSED, TOO_LARGE),
        (500, "", "etcdserver: request is too large", None, Failure.REFUSED, TOO_LARGE),
        (500, "", f"rpc error: {GRPC} (2301061 vs. 2097152)", None, Failure.REFUSED, TOO_LARGE),
        (500, "InternalError", "etcdserver: request timed out", None, Failure.UNKNOWN, "InternalError"),
        (429, "TooManyRequests", "too many requests", None, Failure.UNKNOWN, "TooManyRequests"),
        (503, "ServiceUnavailable", "try again", None, Failure.UNKNOWN, "ServiceUnavailable"),
        (0, "Unreachable", "time-out", None, Failure.UNKNOWN, "Unreachable"),
    ],
)
def test_each_refusal_has_its_meaning(
    code: int, reason: str, message: str, cause: Cause | None, failure: Failure, word: str
) -> None:
    seen = problem(ApiError(code, reason, message, (cause,) if cause else ()))
    assert (seen.failure, seen.reason, seen.message) == (failure, word, message)
