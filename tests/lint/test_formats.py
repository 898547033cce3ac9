"""Findings for people, for programs, for code hosts."""

import json

from adze.lint.finding import RULES, WARNINGS, Finding, Place
from adze.lint.formats import FORMATS, as_json, as_sarif, as_text

FOUND = [
    Finding("a.yaml", Place(3, 7), "schema", "is wrong", "spec.steps[a]"),
    Finding("b.yaml", Place(), "loose-image", "is loose"),
]


def test_text_has_a_line_for_each() -> None:
    assert as_text(FOUND) == (
        "a.yaml:3:7: error: spec.steps[a]: is wrong [schema]\nb.yaml:1:1: warning: is loose [loose-image]"
    )


def test_json_has_an_object_for_each() -> None:
    assert json.loads(as_json(FOUND))[0] == {
        "file": "a.yaml",
        "line": 3,
        "column": 7,
        "severity": "error",
        "rule": "schema",
        "field": "spec.steps[a]",
        "message": "is wrong",
    }


def test_sarif_refers_to_rules_that_it_lists() -> None:
    log = json.loads(as_sarif(FOUND))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == list(RULES)
    assert [rules[result["ruleIndex"]] for result in run["results"]] == [found.rule for found in FOUND]
    assert [result["level"] for result in run["results"]] == ["error", "warning"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "a.yaml"}, "region": {"startLine": 3, "startColumn": 7}}


def test_nothing_found_is_still_a_document() -> None:
    assert [FORMATS[form]([]) for form in ("text", "json")] == ["", "[]"]
    assert json.loads(as_sarif([]))["runs"][0]["results"] == []


def test_each_warning_is_a_rule() -> None:
    assert set(RULES) >= WARNINGS
