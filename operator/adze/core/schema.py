"""JSON Schema, checked by jsonschema-rs. A schema can't make the operator fetch anything."""

import operator
import re
from collections.abc import Iterator, Mapping
from itertools import accumulate, count
from typing import Any

import jsonschema_rs
import msgspec

DEEPEST = 64
"""Levels of nesting of a JSON value that adze takes: deeper ones end in a RecursionError somewhere, some day."""


def nested_deeper(value: Any, levels: int) -> bool:
    """Whether a JSON value has more levels of objects and arrays."""
    level = [value]
    for _ in range(levels + 1):
        level = [
            member
            for item in level
            if isinstance(item, dict | list)
            for member in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


def json_size(value: Any) -> int:
    """Bytes of a value as JSON."""
    return len(msgspec.json.encode(value))


def nul(value: Any) -> str | None:
    """Where a JSON value has a text, or a name, with a NUL character; None if nowhere. CEL would cut it there."""
    if b"\\u0000" not in msgspec.json.encode(value):
        return None
    return next(_nuls(value, ""), None)


def _nuls(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, str) and "\0" in value:
        yield place or "."
    elif isinstance(value, Mapping):
        for name, member in value.items():
            shown = repr(name) if "\0" in name else name
            inner = f"{place}.{shown}" if place else shown
            yield from [inner] if "\0" in name else _nuls(member, inner)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield from _nuls(member, f"{place}[{index}]")


def unfit(value: Any) -> str | None:
    """What keeps a JSON value from expressions, as words to follow its name; None if nothing does."""
    if nested_deeper(value, DEEPEST):
        return f"is nested more than {DEEPEST} levels deep"
    place = nul(value)
    return place and f"has a NUL character, which expressions can't read: at {place}"


_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_STEPS = bytes.maketrans(b"[{]}", b"\2\2\0\0")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def json_nested_deeper(text: bytes, levels: int) -> bool:
    """Whether a JSON text has more levels. Ask before decoding: a text that nests deep enough ends the process.


    Linear in the text. Of a text that isn't JSON it says something, which the decoder then doesn't get to.
    """
    brackets = _TEXT.sub(b"", text).translate(_STEPS, _NOT_BRACKETS)
    # Two for each that opens, less one for each there is: how many are open.
    return max(map(operator.sub, accumulate(brackets), count(1)), default=0) > levels


class SchemaError(ValueError):
    """A schema that isn't one."""


class Mismatch(ValueError):
    """A value that breaks a schema; the text names the place in the value."""


def _refuse(uri: str) -> Any:
    raise ValueError(f"$ref to {uri} is refused: only references within the schema (#/…) are followed")


class Validator:
    """A compiled JSON Schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        try:
            self._validator = jsonschema_rs.validator_for(dict(schema), retriever=_refuse)
        except ValueError as error:
            raise SchemaError(str(error).splitlines()[0]) from None
        self._defaults = {
            name: member["default"] for name, member in _properties(schema).items() if "default" in member
        }

    def fill(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """`value` with the defaults of top-level properties filled in."""
        return {**self._defaults, **value}

    def check(self, value: Mapping[str, Any], root: str) -> dict[str, Any]:
        """`value` filled in; Mismatch if it breaks the schema."""
        filled = self.fill(value)
        for error in self._validator.iter_errors(filled):
            path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
            raise Mismatch(f"{root}{path}: {error.message}")
        return filled


def typed(schema: Mapping[str, Any] | None) -> Mapping[str, Mapping[str, Any]]:
    """The properties of a valid object schema whose value and type can be relied on: required, or with a default."""
    properties = _properties(schema)
    required = (schema or {}).get("required") or ()
    return {name: member for name, member in properties.items() if name in required or "default" in member}


def closed_fields(schema: Mapping[str, Any] | None) -> frozenset[str] | None:
    """The property names of a schema that allows no others, or None."""
    if schema and schema.get("additionalProperties") is False and "patternProperties" not in schema:
        return frozenset(_properties(schema))
    return None


def _properties(schema: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """The properties that are themselves objects; anything else is for the validator to complain about."""
    properties = (schema or {}).get("properties")
    if not isinstance(properties, Mapping):
        return {}
    return {name: member for name, member in properties.items() if isinstance(member, Mapping)}
