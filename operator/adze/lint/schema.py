"""What the API server checks at apply: the generated CRD with its bounds, its lists' keys and its CEL rules."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

import jsonschema_rs

from adze.core import crd
from adze.core.expressions import DYN, ExpressionError, Program, Scope

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """A breach of the schema at a path of the document; `key` says that the last name itself is wrong."""

    path: Path
    rule: str
    message: str
    key: bool = False


@cache
def of_kind(kind: str) -> Mapping[str, Any]:
    """The CRD's schema; KeyError for other kinds."""
    return schemas()[kind]


@cache
def schemas() -> Mapping[str, Mapping[str, Any]]:
    """Kind to schema."""
    return {
        definition["spec"]["names"]["kind"]: definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for definition in crd.definitions().values()
    }


def faults(kind: str, document: Mapping[str, Any]) -> list[Fault]:
    """Every breach in a document of that kind."""
    schema = of_kind(kind)
    found = [*_bounds(kind, document), *_unknown(document, schema, ())]
    # Rules and keys of lists are looked at only in what has the right types, as the API server does.
    return sorted(found or _rules(document, schema, ()), key=lambda fault: [str(part) for part in fault.path])


@cache
def _validator(kind: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(dict(of_kind(kind)))


def _bounds(kind: str, document: Mapping[str, Any]) -> Iterator[Fault]:
    for error in _validator(kind).iter_errors(document):
        message = error.message
        if len(message) > 200:
            message = f"{message[:90]} … {message[-90:]}"
        yield Fault(tuple(error.instance_path), "schema", message)


def _unknown(value: Any, schema: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    """Fields that `kubectl apply` refuses as unknown."""
    fields = schema.get("properties")
    if isinstance(value, Mapping) and fields:
        for name, member in value.items():
            if name in fields:
                yield from _unknown(member, fields[name], (*path, name))
            elif "x-kubernetes-preserve-unknown-fields" not in schema:
                yield Fault((*path, name), "unknown-field", f"unknown field {name!r}{instead(name, fields)}", key=True)
    elif isinstance(value, list) and "items" in schema:
        for index, member in enumerate(value):
            yield from _unknown(member, schema["items"], (*path, index))


def instead(word: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _rules(value: Any, schema: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    for item in schema.get("x-kubernetes-validations", ()):
        yield from _rule(value, item, path)
    if isinstance(value, list):
        yield from _repeated(value, schema, path)
        for index, member in enumerate(value):
            yield from _rules(member, schema.get("items", {}), (*path, index))
    elif isinstance(value, Mapping):
        for name, part in schema.get("properties", {}).items():
            if name in value:
                yield from _rules(value[name], part, (*path, name))


def _rule(value: Any, item: Mapping[str, str], path: Path) -> Iterator[Fault]:
    program = compiled(item["rule"])
    try:
        if program is not None and program({"self": value}) is not True:
            yield Fault(path, "schema", item["message"])
    except ExpressionError as error:
        yield Fault(path, "schema", f"{item['message']} ({error})")


@cache
def compiled(rule: str) -> Program | None:
    """A CEL rule; None for one about changes, which a new object doesn't make."""
    rule = rule.removeprefix(crd.NEW_ONLY)
    return None if "oldSelf" in rule else Scope({"self": DYN}).program(rule)


def _repeated(value: list[Any], schema: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    """Lists that are sets, or maps by some keys."""
    kind = schema.get("x-kubernetes-list-type")
    if kind not in ("set", "map"):
        return
    keys = schema.get("x-kubernetes-list-map-keys", ())
    known: list[Any] = []
    for index, member in enumerate(value):
        identity = tuple(member.get(key) for key in keys) if kind == "map" else member
        if identity in known:
            what = ", ".join(map(str, identity)) if kind == "map" else member
            yield Fault((*path, index), "schema", f"{what!r} is there twice")
        known.append(identity)
