"""Findings for people, for programs, and for code hosts."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from adze import __version__
from adze.lint.finding import RULES, Finding


def as_text(findings: Sequence[Finding]) -> str:
    """file:line:column: severity: field: message [rule]"""
    return "\n".join(
        f"{found.file}:{found.place.line}:{found.place.column}: {found.severity}: "
        f"{f'{found.field}: ' if found.field else ''}{found.message} [{found.rule}]"
        for found in findings
    )


def as_json(findings: Sequence[Finding]) -> str:
    """A list of objects."""
    return _json(
        [
            {
                "file": found.file,
                "line": found.place.line,
                "column": found.place.column,
                "severity": found.severity.value,
                "rule": found.rule,
                "field": found.field,
                "message": found.message,
            }
            for found in findings
        ]
    )


def as_sarif(findings: Sequence[Finding]) -> str:
    """SARIF 2.1.0, which code hosts show beside the lines."""
    rules = [{"id": rule, "shortDescription": {"text": text}} for rule, text in RULES.items()]
    driver = {"name": "adze lint", "version": __version__, "rules": rules}
    return _json(
        {
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{"tool": {"driver": driver}, "results": [_result(found) for found in findings]}],
        }
    )


def _result(found: Finding) -> dict[str, Any]:
    region = {"startLine": found.place.line, "startColumn": found.place.column}
    return {
        "ruleId": found.rule,
        "ruleIndex": list(RULES).index(found.rule),
        "level": found.severity.value,
        "message": {"text": f"{found.field}: {found.message}" if found.field else found.message},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": found.file}, "region": region}}],
    }


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode()


FORMATS: dict[str, Callable[[Sequence[Finding]], str]] = {"text": as_text, "json": as_json, "sarif": as_sarif}
"""Name to format."""
