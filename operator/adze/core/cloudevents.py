"""CloudEvents over HTTP, version 1.0: structured, binary and batch mode, with JSON data.

The rules are those of github.com/cloudevents/spec: the JSON event format, and the HTTP protocol binding.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec import Meta

from adze.core import names
from adze.core.model import API_VERSION, EventSpec, Time
from adze.core.schema import DEEPEST, json_nested_deeper, nested_deeper, nul

T = TypeVar("T")

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

BODY_LIMIT = 256 * 1024
"""Bytes of a request: one event, or all of a batch."""
BATCH_LIMIT = 100
"""Events of a batch."""
EXTENSIONS_LIMIT = 32

_JSON = re.compile(r"application/([\w.+-]+\+)?json|text/json")
_EXTENSION = re.compile(r"[a-z0-9]{1,64}")
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<field>[^`]*)`)?$")


class Rejected(ValueError):
    """A request that no event can be made of: the HTTP status, the field and why."""

    def __init__(self, field: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.field = field
        self.status = status


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event in structured mode. Further members are extension attributes: texts, numbers or booleans."""

    specversion: Annotated[Literal["1.0"], Meta(description="Version of CloudEvents.")]
    id: Annotated[str, Meta(description="Unique for its source.", min_length=1, max_length=256)]
    source: Annotated[str, Meta(description="Where it happened.", min_length=1, max_length=1024)]
    type: Annotated[str, Meta(description="What happened.", min_length=1, max_length=256)]
    subject: Annotated[str, Meta(description="What of the source it is about.", max_length=1024)] | None = None
    time: Annotated[str, Meta(description="When it happened, RFC 3339.", max_length=64)] | None = None
    datacontenttype: Annotated[str, Meta(description="A JSON media type.", max_length=256)] | None = None
    dataschema: Annotated[str, Meta(description="URI of the data's schema.", max_length=1024)] | None = None
    data: Annotated[dict[str, Any], Meta(description="What is to be told: a JSON object.")] | None = None


_KNOWN = frozenset(CloudEvent.__struct_fields__)


def parse(headers: Mapping[str, str], body: bytes) -> list[EventSpec]:
    """The events of a request; header names in lower case. Rejected names the field that is wrong."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == STRUCTURED:
        return [_event(json_body(body), "")]
    if kind == BATCH:
        return list(_batch(json_body(body)))
    if kind.startswith("application/cloudevents"):
        raise Rejected("Content-Type", f"{kind} is not taken; send {STRUCTURED} or {BATCH}", 415)
    if "ce-specversion" not in headers:
        message = (
            f"no CloudEvent: send {STRUCTURED}, {BATCH}, or the headers ce-specversion, ce-id, ce-source and ce-type"
        )
        raise Rejected("ce-specversion", message, 400 if _JSON.fullmatch(kind) else 415)
    attributes: dict[str, Any] = {
        name.removeprefix("ce-"): _header(name, value) for name, value in headers.items() if name.startswith("ce-")
    }
    for name in ("data", "datacontenttype"):
        if name in attributes:
            raise Rejected(f"ce-{name}", "is no attribute in binary mode")
    if body:
        if not _JSON.fullmatch(kind):
            raise Rejected("Content-Type", f"{kind or 'no media type'}: only JSON data is taken", 415)
        attributes["data"] = json_body(body)
    return [_event(attributes, "ce-")]


def _header(name: str, value: str) -> str:
    """The text of a header: what isn't ASCII is percent-encoded UTF-8."""
    if not value.isascii():
        raise Rejected(name, "percent-encode what isn't ASCII")
    if "\0" in (text := unquote(value)):
        raise Rejected(name, "has a NUL character, which expressions can't read")
    return text


def json_body(body: bytes) -> Any:
    """The JSON of a body; Rejected if there's none, if it's nested too deep, or holds a NUL."""
    # Two more than data: a batch and the event around it.
    if json_nested_deeper(body, DEEPEST + 2):
        raise Rejected("body", f"not JSON, or nested more than {DEEPEST} levels deep")
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected("body", f"not JSON: {error}") from None
    if place := nul(value):
        raise Rejected(place, "has a NUL character, which expressions can't read")
    return value


def _batch(value: Any) -> Iterator[EventSpec]:
    if not isinstance(value, list):
        raise Rejected("body", "a batch is a JSON array of events")
    if len(value) > BATCH_LIMIT:
        raise Rejected("body", f"{len(value)} events; a batch has at most {BATCH_LIMIT}", 413)
    for index, item in enumerate(value):
        yield _event(item, f"[{index}].")


def _event(value: Any, place: str) -> EventSpec:
    """`place` leads to the event's attributes within the request."""
    if not isinstance(value, dict):
        raise Rejected(place.rstrip(".") or "body", "an event is a JSON object")
    if "data_base64" in value:
        raise Rejected(f"{place}data_base64", "only JSON data is taken", 415)
    found = checked({name: member for name, member in value.items() if name in _KNOWN}, CloudEvent, place)
    content = (found.datacontenttype or "application/json").partition(";")[0].strip().lower()
    if found.data is not None and not _JSON.fullmatch(content):
        raise Rejected(f"{place}datacontenttype", f"{content}: only JSON data is taken", 415)
    if found.time is not None:
        _check_time(found.time, f"{place}time")
    if nested_deeper(found.data, DEEPEST):
        raise Rejected(f"{place}data", f"nested more than {DEEPEST} levels deep")
    return EventSpec(
        source=found.source,
        id=found.id,
        type=found.type,
        subject=found.subject,
        time=found.time,
        data_schema=found.dataschema,
        extensions=_extensions(value, place),
        data=found.data,
    )


def _check_time(text: str, field: str) -> None:
    try:
        msgspec.convert(text, Time)
    except msgspec.ValidationError:
        raise Rejected(field, f"{text!r} is no RFC 3339 time with a time zone") from None


def _extensions(value: Mapping[str, Any], place: str) -> dict[str, str] | None:
    found = {name: member for name, member in value.items() if name not in _KNOWN and member is not None}
    if len(found) > EXTENSIONS_LIMIT:
        raise Rejected(place.rstrip(".") or "body", f"{len(found)} extension attributes; {EXTENSIONS_LIMIT} are taken")
    for name, member in found.items():
        if not _EXTENSION.fullmatch(name):
            raise Rejected(f"{place}{name[:64]}", "names of attributes are lower-case letters and digits, at most 64")
        if not isinstance(member, str | int | bool) or len(str(member)) > 1024:
            raise Rejected(
                f"{place}{name}", "an attribute is a text of at most 1024 characters, an integer or a boolean"
            )
    # The canonical texts of CloudEvents' types: true, 7.
    return {name: str(m).lower() if isinstance(m, bool) else str(m) for name, m in found.items()} or None


def checked(value: Any, kind: type[T], place: str = "") -> T:
    """`value` as `kind`; Rejected names the field, which `place` leads to."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        text = str(error)
        if missing := re.match(r"Object missing required field `(\w+)`", text):
            raise Rejected(f"{place}{missing[1]}", "is missing") from None
        found = _PLACE.match(text)
        assert found
        field = (found["field"] or "").partition("[")[0]
        raise Rejected(f"{place}{field}" or "body", found["what"]) from None


def manifest(spec: EventSpec, namespace: str) -> dict[str, Any]:
    """The WorkflowEvent of an event: the same name for the same source and id."""
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkflowEvent",
        "metadata": {"name": names.event(spec.source, spec.id), "namespace": namespace},
        "spec": msgspec.to_builtins(spec),
    }


def same(one: EventSpec, other: EventSpec) -> bool:
    """Whether two events of one source and id tell the same. When it was sent and by which path doesn't matter."""
    return _content(one) == _content(other)


def _content(spec: EventSpec) -> tuple[Any, ...]:
    return spec.source, spec.id, spec.type, spec.subject or "", _plain(spec.data or {})


def _plain(value: Any) -> Any:
    """Numbers as floats: JSON doesn't tell 5 from 5.0, and the API server keeps no integer beyond 64 bits."""
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    return float(str(value)) if isinstance(value, int) and not isinstance(value, bool) else value
