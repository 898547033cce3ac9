"""`adze submit`: a new run of a workflow in the cluster, or of a file."""

import sys
from datetime import UTC, datetime
from typing import Any

import click

from adze.cli import exits
from adze.cli.cluster import Cluster, Object, on_cluster
from adze.cli.complete import workflows
from adze.cli.follow import exit_code, last, to_the_end
from adze.cli.get import show
from adze.cli.inputs import read_input
from adze.cli.news import of_run
from adze.cli.options import SECONDS
from adze.cli.resources import RUNS, WORKFLOWS
from adze.cli.watch import follow

API_VERSION = "adze.dev/v1alpha1"
KEPT = ("name", "generateName", "labels", "annotations")
"""What a run takes over from the metadata of a file."""


@click.command()
@click.argument("workflow", required=False, shell_complete=workflows)
@click.option(
    "-f", "--filename", metavar="FILE", help="A file with a Workflow or a WorkflowRun instead; - reads stdin."
)
@click.option("-i", "--input", "pairs", multiple=True, metavar="NAME=VALUE", help="One input; again for another.")
@click.option("--input-file", metavar="FILE", help="The input as a JSON or YAML object; --input goes over it.")
@click.option("--name", metavar="NAME", help="Name of the run.")
@click.option(
    "--generate-name", metavar="PREFIX", help="Prefix of a name that the cluster makes up. Default: WORKFLOW-."
)
@click.option("--wait", is_flag=True, help="Wait for the run's end; the exit code tells how it ended.")
@click.option("--watch", is_flag=True, help="Show how it goes, as adze watch, and wait for its end.")
@click.option("--timeout", type=SECONDS, metavar="DURATION", help="Wait no longer than this, such as 90s or 1h30m.")
@click.option("--dry-run", is_flag=True, help="Have the cluster check it, but create nothing.")
@click.option("-o", "--output", type=click.Choice(["json", "yaml", "name"]), help="Print the run in this form.")
@on_cluster
def submit(
    cluster: Cluster,
    workflow: str | None,
    filename: str | None,
    pairs: tuple[str, ...],
    input_file: str | None,
    name: str | None,
    generate_name: str | None,
    dry_run: bool,
    output: str | None,
    **waiting: Any,
) -> None:
    """Create a run of a WORKFLOW in the cluster, or of a file.

    The input is checked against the workflow's schema first. What is wrong with it is told with the name of the field,
    and no run is created.

    \b
    adze submit order --input orderId=order-7 --input copies=2 --wait
    adze submit -f workflow.yaml --input-file input.json --watch
    """
    if (workflow is None) == (filename is None):
        raise click.UsageError("give a WORKFLOW or a --filename, one of the two")
    if name and generate_name:
        raise click.UsageError("--name and --generate-name exclude each other")
    if output and waiting["watch"]:
        raise click.UsageError("--watch and --output exclude each other")
    waits = (waiting["wait"] or waiting["watch"]) and not dry_run
    if waiting["timeout"] is not None and not waits:
        raise click.UsageError("--timeout needs --wait or --watch")
    run = _from_file(filename) if filename else {"metadata": {}, "spec": {"workflow": workflow}}
    _put_name(run["metadata"], name, generate_name or (f"{workflow}-" if workflow else None))
    _put_input(cluster, run["spec"], pairs, input_file)
    made = cluster.create(RUNS, {"apiVersion": API_VERSION, "kind": "WorkflowRun", **run}, dry_run)
    if output and not waits:
        show([made], output, single=True)
    else:
        said = f"workflowrun.adze.dev/{made['metadata']['name']} created{' (dry run)' if dry_run else ''}"
        click.echo(said, err=output is not None)
    if waits:
        sys.exit(wait_for(cluster, made["metadata"]["name"], output, **waiting))


def _from_file(file: str) -> Object:
    """Metadata and spec of a run: the file's own, or one with the file's workflow in it."""
    from adze.lint.check import check_files
    from adze.lint.formats import as_text

    checked = check_files([file], sys.stdin.buffer)
    errors = [finding for finding in checked.findings if finding.severity == "error" and finding.rule != "input"]
    if len(errors) == 1:
        raise exits.BadInput(as_text(errors))
    if errors:
        click.echo(as_text(errors), err=True)
        raise exits.BadInput(f"{file} has {len(errors)} errors: nothing was started")
    documents = [document.value for document, _ in (*checked.workflows, *checked.runs)]
    if len(documents) != 1 or checked.others:
        count = len(documents) + len(checked.others)
        raise exits.BadInput(f"{file} holds {count} objects: one Workflow or one WorkflowRun is expected")
    document: Object = documents[0]
    metadata = {field: document["metadata"][field] for field in KEPT if field in document["metadata"]}
    if document["kind"] == "WorkflowRun":
        return {"metadata": metadata, "spec": document["spec"]}
    _put_name(metadata, None, f"{document['metadata']['name']}-")
    return {"metadata": metadata, "spec": {"workflowSpec": document["spec"]}}


def _put_name(metadata: Object, name: str | None, generate_name: str | None) -> None:
    """Name the run, unless it has a name and nothing else is asked for."""
    if name or generate_name:
        metadata.pop("name", None)
        metadata.pop("generateName", None)
        metadata |= {"name": name} if name else {"generateName": generate_name}


def _put_input(cluster: Cluster, spec: Object, pairs: tuple[str, ...], file: str | None) -> None:
    """Put the input in, if it fits the schema of the workflow."""
    from adze.core.schema import Mismatch, Validator

    workflow: Object = spec.get("workflowSpec") or _ready(cluster.get(WORKFLOWS, spec["workflow"]))
    schema = workflow.get("input")
    given = {**(spec.get("input") or {}), **read_input(pairs, file, schema)}
    if schema is not None:
        try:
            Validator(schema).check(given, "input")
        except Mismatch as error:
            raise exits.BadInput(str(error)) from None
    if given:
        spec["input"] = given


def _ready(workflow: Object) -> Object:
    """The workflow's spec; BadInput if the operator has refused what it is now."""
    for condition in workflow.get("status", {}).get("conditions", ()):
        current = condition.get("observedGeneration") == workflow["metadata"]["generation"]
        if condition["type"] == "Ready" and condition["status"] == "False" and current:
            raise exits.BadInput(f"workflow {workflow['metadata']['name']!r} can't be run: {condition['message']}")
    spec: Object = workflow["spec"]
    return spec


def wait_for(cluster: Cluster, name: str, output: str | None, wait: bool, watch: bool, timeout: float | None) -> int:
    """Wait for the end of the run, and say how it ended; the exit code."""
    try:
        run = follow(cluster, name, timeout) if watch else last(to_the_end(cluster, name, timeout))
    except KeyboardInterrupt:
        click.echo(f"the run goes on: adze watch {name}, or adze cancel {name}", err=True)
        raise
    if output:
        show([run], output, single=True)
    elif not watch:
        click.echo(f"{name} {run['status']['phase']} {of_run(run, datetime.now(UTC))}".rstrip())
    return exit_code(run)
