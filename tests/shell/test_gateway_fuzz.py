"""Whatever is sent, the gateway answers as its OpenAPI document says, and stays up."""

import json
from typing import Any

import jsonschema
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adze.core.model import EventSpec
from tests.shell.gateway_client import BATCH, EVENTS, SENDER, STRUCTURED, WHOLE, GatewayWorld

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
MEMBERS = st.sampled_from(
    [*WHOLE, "subject", "time", "dataschema", "datacontenttype", "data_base64", "traceparent", "X"]
)
EVENT = st.dictionaries(
    MEMBERS, JSON | st.sampled_from(["1.0", "application/json", "2026-03-01T12:00:00Z"]), max_size=6
)
# Most of it is right, so that what is wrong is looked at.
NEARLY = EVENT.map(lambda change: {**WHOLE, **change})
BODY = (NEARLY | st.lists(NEARLY, max_size=3) | JSON).map(lambda value: json.dumps(value).encode()) | st.binary(
    max_size=200
)
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(str.strip)
HEADERS = st.sampled_from([STRUCTURED, BATCH, {**SENDER, "Content-Type": "application/json"}, SENDER]).flatmap(
    lambda base: st.dictionaries(
        st.sampled_from(["ce-id", "ce-source", "ce-type", "ce-specversion", "ce-x", "Content-Type"]), HEADER, max_size=5
    ).map(lambda more: {**more, **base})
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(HEADERS, BODY), min_size=1, max_size=5))
async def test_any_request_has_an_answer_that_is_documented(requests: list[tuple[dict[str, str], bytes]]) -> None:
    world = GatewayWorld()
    async with world.serving() as client:
        document = await (await client.get("/openapi.json")).json()
        responses = document["paths"]["/v1/namespaces/{namespace}/events"]["post"]["responses"]
        for headers, body in requests:
            async with client.post(EVENTS, data=body, headers=headers) as answer:
                assert str(answer.status) in responses, answer.status
                assert answer.status < 500, await answer.text()
                content = responses[str(answer.status)]["content"]
                schema = content[answer.content_type]["schema"]
                jsonschema.validate(
                    await answer.json(content_type=None), {**schema, "components": document["components"]}
                )
    for item in world.events:
        assert msgspec.convert(item, EventSpec), "what is kept can be read again"


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.text(max_size=10), JSON, max_size=4), HEADER)
async def test_any_delivery_has_an_answer(body: dict[str, Any], header: str) -> None:
    world = GatewayWorld()
    world.secret("hook", token="t0k")
    world.webhook(
        "hook", "Bearer", id="${request.headers.x}", data={"a": "${request.body}"}, filter="has(request.body.a)"
    )
    async with world.serving() as client:
        for token, refused in (("t0k", False), (header or "-", True)):
            headers = {"Authorization": f"Bearer {token}", "x": header}
            data = json.dumps(body).encode()
            async with client.post("/v1/namespaces/shop/webhooks/hook", data=data, headers=headers) as answer:
                assert answer.status == 401 if refused else answer.status in (202, 204, 400), await answer.text()
