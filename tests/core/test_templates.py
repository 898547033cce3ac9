"""`${…}` in fields that hold text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adze.core.expressions import DYN, OBJECT, ExpressionError, Scope, as_text, template

SCOPE = Scope({"input": OBJECT, "input.x": DYN})
# A text with a NUL is refused: test_a_text_with_a_nul_is_no_shorter_text.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = {"input": {"name": "Ann", "n": 3, "list": [1, 2], "yes": True, "none": None}, "input.x": "X"}


def fill(value: Any) -> Any:
    return template(value, SCOPE).render(VALUES)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", "plain"),
        ("", ""),
        ("$5 and {braces} and $HOME and $(X)", "$5 and {braces} and $HOME and $(X)"),
        ("Hello ${input.name}!", "Hello Ann!"),
        ("${input.name}${input.name}", "AnnAnn"),
        ("${input.n}", 3),
        ("n=${input.n}", "n=3"),
        ("${input.list}", [1, 2]),
        ("list=${input.list}", "list=[1,2]"),
        ("yes=${input.yes} none=${input.none}", "yes=true none=null"),
        ("${{'a': {'b': 1}}.a.b}", 1),
        ("x ${{'a': 1}} y", 'x {"a":1} y'),
        ("${'}'}", "}"),
        ("${'{'}", "{"),
        ("${\"}\" + '}'}", "}}"),
        (r"${'\'}'}", "'}"),
        ("${'${'}", "${"),
        ("$${input.name}", "${input.name}"),
        ("a $${b} ${input.n} $${c}", "a ${b} 3 ${c}"),
        ("$$ ${input.n} $$", "$$ 3 $$"),
        ("line one\n${input.n}\nline three", "line one\n3\nline three"),
        ("${ input.n }", 3),
        ("${\n  input.n\n}", 3),
    ],
)
def test_a_text_is_filled_in(text: str, wanted: Any) -> None:
    assert fill(text) == wanted


def test_texts_are_found_at_any_depth_and_nothing_else_is_touched() -> None:
    value = {"a": ["${input.n}", {"b": "x${input.n}"}], "c": 5, "d": None, "e": True, "${input.n}": "key"}
    assert fill(value) == {"a": [3, {"b": "x3"}], "c": 5, "d": None, "e": True, "${input.n}": "key"}


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("${", "1:1", "${ has no closing brace"),
        ("abc ${input.n", "1:5", "${ has no closing brace"),
        ("abc ${'}", "1:7", "Syntax error"),
        ("${wat}", "1:3", "unknown name 'wat'"),
        ("abc ${wat}", "1:7", "unknown name 'wat'"),
        ("${input.n} ${wat}", "1:14", "unknown name 'wat'"),
        ("${1 +\n wat}", "2:2", "unknown name 'wat'"),
        ("${}", "1:3", ""),
        ("echo\necho ${wat}", "2:8", "unknown name 'wat'"),
    ],
)
def test_what_does_not_compile_says_where_in_the_text(text: str, place: str, words: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        template(text, SCOPE)
    assert words in str(refused.value)
    assert refused.value.place == place


def test_a_failing_expression_fails_the_whole_text() -> None:
    with pytest.raises(ExpressionError, match=r"input\.nothing"):
        fill({"fine": "${input.n}", "broken": "a ${input.nothing} b"})


def test_as_texts_everything_is_text_and_only_data_is_escaped() -> None:
    filled = template(["$(HOME)/${input.name}", "${input.list}", "$(A)"], SCOPE).texts(VALUES, str.upper)
    assert filled == ["$(HOME)/ANN", "[1,2]", "$(A)"]


NULS: dict[str, Any] = {
    "x": "a\0b",
    "x[1]": ["fine", "\0"],
    "x.y[0].z": {"y": [{"z": "a\0"}]},
    "x.'a\\x00b'": {"a\0b": 1},
}


@pytest.mark.parametrize("place", NULS)
def test_a_text_with_a_nul_is_no_shorter_text(place: str) -> None:
    # The CEL library cuts a text that it is given at a NUL: "a\0b" would equal "a".
    with pytest.raises(ExpressionError) as refused:
        template("${input.x == 'a'}", SCOPE).render({"input.x": NULS[place]})
    wanted = f"input.{place} has a NUL character, which expressions can't read"
    assert str(refused.value) == f"input.x == 'a': {wanted}"
    assert template("${input.x}", SCOPE).render({"input.x": "\\u0000"}) == "\\u0000"


def test_an_expression_may_have_a_nul_of_its_own() -> None:
    assert fill(r"${'a\x00b'}") == "a\0b"
    assert fill("${'a\0b'.size()}") == 3


@given(st.text())
def test_a_text_without_expressions_stays_as_it_is(text: str) -> None:
    quoted = text.replace("${", "$${")
    assert template(quoted, SCOPE).render(VALUES) == text or "$${" in text


@given(st.text(alphabet="${}'\"\\ab "))
def test_any_text_is_filled_in_or_refused_in_words(text: str) -> None:
    try:
        fill(text)
    except ExpressionError as error:
        assert str(error)


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT, st.lists, max_leaves=8))
def test_a_value_passes_through_unchanged(value: Any) -> None:
    assert template("${input.x}", SCOPE).render({"input.x": value}) == value
    assert template("<${input.x}>", SCOPE).render({"input.x": value}) == f"<{as_text(value)}>"
