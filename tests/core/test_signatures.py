"""Who proves to be the sender of a webhook, with the providers' own test vectors."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from adze.core.model import WebhookAuth, WebhookScheme
from adze.core.signatures import SCHEMES, SecretUnusable, Unproven, verify

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BODY = b"Hello, World!"
# docs.github.com, "Validating webhook deliveries": secret, payload and signature for testing.
GITHUB = (b"It's a Secret to Everybody", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")


def auth(type_: str, **fields: Any) -> WebhookAuth:
    return msgspec.convert({"type": type_, "secretRef": {"name": "s"}, **fields}, WebhookAuth)


def stripe(secret: bytes, body: bytes, at: datetime) -> str:
    """As docs.stripe.com says: HMAC-SHA256 of the timestamp, a dot and the body, in hex, as v1."""
    moment = str(int(at.timestamp()))
    return f"t={moment},v1={hmac.new(secret, moment.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


def proves(how: WebhookAuth, secret: dict[str, bytes], body: bytes = BODY, now: datetime = NOW, **headers: str) -> bool:
    try:
        verify(how, secret, {name.replace("_", "-"): value for name, value in headers.items()}, body, now)
    except Unproven:
        return False
    return True


def test_each_scheme_has_its_function() -> None:
    assert set(SCHEMES) == set(WebhookScheme)


def test_githubs_own_vector() -> None:
    secret, signature = GITHUB
    assert proves(auth("GitHub"), {"secret": secret}, x_hub_signature_256=signature)
    assert proves(auth("HMAC", header="X-Hub-Signature-256"), {"secret": secret}, x_hub_signature_256=signature)


@pytest.mark.parametrize(
    "signature",
    ["", "sha256=", GITHUB[1][:-1] + "8", GITHUB[1].removeprefix("sha256="), "sha1=" + "0" * 40, "sha256=\udcff"],
)
def test_another_signature_proves_nothing(signature: str) -> None:
    assert not proves(auth("GitHub"), {"secret": GITHUB[0]}, x_hub_signature_256=signature)


def test_another_body_or_secret_proves_nothing() -> None:
    secret, signature = GITHUB
    assert not proves(auth("GitHub"), {"secret": secret}, BODY + b" ", x_hub_signature_256=signature)
    assert not proves(auth("GitHub"), {"secret": b"x" + secret}, x_hub_signature_256=signature)
    assert not proves(auth("GitHub"), {"secret": secret})


# RFC 4231, test cases 1 to 3 and 6, for HMAC-SHA-256.
RFC_4231 = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
]


@pytest.mark.parametrize(("secret", "body", "signature"), RFC_4231)
def test_hmac_as_the_rfc_has_it(secret: bytes, body: bytes, signature: str) -> None:
    assert proves(auth("HMAC"), {"secret": secret}, body, x_signature_256=signature)
    assert proves(auth("HMAC"), {"secret": secret}, body, x_signature_256=f"sha256={signature.upper()}")
    shopify = base64.b64encode(bytes.fromhex(signature)).decode()
    base64_ = auth("HMAC", header="X-Shopify-Hmac-Sha256", encoding="Base64")
    assert proves(base64_, {"secret": secret}, body, x_shopify_hmac_sha256=shopify)
    assert not proves(auth("HMAC"), {"secret": secret}, body, x_signature_256=shopify)


def test_another_key_of_the_secret() -> None:
    how = auth("GitHub", secretRef={"name": "s", "key": "github.token"})
    assert proves(how, {"github.token": GITHUB[0] + b"\n"}, x_hub_signature_256=GITHUB[1])


def test_stripes_signature_is_bound_to_its_time() -> None:
    key = b"whsec_test"
    header = stripe(key, BODY, NOW)
    for age, fits in ((timedelta(0), True), (timedelta(minutes=5), True), (timedelta(minutes=5, seconds=1), False)):
        assert proves(auth("Stripe"), {"secret": key}, now=NOW + age, stripe_signature=header) is fits
        assert proves(auth("Stripe"), {"secret": key}, now=NOW - age, stripe_signature=header) is fits
    moved = header.replace(str(int(NOW.timestamp())), str(int(NOW.timestamp()) + 600))
    assert not proves(auth("Stripe"), {"secret": key}, now=NOW + timedelta(minutes=10), stripe_signature=moved)


def test_one_of_stripes_signatures_is_enough() -> None:
    moment, _, signature = stripe(b"new", BODY, NOW).partition(",")
    header = f"{moment},v1={'0' * 64},{signature},v0=abc"
    assert proves(auth("Stripe"), {"secret": b"new"}, stripe_signature=header)


@pytest.mark.parametrize(
    "header", ["", "t=1", "v1=00", "t=x,v1=00", "t=1,t=1,v1=00", "t=-1,v1=00", f"t={'9' * 99},v1=0", "t=²,v1=0"]
)
def test_an_odd_stripe_header_proves_nothing(header: str) -> None:
    assert not proves(auth("Stripe"), {"secret": b"k"}, stripe_signature=header)


def test_user_and_password() -> None:
    secret = {"username": b"shop", "password": b"p:w"}
    right = base64.b64encode(b"shop:p:w").decode()
    assert proves(auth("Basic"), secret, authorization=f"Basic {right}")
    assert proves(auth("Basic"), secret, authorization=f"basic {right}")
    for wrong in (f"Bearer {right}", "Basic", f"Basic {base64.b64encode(b'shop:').decode()}", ""):
        assert not proves(auth("Basic"), secret, authorization=wrong)


def test_a_token() -> None:
    assert proves(auth("Bearer"), {"token": b"t0k"}, authorization="Bearer t0k")
    for wrong in ("Bearer t0", "Bearer t0k0", "Basic t0k", "Bearer ", "Bearer \udcff"):
        assert not proves(auth("Bearer"), {"token": b"t0k"}, authorization=wrong)


@pytest.mark.parametrize("how", list(WebhookScheme))
@pytest.mark.parametrize("secret", [{}, {"secret": b"", "token": b"\n", "username": b"a", "password": b""}])
def test_an_empty_secret_lets_nobody_in(how: WebhookScheme, secret: dict[str, bytes]) -> None:
    headers = {
        "x-signature-256": hmac.new(b"", BODY, hashlib.sha256).hexdigest(),
        "x-hub-signature-256": "sha256=" + hmac.new(b"", BODY, hashlib.sha256).hexdigest(),
        "stripe-signature": stripe(b"", BODY, NOW),
        "authorization": "Basic Og==" if how is WebhookScheme.BASIC else "Bearer x",
    }
    with pytest.raises(SecretUnusable):
        verify(auth(how.value), secret, headers, BODY, NOW)
