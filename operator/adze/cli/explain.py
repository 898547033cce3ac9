"""`adze explain`: the API's fields without a cluster."""

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

import click

from adze.cli.exits import BadInput

WIDTH = 100


@click.command()
@click.argument("field", default="")
@click.option("-R", "--recursive", is_flag=True, help="Show the fields of fields too.")
def explain(field: str, recursive: bool) -> None:
    """Say what a field means, as kubectl explain does, but without a cluster.

    FIELD is a path such as workflow.spec.steps.retries; without it, the kinds are listed. Exit code 2 if there is no
    such field.
    """
    from adze.core import crd

    kinds = [definition["spec"] for definition in crd.definitions().values()]
    if not field:
        for kind in kinds:
            names = kind["names"]
            click.echo(f"{names['singular']:<17}{_schema(kind)['description']}")
        return
    name, *path = field.replace("[]", "").split(".")
    by_name = {alias: kind for kind in kinds for alias in _aliases(kind["names"])}
    kind = by_name.get(name.lower())
    if kind is None:
        raise BadInput(f"there is no kind {name!r}{_instead(name.lower(), by_name)}")
    click.echo("\n".join(page(kind, path, recursive=recursive)))


def _aliases(names: Mapping[str, Any]) -> list[str]:
    return [names["singular"], names["plural"], *names["shortNames"]]


def _schema(kind: Mapping[str, Any]) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = kind["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def _instead(word: str, known: Mapping[str, Any]) -> str:
    from adze.lint.schema import instead

    return instead(word, known)


def page(kind: Mapping[str, Any], path: list[str], *, recursive: bool) -> Iterator[str]:
    """The lines about one field; BadInput if there's no such field."""
    schema, required = _schema(kind), False
    done = kind["names"]["singular"]
    for part in path:
        inner = schema.get("items", schema)
        fields = inner.get("properties", {})
        if part not in fields:
            what = "has no fields" if not fields else f"has no field {part!r}"
            raise BadInput(f"{done} {what}{_instead(part, fields)}")
        schema, required = fields[part], part in inner.get("required", ())
        done = f"{done}.{part}"
    yield f"KIND:     {kind['names']['kind']}"
    yield f"VERSION:  {kind['group']}/{kind['versions'][0]['name']}"
    yield ""
    yield f"FIELD:    {done} <{type_of(schema)}>{' -required-' if required else ''}"
    yield ""
    yield from wrap(schema.get("description", ""), WIDTH, initial_indent="    ", subsequent_indent="    ")
    yield from (f"    {fact}" for fact in facts(schema))
    fields = schema.get("items", schema).get("properties", {})
    if fields:
        yield ""
        yield "FIELDS:"
        yield from _fields(schema.get("items", schema), "  ", recursive=recursive)


def type_of(schema: Mapping[str, Any]) -> str:
    """A type as kubectl writes it: []Object, string."""
    if "items" in schema:
        return f"[]{type_of(schema['items'])}"
    kind = str(schema.get("type", "any"))
    return "Object" if kind == "object" else kind


def facts(schema: Mapping[str, Any]) -> Iterator[str]:
    """Bounds, default and rules of a field."""
    words = {
        "default": "default",
        "enum": "one of",
        "minimum": "at least",
        "maximum": "at most",
        "minLength": "shortest",
        "maxLength": "longest",
        "minItems": "fewest items",
        "maxItems": "most items",
        "pattern": "pattern",
    }
    for word, name in words.items():
        if word in schema:
            value = schema[word]
            yield f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}"
    for rule in schema.get("x-kubernetes-validations", schema.get("items", {}).get("x-kubernetes-validations", ())):
        yield f"rule: {rule['message']}"


def _fields(schema: Mapping[str, Any], indent: str, *, recursive: bool) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        mark = " -required-" if name in schema.get("required", ()) else ""
        yield f"{indent}{name} <{type_of(field)}>{mark}"
        if recursive:
            yield from _fields(field.get("items", field), f"{indent}  ", recursive=True)
        else:
            inner = f"{indent}    "
            yield from wrap(field.get("description", ""), WIDTH, initial_indent=inner, subsequent_indent=inner)
