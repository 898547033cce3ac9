"""The gateway: 202 means durable, everything else says what is wrong and where."""

import asyncio
import gzip
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from adze.core.cloudevents import BODY_LIMIT
from adze.shell import http as module
from adze.shell.access import ACCESS, KNOWN_FOR, TOKENS, Access
from adze.shell.gateway import BACKLOG, IN_FLIGHT
from tests.builders import NOW
from tests.shell.fake_cluster import FakeCluster, error
from tests.shell.gateway_client import BATCH, EVENTS, SENDER, STRUCTURED, WHOLE, GatewayWorld

Client = TestClient[Any, Any]


@pytest.fixture
def world() -> GatewayWorld:
    return GatewayWorld()


@pytest.fixture
async def client(world: GatewayWorld) -> AsyncIterator[Client]:
    async with world.serving() as client:
        yield client


async def send(client: Client, value: Any = WHOLE, headers: dict[str, str] = STRUCTURED, path: str = EVENTS) -> Any:
    """Status and body of the answer to a POST."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    async with client.post(path, data=body, headers=headers) as answer:
        text = await answer.read()
        found = json.loads(text) if text else None
        if answer.status >= 400:
            assert answer.content_type == "application/problem+json"
            assert found["status"] == answer.status
            assert found["title"]
        return answer.status, found, answer.headers


async def test_an_accepted_event_is_an_object(client: Client, world: GatewayWorld) -> None:
    status, body, _ = await send(client)
    assert status == 202
    (item,) = world.cluster.of("workflowevents")
    assert body == {"events": [item["metadata"]["name"]]}
    wanted = {name: value for name, value in WHOLE.items() if name != "specversion"}
    assert item["spec"] == {**wanted, "ttl": "1h"} or item["spec"] == wanted


async def test_binary_mode_and_batches(client: Client, world: GatewayWorld) -> None:
    headers = {f"ce-{name}": str(value) for name, value in WHOLE.items() if name != "data"}
    status, _, _ = await send(client, {"a": 1}, {**SENDER, **headers, "Content-Type": "application/json"})
    assert status == 202
    status, body, _ = await send(client, [{**WHOLE, "id": "2"}, {**WHOLE, "id": "3"}], BATCH)
    assert (status, len(body["events"])) == (202, 2)
    assert [spec["id"] for spec in world.events] == ["1", "2", "3"]


async def test_a_repeat_is_accepted_and_makes_nothing(client: Client, world: GatewayWorld) -> None:
    first, second = await send(client), await send(client, {**WHOLE, "time": "2026-03-01T12:00:00Z"})
    assert (first[0], second[0]) == (202, 202)
    assert first[1] == second[1]
    assert len(world.events) == 1


async def test_other_content_under_the_same_id_is_a_conflict(client: Client, world: GatewayWorld) -> None:
    await send(client)
    status, body, _ = await send(client, {**WHOLE, "data": {"plan": "free"}})
    assert (status, body["field"]) == (409, "id")
    status, body, _ = await send(client, [{**WHOLE, "id": "2"}, {**WHOLE, "type": "other"}], BATCH)
    assert (status, body["field"]) == (409, "[1].id")
    assert world.events[0]["data"] == {"plan": "pro"}


async def test_a_repeat_of_what_is_deleted_just_now_is_to_come_again(client: Client, world: GatewayWorld) -> None:
    await send(client)

    def gone(method: str, path: str) -> None:
        if method == "GET":
            world.cluster.objects.clear()

    world.cluster.before = gone
    assert (await send(client))[0] == 503
    assert (await send(client))[0] == 202


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_answer_that_is_lost_is_no_202(client: Client, world: GatewayWorld, moment: str) -> None:
    def fail(method: str, path: str) -> None:
        if method == "POST" and path.endswith("workflowevents"):
            raise error(0, "Unreachable")

    setattr(world.cluster, moment, fail)
    status, _, headers = await send(client)
    assert (status, headers["Retry-After"]) == (503, "5")
    setattr(world.cluster, moment, lambda method, path: None)
    assert (await send(client))[0] == 202
    assert len(world.events) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Basic c2VuZGVy"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer nobody"}, 401),
        ({"Authorization": "Bearer reader"}, 403),
        ({"Authorization": "bearer sender"}, 202),
    ],
)
async def test_who_may_send(client: Client, world: GatewayWorld, headers: dict[str, str], status: int) -> None:
    found, _, answered = await send(client, headers={**STRUCTURED, "Authorization": "", **headers})
    assert found == status
    assert ("WWW-Authenticate" in answered) is (status == 401)
    assert len(world.events) == (1 if status == 202 else 0)


async def test_a_right_is_one_of_a_namespace(client: Client) -> None:
    status, body, _ = await send(client, path="/v1/namespaces/other/events")
    assert status == 403
    assert "sender may not create workflowevents.adze.dev in namespace other" in body["detail"]


async def test_only_served_namespaces_are_sent_to(world: GatewayWorld) -> None:
    async with world.serving("a", "b") as client:
        status, body, _ = await send(client)
    assert (status, body["field"]) == (404, "namespace")


@pytest.mark.parametrize("namespace", ["..", "%2e%2e", "shop%2Fpods", "Shop", "a" * 64, "shop%00", "shop%0A"])
async def test_a_path_leads_nowhere_else(client: Client, world: GatewayWorld, namespace: str) -> None:
    status, _, _ = await send(client, path=f"/v1/namespaces/{namespace}/events")
    assert status == 404
    assert not world.cluster.calls


@pytest.mark.parametrize(
    ("value", "headers", "status", "field"),
    [
        ({**WHOLE, "id": ""}, STRUCTURED, 400, "id"),
        ({**WHOLE, "data": [1]}, STRUCTURED, 400, "data"),
        ([WHOLE, {**WHOLE, "source": 7}], BATCH, 400, "[1].source"),
        (b"{", STRUCTURED, 400, "body"),
        (b"x", {**SENDER, "Content-Type": "text/plain"}, 415, "ce-specversion"),
        (gzip.compress(b"{}"), {**STRUCTURED, "Content-Encoding": "gzip"}, 415, "Content-Encoding"),
        (b" " * (BODY_LIMIT + 1), STRUCTURED, 413, "body"),
    ],
)
async def test_what_is_wrong_is_named(
    client: Client, world: GatewayWorld, value: Any, headers: dict[str, str], status: int, field: str
) -> None:
    found, body, _ = await send(client, value, headers)
    assert (found, body["field"]) == (status, field)
    assert world.events == []


async def test_a_body_of_unknown_length_is_bounded_too(client: Client) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(BODY_LIMIT // 1024 + 2):
            yield b" " * 1024

    async with client.post(EVENTS, data=endless(), headers=STRUCTURED) as answer:
        assert answer.status == 413


async def test_just_small_enough_is_taken(client: Client) -> None:
    whole = {**WHOLE, "data": {"text": ""}}
    room = BODY_LIMIT - len(json.dumps(whole))
    assert (await send(client, {**WHOLE, "data": {"text": "x" * room}}))[0] == 202
    assert (await send(client, {**WHOLE, "data": {"text": "x" * (room + 1)}}))[0] == 413


async def test_a_body_that_does_not_come_is_not_waited_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_TIMEOUT", 0.05)
    hanging = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await hanging.wait()

    async with client.post(EVENTS, data=slow(), headers=STRUCTURED) as answer:
        assert answer.status == 408


async def test_a_long_backlog_slows_the_senders_down(client: Client, world: GatewayWorld) -> None:
    world.waiting = BACKLOG
    status, _, headers = await send(client)
    assert (status, headers["Retry-After"]) == (429, "5")
    world.waiting = BACKLOG - 1
    assert (await send(client))[0] == 202


async def test_too_many_at_once_are_to_come_again(client: Client, world: GatewayWorld) -> None:
    assert world.gateway is not None
    held = [world.gateway._turns.take("events") for _ in range(IN_FLIGHT)]
    for slot in held:
        slot.__enter__()
    status, _, headers = await send(client)
    assert (status, headers["Retry-After"]) == (429, "1")
    held[0].__exit__(None, None, None)
    assert (await send(client))[0] == 202


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (error(403, "Forbidden", "exceeded quota: events"), 429),
        (error(429, "TooManyRequests"), 429),
        (error(404, "NotFound", 'namespaces "shop" not found'), 404),
        (error(422, "Invalid", "spec.data: too long"), 400),
        (error(403, "Forbidden", "cannot create resource"), 503),
        (error(500, "InternalError"), 503),
        (error(0, "Unreachable"), 503),
    ],
)
async def test_what_the_api_server_says_is_passed_on(
    client: Client, world: GatewayWorld, refusal: Exception, status: int
) -> None:
    def refuse(method: str, path: str) -> None:
        if path.endswith("workflowevents"):
            raise refusal

    world.cluster.before = refuse
    found, _, headers = await send(client)
    assert found == status
    assert ("Retry-After" in headers) is (status in (429, 503))


async def test_a_bug_shows_nothing_of_itself(client: Client, world: GatewayWorld) -> None:
    def break_(method: str, path: str) -> None:
        raise RuntimeError("secret thing")

    world.cluster.before = break_
    status, body, _ = await send(client)
    assert status == 500
    assert "secret" not in json.dumps(body)


async def test_other_addresses_are_problems_too(client: Client) -> None:
    assert (await send(client, path="/v1/nope"))[0] == 404
    async with client.get(EVENTS) as answer:
        assert (answer.status, answer.content_type) == (405, "application/problem+json")
        assert answer.headers["Allow"] == "POST"


async def test_it_describes_itself(client: Client, world: GatewayWorld) -> None:
    async with client.get("/openapi.json") as answer:
        document = await answer.json()
    assert set(document["paths"]) == {
        "/v1/namespaces/{namespace}/events",
        "/v1/namespaces/{namespace}/webhooks/{name}",
    }
    event = document["components"]["schemas"]["CloudEvent"]
    assert event["properties"]["id"]["maxLength"] == 256
    assert set(event["required"]) == {"specversion", "id", "source", "type"}
    async with world.serving(webhooks=False) as closed, closed.get("/openapi.json") as answer:
        assert len((await answer.json())["paths"]) == 1


async def test_answers_of_the_api_server_are_remembered_for_a_short_time() -> None:
    world, now = GatewayWorld(), [0.0]
    cluster: Any = world.cluster
    access = Access(cluster, lambda: now[0])

    def asked(path: str) -> int:
        return sum(called == path for _, called in world.cluster.calls)

    for _ in range(3):
        user = await access.user("sender")
        assert user is not None and await access.may_create(user, "shop")
        assert not await access.may_create(user, "other")
        assert await access.user("nobody") is None
    assert (asked(TOKENS), asked(ACCESS)) == (2, 2)
    now[0] = KNOWN_FOR - 1
    await access.user("sender")
    assert asked(TOKENS) == 2
    await access.user("nobody")
    assert asked(TOKENS) == 3
    now[0] = KNOWN_FOR
    await access.user("sender")
    assert asked(TOKENS) == 4


# Webhooks

HOOK = "/v1/namespaces/shop/webhooks/github"
PUSH = json.dumps({"ref": "refs/heads/main"}).encode()


def signed(body: bytes, secret: str = "s3cret", delivery: str = "d-1") -> dict[str, str]:
    """Headers of a delivery as GitHub sends them."""
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": f"sha256={signature}",
        "Content-Type": "application/json",
    }


@pytest.fixture
def github(world: GatewayWorld) -> GatewayWorld:
    world.secret("github", secret="s3cret")
    world.webhook("github", "GitHub", filter="request.body.ref == 'refs/heads/main'")
    return world


async def test_a_delivery_becomes_an_event_once(client: Client, github: GatewayWorld) -> None:
    for _ in range(2):
        status, body, _ = await send(client, PUSH, signed(PUSH), HOOK)
        assert (status, len(body["events"])) == (202, 1)
    (spec,) = github.events
    assert (spec["source"], spec["id"], spec["type"]) == ("/webhooks/github", "d-1", "github:push")
    assert (await send(client, PUSH, signed(PUSH, delivery="d-2"), HOOK))[0] == 202
    assert len(github.events) == 2


async def test_a_delivery_that_is_filtered_out_is_taken(client: Client, github: GatewayWorld) -> None:
    body = b'{"ref": "refs/heads/x"}'
    assert (await send(client, body, signed(body), HOOK))[:2] == (204, None)
    assert github.events == []


@pytest.mark.parametrize(
    ("headers", "status"), [(signed(PUSH, secret="guess"), 401), ({"Content-Type": "application/json"}, 401)]
)
async def test_a_delivery_that_proves_nothing_is_refused(
    client: Client, github: GatewayWorld, headers: dict[str, str], status: int
) -> None:
    assert (await send(client, PUSH, headers, HOOK))[0] == status
    assert github.events == []


async def test_a_changed_secret_counts_at_once(client: Client, github: GatewayWorld) -> None:
    github.secret("github", secret="new")
    assert (await send(client, PUSH, signed(PUSH), HOOK))[0] == 401
    assert (await send(client, PUSH, signed(PUSH, secret="new"), HOOK))[0] == 202


async def test_what_is_not_set_up_is_not_the_senders_fault(client: Client, github: GatewayWorld) -> None:
    github.webhook("bare", "GitHub")
    github.webhook("wrong", "GitHub", type="${request.nope}")
    github.secret("wrong", secret="s3cret")
    for name in ("bare", "wrong"):
        status, body, _ = await send(client, PUSH, signed(PUSH), f"/v1/namespaces/shop/webhooks/{name}")
        assert (status, "Secret" in body["detail"]) == (503, False)
    assert (await send(client, PUSH, signed(PUSH), "/v1/namespaces/shop/webhooks/none"))[0] == 404
    assert (await send(client, PUSH, signed(PUSH), "/v1/namespaces/shop/webhooks/..%2Fx"))[0] == 404


async def test_a_stripe_delivery_too_old_is_refused(client: Client, world: GatewayWorld) -> None:
    world.secret("stripe", secret="whsec")
    world.webhook("stripe", "Stripe")
    body = json.dumps({"id": "evt_1", "type": "charge.failed"}).encode()
    for age, status in ((0, 202), (301, 401)):
        moment = str(int(NOW.timestamp()) - age)
        signature = hmac.new(b"whsec", moment.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {"Stripe-Signature": f"t={moment},v1={signature}"}
        assert (await send(client, body, headers, "/v1/namespaces/shop/webhooks/stripe"))[0] == status


async def test_webhooks_are_off_unless_asked_for(github: GatewayWorld) -> None:
    async with github.serving(webhooks=False) as client:
        assert (await send(client, PUSH, signed(PUSH), HOOK))[0] == 404
    assert not [path for _, path in github.cluster.calls if "secrets" in path]


def test_the_fake_is_no_more_lenient_than_an_api_server() -> None:
    cluster = FakeCluster()
    cluster.add("workflowevents", "shop", "a")
    with pytest.raises(Exception, match="AlreadyExists"):
        asyncio.run(cluster.call("POST", "/apis/x/namespaces/shop/workflowevents", {"metadata": {"name": "a"}}))
