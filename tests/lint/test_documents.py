"""YAML as Kubernetes reads it, each document by itself."""

from typing import Any

import pytest

from adze.lint.documents import MOST_VALUES, Document, dump, parse, read
from adze.lint.finding import Finding


def value(text: str) -> Any:
    (item,) = [item for item in parse("f.yaml", text) if isinstance(item, Document)]
    return item.value


def findings(text: str) -> list[tuple[int, int, str, str]]:
    found = [item for item in parse("f.yaml", text) if isinstance(item, Finding)]
    return [(item.place.line, item.place.column, item.rule, item.message) for item in found]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a: yes", True),
        ("a: n", False),
        ("a: on", True),
        ("a: true", True),
        ('a: "yes"', "yes"),
        ("a: 2024-01-01", "2024-01-01"),
        ("a: 12:30", "12:30"),
        ("a: 1e3", 1000.0),
        ("a: 1.5", 1.5),
        ("a: .5", 0.5),
        ("a: 0755", 493),
        ("a: 0x1F", 31),
        ("a: -7", -7),
        ("a: 1_000", 1000),
        ("a: 1.2.3", "1.2.3"),
        ("a: ~", None),
        ("a:", None),
        ("a: [1, {b: c}]", [1, {"b": "c"}]),
        ("x: &x {b: 1}\na: {<<: *x, c: 2}", {"b": 1, "c": 2}),
        ("a: |\n  one\n  two\n", "one\ntwo\n"),
    ],
)
def test_a_scalar_is_what_kubectl_makes_of_it(text: str, wanted: Any) -> None:
    assert value(text)["a"] == wanted


def test_keys_are_texts_as_in_json() -> None:
    assert value("{1: a, on: b, no: c}") == {"1": "a", "true": "b", "false": "c"}
    assert [found[:3] for found in findings("{1: a, on: b}")] == [(1, 8, "boolean-key")]


def test_a_broken_document_does_not_hide_the_others() -> None:
    text = "a: 1\n---\nb: [1, 2\n---\n# nothing but a comment\n---\n--- # and more\nc: }\n---\nd: 4\n"
    items = list(parse("f.yaml", text))
    assert [item.value for item in items if isinstance(item, Document)] == [{"a": 1}, {"d": 4}]
    assert [(line, rule) for line, _, rule, _ in findings(text)] == [(4, "yaml"), (8, "yaml")]
    assert [item.first_line for item in items if isinstance(item, Document)] == [1, 9]


@pytest.mark.parametrize(
    ("text", "where", "rule", "what"),
    [
        ("a: 1\nb: 2\na: 3", (3, 1), "duplicate-key", "'a' is there twice"),
        ("a: .nan", (1, 4), "yaml", "no such number"),
        ("a: &a [*a]", (1, 4), "yaml", "contains itself"),
        ("[a]: 1", (1, 1), "yaml", "a key must be a text"),
        ("a: !!python/object:os.system {}", (1, 4), "yaml", "could not determine a constructor"),
        ("a: *nowhere", (1, 4), "yaml", "undefined alias"),
        ("\ta: 1", (1, 1), "yaml", "cannot start any token"),
        ("a: " + "[" * 3000, (1, 1), "yaml", ""),
    ],
)
def test_what_is_no_json_is_told_with_its_place(text: str, where: tuple[int, int], rule: str, what: str) -> None:
    ((line, column, found, message),) = findings(text)
    assert found == rule
    assert what in message
    assert (line, column) == where or not what


def test_aliases_do_not_unfold_without_bound() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    ((_, _, rule, message),) = findings("\n".join(rows))
    assert rule == "yaml"
    assert str(MOST_VALUES) in message


def test_a_file_that_is_no_text(tmp_path: Any) -> None:
    file = tmp_path / "picture.yaml"
    file.write_bytes(b"\x89PNG\r\n\x1a\n")
    (found,) = read(str(file))
    assert isinstance(found, Finding)
    assert found.message == "is not YAML: byte 0 is not UTF-8 text"
    (missing,) = read(str(tmp_path / "none.yaml"))
    assert isinstance(missing, Finding)
    assert missing.message == "can't be read: No such file or directory"


def test_what_is_dumped_is_read_as_it_was() -> None:
    plain = {
        "n": "y",
        "on": ["1e3", "0755", "12:30", "2024-01-01", "~", "null", ".5", "é", ""],
        "x": [1, 1.5, True, None],
    }
    assert value(dump(plain)) == plain
    assert findings(dump(plain)) == []
