"""How a webhook's delivery proves where it comes from, scheme by scheme. Every comparison takes constant time."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from adze.core.model import SignatureEncoding, WebhookAuth, WebhookScheme

TOLERANCE = timedelta(minutes=5)
"""Age of a signature that carries its time, at most: an older delivery is a replay."""
SIGNATURES_LIMIT = 16
"""Signatures of one delivery that are looked at."""

Secret = Mapping[str, bytes]
Headers = Mapping[str, str]


class Unproven(ValueError):
    """A delivery that doesn't prove where it comes from."""


class SecretUnusable(ValueError):
    """The Secret lacks what the scheme needs."""


def verify(auth: WebhookAuth, secret: Secret, headers: Headers, body: bytes, now: datetime) -> None:
    """Unproven if the delivery doesn't prove that its sender knows the secret; header names in lower case."""
    SCHEMES[auth.type](auth, secret, headers, body, now)


def _value(secret: Secret, key: str) -> bytes:
    # A line break at the end is an editor's, never a part of the secret.
    value = secret.get(key, b"").rstrip(b"\r\n")
    if not value:
        raise SecretUnusable(f"the Secret has no key {key!r}, or it is empty")
    return value


def _header(headers: Headers, name: str) -> str:
    if not (value := headers.get(name.lower())):
        raise Unproven(f"the header {name} is missing")
    return value


def _sum(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _plain_hmac(auth: WebhookAuth, secret: Secret, headers: Headers, body: bytes, _: datetime) -> None:
    name = auth.header or "X-Signature-256"
    given = _header(headers, name).removeprefix("sha256=")
    try:
        base64_ = auth.encoding is SignatureEncoding.BASE64
        signature = base64.b64decode(given, validate=True) if base64_ else bytes.fromhex(given)
    except (ValueError, binascii.Error):
        raise Unproven(f"the header {name} holds no {(auth.encoding or SignatureEncoding.HEX).value} text") from None
    wanted = _sum(_value(secret, auth.secret_ref.key or "secret"), body)
    if not hmac.compare_digest(signature, wanted):
        raise Unproven(f"the signature in {name} doesn't fit the body")


def _github(auth: WebhookAuth, secret: Secret, headers: Headers, body: bytes, _: datetime) -> None:
    wanted = "sha256=" + _sum(_value(secret, auth.secret_ref.key or "secret"), body).hex()
    if not _equal(_header(headers, "X-Hub-Signature-256"), wanted.encode()):
        raise Unproven("the signature in X-Hub-Signature-256 doesn't fit the body")


def _stripe(auth: WebhookAuth, secret: Secret, headers: Headers, body: bytes, now: datetime) -> None:
    parts = [part.partition("=")[::2] for part in _header(headers, "Stripe-Signature").split(",")[:SIGNATURES_LIMIT]]
    times = [value for name, value in parts if name.strip() == "t"]
    signatures = [value for name, value in parts if name.strip() == "v1"]
    if len(times) != 1 or not times[0].isascii() or not times[0].isdigit() or len(times[0]) > 12 or not signatures:
        raise Unproven("Stripe-Signature must hold one t and a v1")
    wanted = _sum(_value(secret, auth.secret_ref.key or "secret"), times[0].encode() + b"." + body).hex().encode()
    if not any(_equal(signature, wanted) for signature in signatures):
        raise Unproven("no signature in Stripe-Signature fits the body")
    if abs(now.timestamp() - int(times[0])) > TOLERANCE.total_seconds():
        raise Unproven(f"the signature in Stripe-Signature is not within {TOLERANCE.seconds // 60} minutes of now")


def _basic(_: WebhookAuth, secret: Secret, headers: Headers, body: bytes, now: datetime) -> None:
    wanted = base64.b64encode(_value(secret, "username") + b":" + _value(secret, "password"))
    if not _equal(_credentials(headers, "Basic"), wanted):
        raise Unproven("wrong user or password")


def _bearer(auth: WebhookAuth, secret: Secret, headers: Headers, body: bytes, now: datetime) -> None:
    if not _equal(_credentials(headers, "Bearer"), _value(secret, auth.secret_ref.key or "token")):
        raise Unproven("wrong token")


def _credentials(headers: Headers, scheme: str) -> str:
    given, _, value = _header(headers, "Authorization").partition(" ")
    if given.lower() != scheme.lower():
        raise Unproven(f"the header Authorization must be of the scheme {scheme}")
    return value.strip()


def _equal(given: str, wanted: bytes) -> bool:
    return hmac.compare_digest(given.encode(errors="surrogateescape"), wanted)


SCHEMES: Mapping[WebhookScheme, Callable[[WebhookAuth, Secret, Headers, bytes, datetime], None]] = {
    WebhookScheme.HMAC: _plain_hmac,
    WebhookScheme.GITHUB: _github,
    WebhookScheme.STRIPE: _stripe,
    WebhookScheme.BASIC: _basic,
    WebhookScheme.BEARER: _bearer,
}
