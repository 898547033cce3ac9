"""JSON Schema for inputs and outputs."""

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adze.core import schema
from adze.core.schema import Mismatch, SchemaError, Validator, json_nested_deeper, nested_deeper

ORDER = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "integer"},
        "plan": {"type": "string", "default": "free"},
        "items": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
    },
}


def test_defaults_are_filled_in_and_given_values_kept() -> None:
    assert Validator(ORDER).check({"id": 1}, "spec.input") == {"id": 1, "plan": "free"}
    assert Validator(ORDER).check({"id": 1, "plan": "pro", "x": 2}, "spec.input") == {"id": 1, "plan": "pro", "x": 2}


def test_a_default_may_satisfy_required_but_must_itself_match() -> None:
    needed = {"required": ["n"], "properties": {"n": {"type": "integer", "default": 3}}}
    assert Validator(needed).check({}, "input") == {"n": 3}
    with pytest.raises(Mismatch, match=r"input\.n: "):
        Validator({"properties": {"n": {"type": "integer", "default": "three"}}}).check({}, "input")


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({}, "spec.input: "),
        ({"id": "1"}, "spec.input.id: "),
        ({"id": 1, "items": [{}, {"sku": 5}]}, "spec.input.items[1].sku: "),
    ],
)
def test_a_mismatch_names_its_place(value: dict[str, Any], place: str) -> None:
    with pytest.raises(Mismatch) as mismatch:
        Validator(ORDER).check(value, "spec.input")
    assert str(mismatch.value).startswith(place)


@pytest.mark.parametrize(
    "reference", ["http://example.com/schema.json", "https://x", "file:///etc/passwd", "other.json"]
)
def test_a_reference_to_elsewhere_is_refused_and_nothing_is_fetched(reference: str) -> None:
    with pytest.raises(SchemaError, match=r"retrieving it failed"):
        Validator({"properties": {"a": {"$ref": reference}}})


def test_a_reference_within_the_schema_is_followed() -> None:
    validator = Validator({"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}})
    assert validator.check({"a": 1}, "input") == {"a": 1}
    with pytest.raises(Mismatch, match=r"input\.a"):
        validator.check({"a": "1"}, "input")


@pytest.mark.parametrize(
    "broken", [{"type": "thing"}, {"properties": ["a"]}, {"required": 5}, {"pattern": "("}, {"minimum": "low"}]
)
def test_what_is_no_schema_is_refused_on_one_line(broken: dict[str, Any]) -> None:
    with pytest.raises(SchemaError) as refused:
        Validator(broken)
    assert "\n" not in str(refused.value)


def test_a_schema_that_refers_to_itself_ends() -> None:
    """In a process of its own: a stack overflow there would take the tests with it."""
    code = """
from adze.core.schema import Validator, Mismatch
for broken in ({"$ref": "#"}, {"allOf": [{"$ref": "#"}]}, {"not": {"$ref": "#"}}, {"anyOf": [{"$dynamicRef": "#"}]}):
    try:
        Validator(broken).check({"a": 1}, "input")
    except Mismatch:
        pass
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_only_required_and_defaulted_properties_have_a_type_that_can_be_relied_on() -> None:
    assert set(schema.typed(ORDER)) == {"id", "plan"}
    assert schema.typed(None) == {}
    assert schema.typed({"type": "object"}) == {}


def test_fields_are_closed_only_where_the_schema_says_so() -> None:
    assert schema.closed_fields(ORDER) is None
    assert schema.closed_fields({**ORDER, "additionalProperties": False}) == frozenset({"id", "plan", "items"})
    assert schema.closed_fields({**ORDER, "additionalProperties": {"type": "string"}}) is None
    assert schema.closed_fields(None) is None


JSON = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(JSON, st.integers(0, 6))
def test_the_nesting_of_a_text_is_that_of_its_value(value: Any, levels: int) -> None:
    text = json.dumps(value).encode()
    # An empty list is a level of a text, but has nothing in it that would be a level down.
    assert json_nested_deeper(text, levels) >= nested_deeper(value, levels)
    assert json_nested_deeper(text, levels + 1) <= nested_deeper(value, levels)


@pytest.mark.parametrize(
    ("text", "deeper"),
    [
        (b"[" * 250_000, True),
        (b'{"a":' * 50_000, True),
        (b"[" * 67 + b"]" * 67, True),
        (b"[" * 66 + b"]" * 66, False),
        (b"[" + b"[]," * 80_000 + b"[]]", False),
        (b'["' + b'\\"[' * 80_000 + b'"]', False),
        (b'"' + b'\\"' * 120_000, False),
        (b'"' + b"\\" * 120_001, False),
    ],
)
def test_the_nesting_of_a_long_text_is_told_without_decoding_it(text: bytes, deeper: bool) -> None:
    assert json_nested_deeper(text, 66) is deeper
