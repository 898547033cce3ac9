"""A run's input from the command line."""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from adze.cli.exits import BadInput


def read_input(pairs: Iterable[str], file: str | None, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """The JSON object of `--input-file` with each `--input NAME=VALUE` over it.

    A value is JSON, or else a text; where the schema wants a text it's taken as it stands.
    """
    given = _from_file(file) if file else {}
    properties = (schema or {}).get("properties")
    named: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise BadInput(f"--input {pair}: NAME=VALUE is expected")
        if name in named:
            raise BadInput(f"--input {name} is given twice")
        wanted = properties.get(name) if isinstance(properties, Mapping) else None
        named[name] = _value(text, wanted.get("type") if isinstance(wanted, Mapping) else None)
    return {**given, **named}


def _value(text: str, kind: Any) -> Any:
    if kind == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _from_file(file: str) -> dict[str, Any]:
    from adze.lint.documents import Document, parse

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--input-file {file}: {getattr(error, 'strerror', None) or 'is not UTF-8 text'}") from None
    found = list(parse(file, text))
    if len(found) != 1 or not isinstance(found[0], Document) or not isinstance(found[0].value, dict):
        broken = next((item.message for item in found if not isinstance(item, Document)), None)
        raise BadInput(f"--input-file {file}: {broken or 'one JSON or YAML object is expected'}")
    value: dict[str, Any] = found[0].value
    return value
