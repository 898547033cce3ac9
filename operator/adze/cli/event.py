"""`adze event push`: an event as if its source had sent it."""

import json
import sys
from typing import Any

import click

from adze.cli import exits
from adze.cli.cluster import Cluster, Object, on_cluster
from adze.cli.resources import WORKFLOW_EVENTS


@click.group()
def event() -> None:
    """Send an event that starts runs."""


@event.command()
@click.argument("type_", metavar="TYPE")
@click.option("--source", default="adze", show_default=True, metavar="URI", help="Where it happened.")
@click.option("--id", "id_", metavar="ID", help="Unique for its source; the same again is the same event.")
@click.option("--subject", metavar="TEXT", help="What of the source it is about.")
@click.option("-d", "--data", metavar="JSON", help="What is to be told: a JSON object; - reads stdin.")
@click.option("--dry-run", is_flag=True, help="Have the cluster check it, but create nothing.")
@on_cluster
def push(cluster: Cluster, type_: str, source: str, id_: str | None, data: str | None, **options: Any) -> None:
    """Create a WorkflowEvent: each Workflow that waits for its TYPE starts a run.

    An event is known by its source and id: pushed twice, it starts nothing twice. Without --id each push is an event of
    its own.

    \b
    adze event push user:created --data '{"id": "u-7", "plan": "pro"}'
    adze event push user:created --source shop --id 1234
    """
    import uuid

    from adze.core import names

    id_ = id_ or str(uuid.uuid4())
    spec = {"source": source, "id": id_, "type": type_, "subject": options["subject"], "data": _data(data)}
    name = names.event(source, id_)
    body = {
        "apiVersion": "adze.dev/v1alpha1",
        "kind": "WorkflowEvent",
        "metadata": {"name": name},
        "spec": {field: value for field, value in spec.items() if value is not None},
    }
    said = "created"
    try:
        cluster.create(WORKFLOW_EVENTS, body, options["dry_run"])
    except exits.BadInput:
        if not cluster.find(WORKFLOW_EVENTS, name):
            raise
        said = "is known already"
    click.echo(f"workflowevent.adze.dev/{name} {said}{' (dry run)' if options['dry_run'] else ''}")


def _data(text: str | None) -> Object | None:
    """The JSON object that the event tells."""
    if text is None:
        return None
    try:
        value = json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise exits.BadInput(f"--data is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise exits.BadInput("--data must be a JSON object")
    return value
