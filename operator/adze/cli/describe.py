"""`adze describe`: all that can be said about a run or a workflow, in the order in which one asks."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import click

from adze.cli import exits, tree
from adze.cli.cluster import TABLE, Cluster, Object, on_cluster
from adze.cli.complete import kinds, names_of_kind
from adze.cli.resources import EVENTS, RUNS, kind
from adze.cli.table import Cell, aligned, clean, header, rows_of

NEWEST = 10
"""How many Events, or runs of a workflow, are shown."""
SHOWN = 160
"""Characters of a step's output that are shown."""


@click.command()
@click.argument("kind_", metavar="run|workflow", shell_complete=kinds)
@click.argument("name", shell_complete=names_of_kind)
@on_cluster
def describe(cluster: Cluster, kind_: str, name: str) -> None:
    """Show a run step by step, or a workflow.

    Of a run: its steps with their attempts, how long they took and why they wait, what they have handed over, and its
    last Events. Of a workflow: its input, its steps and its latest runs.

    \b
    adze describe run order-1001
    adze describe workflow order
    """
    resource = kind(kind_)
    item = cluster.get(resource, name)
    now = datetime.now(UTC)
    if resource is RUNS:
        click.echo("\n".join(run_lines(item, now)))
        click.echo("\n".join(["", "Events:", *_events(cluster, item, now)]))
    else:
        click.echo("\n".join(workflow_lines(item, now)))
        query = {"fieldSelector": f"spec.workflow={name}"}
        click.echo("\n".join(["", "Latest runs:", *latest([*cluster.pages(RUNS, query, accept=TABLE)])]))


def run_lines(run: Object, now: datetime) -> Iterator[str]:
    """The run itself: facts, then the tree of its steps."""
    spec, status = run["spec"], run.get("status", {})
    revision = f" (revision {status['revision']})" if status.get("revision") else ""
    asked = [field for field in ("cancel", "suspend") if spec.get(field)]
    yield from facts(
        Name=run["metadata"]["name"],
        Namespace=run["metadata"]["namespace"],
        Workflow=f"{spec.get('workflow', 'its own')}{revision}",
        Phase=status.get("phase", "Pending"),
        Reason=tree.one_line(status.get("reason"), status.get("message")),
        Progress=status.get("progress"),
        Asked=" and ".join(asked),
        Created=_when(run["metadata"]["creationTimestamp"], now),
        Trigger=_trigger(status.get("trigger") or {}),
        Started=_when(status.get("startTime"), now),
        Finished=_when(status.get("finishTime"), now),
        Repeats=_repeats(spec.get("rerunOf")),
        Input=_json(spec.get("input", status.get("input"))),
        Output=_json(status.get("output")),
    )
    yield ""
    yield from aligned(tree.rows(run, now))
    if rows := [*outputs(status.get("steps", ()))]:
        yield ""
        yield from aligned([header("STEP", "OUTPUT"), *rows])


def outputs(steps: Iterable[Object]) -> Iterator[tuple[Cell, ...]]:
    """A row for each step that has handed something over: the output's beginning, or where it is if it's large."""
    for step in steps:
        items, page = step.get("items") or {}, step.get("outputPage")
        if page:
            text = f"{page['bytes']} bytes in ConfigMap {page['name']}"
        elif pages := items.get("pages"):
            text = f"{items['paged']} bytes of its items in {len(pages)} ConfigMaps from {pages[0]} on"
        else:
            text = _json(items.get("outputs") or step.get("output"))
        if text:
            yield Cell(step["name"]), Cell(text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…")


def _trigger(trigger: Object) -> str | None:
    """What has started it; of a rerun, `_repeats` says more."""
    match trigger.get("kind"):
        case "Cron":
            return f"Cron: {trigger['schedule']} ({trigger['timeZone']}), at {trigger['time']}"
        case "Scheduled":
            return f"Scheduled: at {trigger['time']}"
        case "Event":
            return f"Event: {trigger.get('event', 'unknown')}"
        case "Step":
            return f"Step: {trigger['step']} of run {trigger['run']}"
    return trigger.get("kind")


def _repeats(rerun: Object | None) -> str | None:
    """Which run it repeats, and from where."""
    return f"{rerun['run']}, from {rerun.get('from', 'the start')}" if rerun else None


def workflow_lines(workflow: Object, now: datetime) -> Iterator[str]:
    """The workflow itself: facts, its input, then its steps."""
    spec, conditions = workflow["spec"], workflow.get("status", {}).get("conditions", ())
    ready: Object = next((condition for condition in conditions if condition["type"] == "Ready"), {})
    yield from facts(
        Name=workflow["metadata"]["name"],
        Namespace=workflow["metadata"]["namespace"],
        Ready=tree.one_line(ready.get("status", "Unknown"), ready.get("reason"), ready.get("message")),
        Created=_when(workflow["metadata"]["creationTimestamp"], now),
        Timeout=spec.get("timeout"),
        Retention=_json(spec.get("retention")),
    )
    if rows := [*_inputs(spec.get("input") or {})]:
        yield ""
        yield from aligned([header("INPUT", "TYPE", "REQUIRED", "DEFAULT", "DESCRIPTION"), *rows])
    yield ""
    definitions = tree.Definitions(spec)
    steps = [
        (
            Cell(f"{definitions.stage(name)}{name}"),
            Cell(", ".join(definitions.parents(name))),
            Cell(str(definitions.allowed(name))),
            Cell(tree.one_line(definitions.step(name).get("when"))),
        )
        for name in definitions.names()
    ]
    yield from aligned([header("STEP", "PARENTS", "ATTEMPTS", "WHEN"), *steps])


def _inputs(schema: Object) -> Iterator[tuple[Cell, ...]]:
    required = schema.get("required") or ()
    for name, member in (schema.get("properties") or {}).items():
        member = member if isinstance(member, dict) else {}
        texts = (
            name,
            _json(member.get("type")).strip('"'),
            "yes" if name in required else "",
            _json(member.get("default")),
            tree.one_line(member.get("description")),
        )
        yield tuple(map(Cell, texts))


def latest(pages: list[Object]) -> list[str]:
    """The newest runs of the API server's table, as lines."""
    rows = [row for page in pages for row in page["rows"]]
    newest = sorted(rows, key=lambda row: str(row["object"]["metadata"]["creationTimestamp"]), reverse=True)[:NEWEST]
    return aligned(rows_of([{**pages[0], "rows": newest}], wide=False, namespaces=False)) or ["none"]


def _events(cluster: Cluster, run: Object, now: datetime) -> list[str]:
    query = {"fieldSelector": f"involvedObject.uid={run['metadata']['uid']}"}
    try:
        return event_lines(cluster.items(EVENTS, query), now)
    except exits.Forbidden as error:
        return [f"not shown: {error.message}"]


def event_lines(events: Iterable[Object], now: datetime) -> list[str]:
    """The last Kubernetes Events, oldest first."""

    def seen(event: Object) -> str:
        return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])

    ordered = sorted(events, key=lambda event: tree.moment(seen(event)) or now)[-NEWEST:]
    rows = [
        (
            Cell(_age(seen(event), now)),
            Cell(event["type"], "yellow" if event["type"] == "Warning" else None),
            Cell(event["reason"]),
            Cell(tree.one_line(event.get("message"))),
        )
        for event in ordered
    ]
    return aligned([header("AGE", "TYPE", "REASON", "MESSAGE"), *rows]) if rows else ["none"]


def facts(**texts: str | None) -> Iterator[str]:
    """A line for each text that there is, with its name in front."""
    return (f"{name + ':':<12}{clean(text)}" for name, text in texts.items() if text)


def _when(time: str | None, now: datetime) -> str:
    return f"{time} ({_age(time, now)} ago)" if time else ""


def _age(time: str, now: datetime) -> str:
    return tree.took(time, None, now)


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)
