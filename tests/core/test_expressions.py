"""CEL in fields that are an expression."""

from collections.abc import Mapping
from typing import Any

import pytest

from adze.core import expressions
from adze.core.expressions import BOOL, DYN, INT, OBJECT, STRING, ExpressionError, Scope, fields_read, type_of
from adze.core.expressions import variable as cel_name

VARIABLES = {
    "input": OBJECT,
    "input.age": INT,
    "input.plan": STRING,
    "input.flag": BOOL,
    "run.name": STRING,
    **{cel_name("send-email", member): kind for member, kind in (("output", OBJECT), ("phase", STRING))},
    "steps.a.output": OBJECT,
    "steps.a.phase": STRING,
    "steps.a.error": STRING,
}
SCOPE = Scope(VARIABLES, known_steps=frozenset({"a", "send-email", "later", "much-later"}))
VALUES: dict[str, Any] = {
    "input": {"age": 41, "plan": "pro", "flag": False, "tags": ["x", "y"], "dash-ed": 1},
    "input.age": 41,
    "input.plan": "pro",
    "input.flag": False,
    "run.name": "hello-1",
    "steps.send_email.output": {"id": 7},
    "steps.send_email.phase": "Succeeded",
    "steps.a.output": {"ok": True, "sum": 3},
    "steps.a.phase": "Skipped",
    "steps.a.error": "",
}


class Asked(dict[str, Any]):
    """Values that remember which of them were asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.names.add(name)
        return super().__getitem__(name)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("input.age > 40", True),
        ("input.plan == 'pro' && steps.a.output.ok", True),
        ("steps.send-email.output.id", 7),
        ("steps.send-email.output.id - 1", 6),
        ("steps.send-email.phase == 'Succeeded'", True),
        ("'steps.send-email is ' + run.name", "steps.send-email is hello-1"),
        ("input['dash-ed']", 1),
        ("size(input.tags)", 2),
        ("input.tags.map(tag, tag + '!')", ["x!", "y!"]),
        ("has(input.nothing)", False),
        ("has(input.age) ? input.age : 0", 41),
        ("has(input.flag)", True),
        ("steps.a.output.sum + 1", 4),
        ("{'total': steps.a.output.sum}", {"total": 3}),
        ("input . age", 41),
        ('input.plan + "\'"', "pro'"),
        ("input.age // the user's", 41),
    ],
)
def test_expressions_give_plain_values(source: str, wanted: Any) -> None:
    assert SCOPE.program(source)(VALUES) == wanted


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("run.name", {"run.name"}),
        ("'input.age' + run.name", {"run.name"}),
        ('"steps.a.output" + run.name', {"run.name"}),
        ("steps.a.phase == 'Skipped'", {"steps.a.phase"}),
        ("1 + 1", set()),
    ],
)
def test_only_what_an_expression_names_is_asked_for(source: str, asked: set[str]) -> None:
    values = Asked(VALUES)
    SCOPE.program(source)(values)
    assert values.names == asked


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("inputs.age", "1:7", "unknown name 'inputs'"),
        ("1 + wat", "1:5", "here are known: input, run, steps"),
        ("steps.nobody.output", "1:13", "there is no step 'nobody'"),
        ("steps.no-body.output.x", "1:21", "there is no step 'no-body'"),
        ("steps.later.output.x", "1:19", "step 'later' is not upstream of this one: add it to parents"),
        ("steps.much-later.phase", "1:17", "step 'much-later' is not upstream"),
        ("steps.a.result", "1:8", "a step has output, phase and error, not 'result'"),
        ("steps.send-email.result", "1:17", "a step has output, phase and error"),
        ("run.nam", "1:4", "run has no 'nam' here; it has name"),
        ("input.age > 'x'", "1:11", "no matching overload"),
        ("steps.send-email.output.id >", "1:29", "Syntax error"),
        ("input.plan ==\n  5", "1:12", "no matching overload"),
        ("true ||\n  wat", "2:3", "unknown name 'wat'"),
    ],
)
def test_what_does_not_compile_says_where_and_why(source: str, place: str, words: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        SCOPE.program(source)
    assert words in str(refused.value)
    assert refused.value.place == place


@pytest.mark.parametrize("source", ["input.age", "'yes'", "[true]", "{'a': true}"])
def test_a_condition_must_give_a_bool(source: str) -> None:
    with pytest.raises(ExpressionError, match="must give bool, not"):
        SCOPE.program(source, BOOL)


@pytest.mark.parametrize("source", ["true", "input.age > 1", "steps.a.output.ok", "input.other"])
def test_a_condition_may_be_dynamic(source: str) -> None:
    assert SCOPE.program(source, BOOL).source == source


@pytest.mark.parametrize(
    "source",
    [
        "input.nothing",
        "steps.a.output.missing.deeper",
        "1 / (input.age - 41)",
        "input.tags[5]",
        "9223372036854775807 + input.age",
        "int(input.plan)",
        "input.tags + 5",
        "type(1)",
        "{true: 1}",
        "[type(input)]",
    ],
)
def test_what_fails_when_evaluated_is_an_expression_error_that_shows_the_source(source: str) -> None:
    program = SCOPE.program(source)
    with pytest.raises(ExpressionError) as failed:
        program(VALUES)
    assert source in str(failed.value)


@pytest.mark.parametrize("number", [2**63, 2**64, 2**80, -(2**70)])
def test_a_number_that_cel_cannot_hold_is_an_expression_error_at_most(number: int) -> None:
    program = SCOPE.program("input.n == 1")
    try:
        assert program({"input": {"n": number}}) is False
    except ExpressionError as error:
        assert "input.n" in str(error)


@pytest.mark.parametrize("source", ["{1: 2}", "b'abc'", "timestamp('2026-01-01T00:00:00Z')", "0.0 / 0.0"])
def test_what_leaves_cel_is_json(source: str) -> None:
    answer = SCOPE.program(source)(VALUES)
    assert isinstance(expressions.as_text(answer), str)
    assert isinstance(answer, str | float | dict)


def test_a_variable_without_a_value_fails_the_expression() -> None:
    with pytest.raises(ExpressionError):
        SCOPE.program("steps.a.output.ok")({})


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        ({"type": "string"}, STRING),
        ({"type": "integer"}, INT),
        ({"type": "boolean"}, BOOL),
        ({"type": "object", "properties": {}}, OBJECT),
        ({"type": "number"}, DYN),
        ({"type": ["string", "null"]}, DYN),
        ({"enum": ["a"]}, DYN),
        ({}, DYN),
    ],
)
def test_json_types_become_cel_types(schema: dict[str, Any], wanted: Any) -> None:
    assert type_of(schema) == wanted


def test_a_list_keeps_the_type_of_its_items() -> None:
    scope = Scope({"input.ids": type_of({"type": "array", "items": {"type": "integer"}})})
    assert scope.program("input.ids.exists(id, id > 2)", BOOL)({"input.ids": [1, 3]}) is True
    with pytest.raises(ExpressionError, match="no matching overload"):
        scope.program("input.ids.exists(id, id == 'x')")


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("input.a + input.b", [("a", "1:1"), ("b", "1:11")]),
        ("'input.a' + input.b", [("b", "1:13")]),
        ("true &&\n input.c", [("c", "2:2")]),
        ("my.input.a + inputs.b + input['c']", []),
        ("input.all(k, k != '') && input.size() > 1", []),
        ("has(input.d)", [("d", "1:5")]),
    ],
)
def test_fields_read_by_dot_are_found_with_their_place(source: str, wanted: list[tuple[str, str]]) -> None:
    assert list(fields_read(source, "input")) == wanted


def test_only_a_step_at_the_root_loses_its_dashes() -> None:
    assert SCOPE.program("input.steps.n-1")({"input": {"steps": {"n": 3}}}) == 2
