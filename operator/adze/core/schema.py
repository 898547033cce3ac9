"""JSON Schema, checked by jsonschema-rs. A schema can't make the operator fetch anything."""

from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import msgspec


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
            name: member["default"]
            for name, member in (schema.get("properties") or {}).items()
            if isinstance(member, Mapping) and "default" in member
        }

    def check(self, value: Mapping[str, Any], root: str) -> dict[str, Any]:
        """`value` with the defaults of top-level properties filled in; Mismatch if it breaks the schema."""
        filled = {**self._defaults, **value}
        for error in self._validator.iter_errors(filled):
            path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
            raise Mismatch(f"{root}{path}: {error.message}")
        return filled


def typed(schema: Mapping[str, Any] | None) -> Mapping[str, Mapping[str, Any]]:
    """The required properties of an object schema: those whose value and type can be relied on."""
    if not schema:
        return {}
    properties = schema.get("properties") or {}
    certain = set(schema.get("required") or ()) | {
        name for name, member in properties.items() if isinstance(member, Mapping) and "default" in member
    }
    return {name: member for name, member in properties.items() if name in certain and isinstance(member, Mapping)}


def closed_fields(schema: Mapping[str, Any] | None) -> frozenset[str] | None:
    """The property names of a schema that allows no others, or None."""
    if schema and schema.get("additionalProperties") is False:
        return frozenset(schema.get("properties") or ())
    return None


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal whatever the order of their keys."""
    return msgspec.json.encode(left, order="deterministic") == msgspec.json.encode(right, order="deterministic")
