"""`adze get`: runs and workflows in kubectl's columns."""

import json
import sys
from typing import Any

import click

from adze.cli import exits
from adze.cli.cluster import JSON, TABLE, Cluster, Object, Query, on_cluster
from adze.cli.complete import kinds, names_of_kind
from adze.cli.resources import Resource, kind
from adze.cli.table import aligned, rows_of


@click.command()
@click.argument("kind_", metavar="runs|workflows", shell_complete=kinds)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=names_of_kind)
@click.option("-l", "--selector", metavar="LABELS", help="Only those with these labels, as in kubectl.")
@click.option(
    "--field-selector", metavar="FIELDS", help="Only those with these fields: status.phase=Failed,spec.workflow=NAME."
)
@click.option("-A", "--all-namespaces", is_flag=True, help="Those of all namespaces.")
@click.option(
    "-o", "--output", type=click.Choice(["wide", "json", "yaml", "name"]), help="Another form than the table."
)
@on_cluster
def get(
    cluster: Cluster,
    kind_: str,
    names: tuple[str, ...],
    selector: str | None,
    field_selector: str | None,
    all_namespaces: bool,
    output: str | None,
) -> None:
    """List runs or workflows, in the columns of kubectl.

    \b
    adze get runs
    adze get runs --field-selector status.phase=Failed -A -o wide
    adze get workflow order -o yaml
    """
    resource = kind(kind_)
    if names and (selector or field_selector or all_namespaces):
        raise click.UsageError("give names, or a selector or --all-namespaces")
    accept = TABLE if output in (None, "wide") else JSON
    missing: list[exits.Failure] = []
    if names:
        pages = _named(cluster, resource, names, accept, missing)
    else:
        query: Query = {"labelSelector": selector, "fieldSelector": field_selector}
        pages = list(cluster.pages(resource, query, all_namespaces, accept))
    if output in (None, "wide"):
        rows = rows_of(pages, output == "wide", all_namespaces)
        for line in aligned(rows):
            click.echo(line)
        if not rows and not missing:
            place = "" if all_namespaces else f" in namespace {cluster.namespace}"
            click.echo(f"No {resource.word}s{place}.", err=True)
    else:
        items = pages if names else [{**_typed(page), **item} for page in pages for item in page["items"]]
        show(items, output, single=len(names) == 1)
    for failure in missing:
        failure.show()
    if missing:
        sys.exit(missing[0].exit_code)


def _named(
    cluster: Cluster, resource: Resource, names: tuple[str, ...], accept: str, missing: list[exits.Failure]
) -> list[Object]:
    """Those that are there; what isn't goes to `missing`."""
    found = []
    for name in names:
        try:
            found.append(cluster.get(resource, name, accept))
        except exits.NotFound as failure:
            missing.append(failure)
    return found


def _typed(page: Object) -> Object:
    """apiVersion and kind of a list's items, which the API server leaves out."""
    return {"apiVersion": page["apiVersion"], "kind": page["kind"].removesuffix("List")}


def show(items: list[Object], output: str, single: bool) -> None:
    """Objects as kubectl prints them: names, or one document."""
    if output == "name":
        for item in items:
            click.echo(f"{item['kind'].lower()}.{item['apiVersion'].partition('/')[0]}/{item['metadata']['name']}")
        return
    for item in items:
        item["metadata"].pop("managedFields", None)
    if single and not items:
        return
    document: Any = (
        items[0]
        if single
        else {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}
    )
    if output == "json":
        click.echo(json.dumps(document, indent=4, sort_keys=True, ensure_ascii=False))
    else:
        click.echo(_yaml(document), nl=False)


def _yaml(document: Any) -> str:
    """YAML that people can read and kubectl reads alike: scripts as blocks, and YAML 1.1's odd booleans quoted."""
    import yaml

    class Readable(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else "'" if value.lower() in ("y", "n") else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)

    Readable.add_representer(str, text)
    written: str = yaml.dump(document, Dumper=Readable, allow_unicode=True, width=10**6)
    return written
