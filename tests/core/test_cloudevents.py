"""CloudEvents over HTTP: three modes, JSON data, and refusals that name the field."""

import json
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from hypothesis import given
from hypothesis import strategies as st

from adze.core import cloudevents, names
from adze.core.cloudevents import BATCH, STRUCTURED, Rejected
from adze.core.model import EventSpec

WHOLE = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "user:created"}
HEADERS = {f"ce-{name}": value for name, value in WHOLE.items()}
JSON = {"content-type": "application/json"}


def structured(value: Any, kind: str = STRUCTURED) -> list[EventSpec]:
    return cloudevents.parse({"content-type": kind}, json.dumps(value).encode())


def binary(body: bytes = b'{"a": 1}', kind: str = "application/json", **headers: str) -> list[EventSpec]:
    return cloudevents.parse({"content-type": kind, **HEADERS, **headers}, body)


def rejected(headers: dict[str, str], body: bytes) -> tuple[int, str, str]:
    with pytest.raises(Rejected) as refused:
        cloudevents.parse(headers, body)
    return refused.value.status, refused.value.field, str(refused.value)


def test_an_event_in_structured_mode() -> None:
    rest = {"subject": "ada", "time": "2026-03-01T12:00:00Z", "dataschema": "urn:user", "data": {"plan": "pro"}}
    (spec,) = structured({**WHOLE, **rest, "datacontenttype": "application/json", "traceparent": "00-ab", "level": 7})
    assert msgspec.to_builtins(spec) == {
        "source": "/shop",
        "id": "1",
        "type": "user:created",
        "subject": "ada",
        "time": "2026-03-01T12:00:00Z",
        "dataSchema": "urn:user",
        "extensions": {"traceparent": "00-ab", "level": "7"},
        "data": {"plan": "pro"},
    }


def test_an_event_in_binary_mode() -> None:
    (spec,) = binary(**{"ce-subject": "%C3%A4%20b", "ce-traceparent": "00-ab"})
    assert (spec.subject, spec.extensions, spec.data) == ("ä b", {"traceparent": "00-ab"}, {"a": 1})
    (empty,) = binary(b"", kind="")
    assert empty.data is None


def test_events_in_a_batch() -> None:
    specs = structured([WHOLE, {**WHOLE, "id": "2"}], BATCH)
    assert [spec.id for spec in specs] == ["1", "2"]
    assert structured([], BATCH) == []


CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")


@given(
    attributes=st.fixed_dictionaries(
        {name: st.text(CHARACTERS, min_size=1, max_size=40) for name in ("id", "source", "type", "subject")}
    ),
    data=st.dictionaries(
        st.text(CHARACTERS, max_size=5), st.integers(-(2**50), 2**50) | st.text(CHARACTERS) | st.booleans() | st.none()
    ),
)
def test_what_the_official_sdk_sends_arrives_in_both_modes(attributes: dict[str, str], data: dict[str, Any]) -> None:
    event = SdkEvent(attributes={**attributes, "specversion": "1.0", "datacontenttype": "application/json"}, data=data)
    for message in (to_structured_event(event), to_binary_event(event)):
        headers = {name.lower(): value for name, value in message.headers.items()}
        (spec,) = cloudevents.parse(headers, message.body)
        found = {"id": spec.id, "source": spec.source, "type": spec.type, "subject": spec.subject}
        assert found == attributes
        assert (spec.data or {}) == data


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"id": None}, 400, "id"),
        ({"id": ""}, 400, "id"),
        ({"id": 7}, 400, "id"),
        ({"id": "x" * 257}, 400, "id"),
        ({"source": "x" * 1025}, 400, "source"),
        ({"type": ""}, 400, "type"),
        ({"specversion": "0.3"}, 400, "specversion"),
        ({"time": "yesterday"}, 400, "time"),
        ({"time": "2026-03-01T12:00:00"}, 400, "time"),
        ({"data": [1]}, 400, "data"),
        ({"data": "text"}, 400, "data"),
        ({"data_base64": "AA=="}, 415, "data_base64"),
        ({"datacontenttype": "text/plain", "data": {}}, 415, "datacontenttype"),
        ({"Trace-Parent": "x"}, 400, "Trace-Parent"),
        ({"trace": {"a": 1}}, 400, "trace"),
        ({"trace": "x" * 1025}, 400, "trace"),
    ],
)
def test_a_wrong_attribute_is_named(change: dict[str, Any], status: int, field: str) -> None:
    value = {name: member for name, member in {**WHOLE, **change}.items() if name not in change or member is not None}
    headers = {"content-type": STRUCTURED}
    assert rejected(headers, json.dumps(value).encode())[:2] == (status, field)
    found = rejected({"content-type": BATCH}, json.dumps([WHOLE, value]).encode())
    assert found[:2] == (status, f"[1].{field}")


@pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
def test_a_missing_attribute_is_named(name: str) -> None:
    value = {key: member for key, member in WHOLE.items() if key != name}
    assert rejected({"content-type": STRUCTURED}, json.dumps(value).encode())[:2] == (400, name)
    headers = {key: member for key, member in HEADERS.items() if key != f"ce-{name}"}
    assert rejected({"content-type": "application/json", **headers}, b"{}")[:2] == (400, f"ce-{name}")


@pytest.mark.parametrize(
    ("headers", "body", "status", "field"),
    [
        ({"content-type": STRUCTURED}, b"", 400, "body"),
        ({"content-type": STRUCTURED}, b"{", 400, "body"),
        ({"content-type": STRUCTURED}, b'"\xff"', 400, "body"),
        ({"content-type": STRUCTURED}, b"[]", 400, "body"),
        ({"content-type": STRUCTURED}, b"[" * 200_000, 400, "body"),
        ({"content-type": STRUCTURED}, b"[" * 100 + b"]" * 100, 400, "body"),
        ({"content-type": BATCH}, b"{}", 400, "body"),
        ({"content-type": BATCH}, b"[7]", 400, "[0]"),
        ({"content-type": BATCH}, json.dumps([WHOLE] * 101).encode(), 413, "body"),
        ({"content-type": "application/cloudevents+xml"}, b"<a/>", 415, "Content-Type"),
        ({"content-type": "application/json"}, b"{}", 400, "ce-specversion"),
        ({}, b"", 415, "ce-specversion"),
        ({"content-type": "text/plain", **HEADERS}, b"hello", 415, "Content-Type"),
        ({"content-type": "application/json", **HEADERS, "ce-data": "x"}, b"{}", 400, "ce-data"),
        ({"content-type": "application/json", **HEADERS, "ce-subject": "\udcff"}, b"{}", 400, "ce-subject"),
    ],
)
def test_a_request_that_holds_no_event_is_refused(
    headers: dict[str, str], body: bytes, status: int, field: str
) -> None:
    assert rejected(headers, body)[:2] == (status, field)


def test_data_may_nest_as_deep_as_an_input() -> None:
    def nested(levels: int) -> Any:
        value: Any = 1
        for _ in range(levels):
            value = {"a": value}
        return value

    assert structured({**WHOLE, "data": nested(64)})
    body = json.dumps({**WHOLE, "data": nested(65)}).encode()
    assert rejected({"content-type": STRUCTURED}, body)[:2] == (400, "data")


@pytest.mark.parametrize(
    ("headers", "body", "field"),
    [
        ({"content-type": STRUCTURED}, {**WHOLE, "data": {"a": "x\0y"}}, "data.a"),
        ({"content-type": STRUCTURED}, {**WHOLE, "subject": "x\0y"}, "subject"),
        ({"content-type": BATCH}, [WHOLE, {**WHOLE, "id": "x\0y"}], "[1].id"),
        ({**HEADERS, **JSON, "ce-subject": "x%00y"}, {"a": 1}, "ce-subject"),
        ({**HEADERS, **JSON}, {"a": "\0"}, "a"),
        ({**HEADERS, **JSON}, "\0", "."),
    ],
)
def test_a_nul_is_refused(headers: dict[str, str], body: Any, field: str) -> None:
    assert rejected(headers, json.dumps(body).encode())[:2] == (400, field)


def test_the_object_has_its_name_from_source_and_id() -> None:
    (spec,) = structured({**WHOLE, "data": {"a": 1}})
    manifest = cloudevents.manifest(spec, "shop")
    assert manifest["metadata"] == {"name": names.event("/shop", "1"), "namespace": "shop"}
    assert manifest["spec"] == {"source": "/shop", "id": "1", "type": "user:created", "data": {"a": 1}}
    assert len(manifest["metadata"]["name"]) <= 63


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"time": "2026-03-01T12:00:00Z"}, True),
        ({"traceparent": "00-cd"}, True),
        ({"data": {"n": 5.0, "big": 123456789012345678901234567890}}, True),
        ({"data": {"n": 6, "big": 1.2345678901234568e29}}, False),
        ({"data": {"n": True, "big": 1.2345678901234568e29}}, False),
        ({"type": "user:deleted"}, False),
        ({"subject": "ada"}, False),
    ],
)
def test_a_repeat_tells_the_same(change: dict[str, Any], same: bool) -> None:
    whole = {**WHOLE, "data": {"n": 5, "big": 1.2345678901234568e29}}
    (one,), (other,) = structured(whole), structured({**whole, **change})
    assert cloudevents.same(one, other) is same
