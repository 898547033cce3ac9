"""What event a webhook's delivery is."""

import hashlib
import json
from typing import Any

import msgspec
import pytest

from adze.core import webhooks
from adze.core.cloudevents import Rejected
from adze.core.model import EventSpec, WebhookSpec
from adze.core.webhooks import InvalidWebhook

BODY = json.dumps({"action": "opened", "number": 7, "id": "evt_1", "type": "charge.failed"}).encode()
HEADERS = {"x-github-event": "issues", "x-github-delivery": "72d3162e", "authorization": "Bearer secret"}


def spec(type_: str = "HMAC", **fields: Any) -> WebhookSpec:
    return msgspec.convert({"auth": {"type": type_, "secretRef": {"name": "s"}}, **fields}, WebhookSpec)


def event(how: WebhookSpec, body: bytes = BODY, headers: dict[str, str] = HEADERS) -> EventSpec | None:
    return webhooks.event("hook", how, headers, body)


def identity(found: EventSpec | None) -> tuple[str, str, str]:
    assert found is not None
    return found.source, found.id, found.type


def test_github_and_stripe_need_no_expressions() -> None:
    assert identity(event(spec("GitHub"))) == ("/webhooks/hook", "72d3162e", "github:issues")
    assert identity(event(spec("Stripe"))) == ("/webhooks/hook", "evt_1", "stripe:charge.failed")
    found = event(spec("GitHub"))
    assert found is not None and found.data == json.loads(BODY)


def test_others_are_named_after_the_webhook_and_known_by_their_body() -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    assert identity(event(spec("Bearer"))) == ("/webhooks/hook", digest, "hook")


def test_expressions_make_the_event() -> None:
    how = spec(
        "GitHub",
        type="issue:${request.body.action}",
        id="${request.body.number}",
        subject="${request.headers['x-github-event']}",
        data={"number": "${request.body.number}", "fixed": True},
    )
    found = event(how)
    assert identity(found) == ("/webhooks/hook", "7", "issue:opened")
    assert found is not None
    assert (found.subject, found.data) == ("issues", {"number": 7, "fixed": True})


def test_a_filter_leaves_deliveries_out() -> None:
    assert event(spec(filter="request.body.action == 'opened'")) is not None
    assert event(spec(filter="request.body.action == 'closed'")) is None


@pytest.mark.parametrize(
    ("how", "body", "headers", "field"),
    [
        (spec("GitHub"), BODY, {}, "spec.type"),
        (spec("Stripe"), b"{}", {}, "spec.type"),
        (spec(filter="request.body.a.b"), BODY, HEADERS, "spec.filter"),
        (spec(data={"a": "${request.body.nope}"}), BODY, HEADERS, "spec.data"),
        (spec(id="${request.body.long}"), json.dumps({"long": "x" * 300}).encode(), {}, "spec.id"),
        (spec(id="${request.body.none}"), b'{"none": ""}', {}, "spec.id"),
        (spec(), b"[1]", {}, "body"),
        (spec(), b"payload=%7B%7D", {}, "body"),
        (spec(), b"[" * 100_000, {}, "body"),
    ],
)
def test_a_delivery_that_gives_no_event_names_the_field(
    how: WebhookSpec, body: bytes, headers: dict[str, str], field: str
) -> None:
    with pytest.raises(Rejected) as refused:
        event(how, body, headers)
    assert (refused.value.status, refused.value.field) == (400, field)


def test_credentials_never_reach_an_expression() -> None:
    with pytest.raises(Rejected):
        event(spec(subject="${request.headers.authorization}"))


def test_what_is_wrong_with_a_webhook_is_listed_by_field() -> None:
    how = spec(filter="request.bdy.a", type="${request.headers", data={"a": "${event.id}"}, id="fine")
    with pytest.raises(InvalidWebhook) as refused:
        webhooks.compile_webhook(how)
    told = str(refused.value)
    for field in ("spec.filter:1:", "spec.type:1:1: ${ has no closing brace", "spec.data:1:"):
        assert field in told, told
    assert "spec.id" not in told
    with pytest.raises(InvalidWebhook):
        event(how)
