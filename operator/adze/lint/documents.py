"""YAML as Kubernetes reads it, with the place of every value. One broken document doesn't hide the others."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from adze.lint.finding import Finding, Place

LARGEST = 8 * 1024 * 1024
"""Bytes of a file: no object that Kubernetes takes comes near."""
MOST_VALUES = 200_000
"""Values of a document with its aliases followed, so that a few lines can't unfold into gigabytes."""

_SAFE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SEPARATOR = re.compile(r"^---(?=\s|$)", re.M)
_TAG = "tag:yaml.org,2002:"


class _Loader(_SAFE):  # type: ignore[misc]
    """Scalars as the YAML library of Kubernetes takes them: y and n are booleans, dates and 12:30 are texts."""

    yaml_implicit_resolvers: dict[Any, Any] = {}


_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (
        r"y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
        list("yYnNtTfFoO"),
    ),
    "int": (r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    "merge": (r"<<", ["<"]),
}
for _name, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"^(?:{_pattern})$"), _first)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that the loader would take for something else."""

    yaml_implicit_resolvers: dict[Any, Any] = _Loader.yaml_implicit_resolvers


def dump(value: Any) -> str:
    """A value as YAML that Kubernetes reads as it was."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _boolean(loader: Any, node: Any) -> bool:
    return loader.construct_scalar(node).lower() in ("y", "yes", "true", "on")


def _integer(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node).replace("_", "").lower()
    sign, digits = (-1, text[1:]) if text[0] == "-" else (1, text.lstrip("+"))
    if re.match(r"0\d", digits):
        digits = f"0o{digits[1:]}"
    return sign * int(digits, 0)


def _number(loader: Any, node: Any) -> float:
    number = float(loader.construct_scalar(node).replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(number):
        raise yaml.constructor.ConstructorError(None, None, "JSON has no such number", node.start_mark)
    return number


# What JSON hasn't, such as !!set and !!binary, is an unknown tag.
_JSON = (None, *(f"{_TAG}{name}" for name in ("null", "str", "seq", "map")))
_Loader.yaml_constructors = {tag: yaml.SafeLoader.yaml_constructors[tag] for tag in _JSON}
_Loader.add_constructor(f"{_TAG}bool", _boolean)
_Loader.add_constructor(f"{_TAG}int", _integer)
_Loader.add_constructor(f"{_TAG}float", _number)


@dataclass(frozen=True)
class Document:
    """One document of a file: its value as JSON has it, and where each part of it stands."""

    file: str
    text: str
    first_line: int
    node: yaml.Node
    value: Any

    @property
    def kind(self) -> str:
        """Its kind, or an empty text."""
        kind = self.value.get("kind") if isinstance(self.value, dict) else None
        return kind if isinstance(kind, str) else ""

    @property
    def name(self) -> str:
        """metadata.name, or an empty text."""
        metadata = self.value.get("metadata") if isinstance(self.value, dict) else None
        name = metadata.get("name") if isinstance(metadata, dict) else None
        return name if isinstance(name, str) else ""

    @cached_property
    def lines(self) -> list[str]:
        """Its text by lines."""
        return self.text.splitlines()

    def find(self, path: Sequence[str | int]) -> tuple[yaml.Node, int]:
        """The node at `path`, or the deepest one on the way, and how much of the path it took."""
        node = self.node
        for taken, part in enumerate(path):
            following = _member(node, part)
            if following is None:
                return node, taken
            node = following
        return node, len(path)

    def key(self, path: Sequence[str | int]) -> Place:
        """Where the last name of `path` stands as a key; else the place of its owner."""
        owner, _ = self.find(path[:-1])
        if isinstance(owner, yaml.MappingNode):
            for key, _ in owner.value:
                if path and key.value == path[-1]:
                    return self.place(key)
        return self.place(owner)

    def place(self, node: yaml.Node) -> Place:
        """Where a node begins."""
        return Place(self.first_line + node.start_mark.line, node.start_mark.column + 1)

    def within(self, node: yaml.Node, line: int, column: int) -> Place:
        """Where line:column of a text stands; the text's begin where its style doesn't tell."""
        start = self.place(node)
        style = node.style if isinstance(node, yaml.ScalarNode) else ">"
        if style == "|":
            row = node.start_mark.line + line
            body = self.lines[node.start_mark.line + 1 : row + 1]
            indent = min((len(text) - len(text.lstrip()) for text in body if text.strip()), default=0)
            return Place(self.first_line + row, indent + column)
        if style == ">" or line > 1 or node.start_mark.line != node.end_mark.line:
            return start
        return Place(start.line, start.column + column - 1 + (style in ("'", '"')))

    def surprise(self, path: Sequence[str | int]) -> str:
        """A hint where a bare word at `path` is read as a boolean."""
        node, taken = self.find(path)
        if taken < len(path) or not isinstance(node, yaml.ScalarNode) or node.tag != f"{_TAG}bool":
            return ""
        return f"; a bare {node.value} is a boolean: quote it"

    def finding(self, place: Place, rule: str, message: str, field: str = "") -> Finding:
        """A finding in this document."""
        return Finding(self.file, place, rule, message, field)


def _member(node: yaml.Node, part: str | int) -> yaml.Node | None:
    """The part of a node: by key, by index, or in a list by `name`."""
    if isinstance(node, yaml.MappingNode):
        values: list[yaml.Node] = [value for key, value in node.value if key.value == str(part)]
        return values[0] if values else None
    if isinstance(node, yaml.SequenceNode):
        items: list[yaml.Node] = node.value
        if str(part).isdigit():
            return items[int(part)] if int(part) < len(items) else None
        for item in items:
            name = _member(item, "name") if isinstance(item, yaml.MappingNode) else None
            if isinstance(name, yaml.ScalarNode) and name.value == part:
                return item
    return None


def read(path: str, stdin: Any = None) -> Iterator[Document | Finding]:
    """The documents of a file, or what is wrong with it; `-` reads `stdin`."""
    try:
        data = stdin.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        yield Finding(path, Place(), "file", f"can't be read: {error.strerror or error}")
        return
    if len(data) > LARGEST:
        yield Finding(path, Place(), "file", f"has {len(data)} bytes; {LARGEST} are read")
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield Finding(path, Place(), "file", f"is not YAML: byte {error.start} is not UTF-8 text")
        return
    yield from parse(path, text)


def parse(path: str, text: str) -> Iterator[Document | Finding]:
    """The documents of a text, each parsed by itself."""
    starts = [0, *(found.start() for found in _SEPARATOR.finditer(text) if found.start())]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        part = text[start:end]
        if not all(_says_nothing(line) for line in part.splitlines()):
            yield from _document(path, part, text.count("\n", 0, start) + 1)


def _says_nothing(line: str) -> bool:
    return line.strip() in ("", "---", "...") or line.lstrip()[0] in "#%"


def _document(path: str, text: str, first_line: int) -> Iterator[Document | Finding]:
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return
            findings = list(_strange(path, node, first_line))
            yield from findings
            if any(finding.rule == "yaml" for finding in findings):
                return
            _name_keys(loader, node)
            value = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        place = Place(first_line + mark.line, mark.column + 1) if mark else Place(first_line)
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
        yield Finding(path, place, "yaml", f"is not YAML: {what}")
    except RecursionError:
        yield Finding(path, Place(first_line), "yaml", "is nested too deep")
    else:
        yield Document(path, text, first_line, node, value)


def _strange(path: str, root: yaml.Node, first_line: int) -> Iterator[Finding]:
    """What YAML allows and Kubernetes doesn't, or reads otherwise than it looks."""
    stack: list[tuple[yaml.Node, tuple[yaml.Node, ...]]] = [(root, ())]
    seen = 0
    while stack:
        node, above = stack.pop()
        place = Place(first_line + node.start_mark.line, node.start_mark.column + 1)
        seen += 1
        if seen > MOST_VALUES:
            yield Finding(path, place, "yaml", f"its aliases unfold into more than {MOST_VALUES} values")
            return
        if any(node is other for other in above):
            yield Finding(path, place, "yaml", "an anchor contains itself")
            return
        if isinstance(node, yaml.SequenceNode):
            stack += [(item, (*above, node)) for item in node.value]
        elif isinstance(node, yaml.MappingNode):
            yield from _strange_keys(path, node, first_line)
            stack += [(item, (*above, node)) for _, item in node.value]


def _strange_keys(path: str, node: yaml.MappingNode, first_line: int) -> Iterator[Finding]:
    known: set[str] = set()
    for key, _ in node.value:
        place = Place(first_line + key.start_mark.line, key.start_mark.column + 1)
        if not isinstance(key, yaml.ScalarNode):
            yield Finding(path, place, "yaml", "a key must be a text")
            continue
        if key.value in known and key.tag != f"{_TAG}merge":
            yield Finding(path, place, "duplicate-key", f"the key {key.value!r} is there twice")
        known.add(key.value)
        if key.tag == f"{_TAG}bool":
            yield Finding(path, place, "boolean-key", f"the key {key.value} is read as a boolean: quote it")


def _name_keys(loader: Any, root: yaml.Node) -> None:
    """Turn every key into the text that JSON has in its place, as kubectl does."""
    stack, done = [root], set[int]()
    while stack:
        node = stack.pop()
        if id(node) in done:
            continue
        done.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            stack += node.value
        elif isinstance(node, yaml.MappingNode):
            stack += [value for _, value in node.value]
            for key, _ in node.value:
                if key.tag not in (f"{_TAG}str", f"{_TAG}merge"):
                    key.value = _json_key(loader.construct_object(key))
                    key.tag = f"{_TAG}str"
    loader.constructed_objects.clear()  # it remembers what the keys were


def _json_key(key: Any) -> str:
    return {True: "true", False: "false"}[key] if isinstance(key, bool) else "null" if key is None else str(key)
