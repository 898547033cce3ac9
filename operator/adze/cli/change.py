"""`adze cancel`, `suspend` and `resume`: what they ask of runs, one or many."""

import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click

from adze.cli import exits, tree
from adze.cli.cluster import Cluster, Conflict, Object, on_cluster
from adze.cli.complete import runs
from adze.cli.resources import RUNS

LIVE = ",".join(f"status.phase!={phase}" for phase in ("Succeeded", "Failed", "Cancelled"))
"""Leaves out on the server what would be left alone anyway."""
TRIES = 5
"""How often a run is read again that changes under our hands."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a run's spec, and the words for it."""

    spec: dict[str, bool]
    done: str
    would: str
    already: str

    def needless(self, run: Object) -> str | None:
        """Why the run is left alone, or None."""
        if tree.ended(run):
            return f"left alone: it has ended ({run['status']['phase']})"
        if all(bool(run["spec"].get(field)) == value for field, value in self.spec.items()):
            return f"left alone: {self.already}"
        if run["spec"].get("cancel"):
            return "left alone: it is being cancelled"
        return None


CANCEL = Change({"cancel": True}, "cancelling", "would be cancelled", "it is being cancelled")
SUSPEND = Change({"suspend": True}, "suspended", "would be suspended", "it is suspended")
RESUME = Change({"suspend": False}, "resumed", "would be resumed", "it is not suspended")


def choosing(which: str) -> Callable[[Callable[..., None]], Any]:
    """Gives a command the arguments that choose runs; `which` says what it takes of a namespace's."""
    return functools.partial(_choosing, which)


def _choosing(which: str, command: Callable[..., None]) -> Any:
    for option in (
        click.option("--dry-run", is_flag=True, help="Only say what would happen."),
        click.option("--all", "every", is_flag=True, help=f"All runs of the namespace that {which}."),
        click.option("--field-selector", metavar="FIELDS", help="Runs with these fields: spec.workflow=NAME."),
        click.option("-l", "--selector", metavar="LABELS", help="Runs with these labels."),
        click.argument("names", metavar="[RUN]...", nargs=-1, shell_complete=runs),
    ):
        command = option(command)
    return click.command()(command)


@choosing("have not ended")
@on_cluster
def cancel(cluster: Cluster, **choice: Any) -> None:
    """End runs early, for good.

    Their Pods are deleted, steps that have not started never will, finally steps still run. Runs that have ended are
    left alone.

    \b
    adze cancel order-1001
    adze cancel --field-selector spec.workflow=order --dry-run
    """
    apply(cluster, CANCEL, **choice)


@choosing("have not ended")
@on_cluster
def suspend(cluster: Cluster, **choice: Any) -> None:
    """Start no further steps of runs, until they are resumed.

    What runs goes on, and the timeout of the run keeps counting.
    """
    apply(cluster, SUSPEND, **choice)


@choosing("have not ended")
@on_cluster
def resume(cluster: Cluster, **choice: Any) -> None:
    """Let suspended runs go on."""
    apply(cluster, RESUME, **choice)


def apply(
    cluster: Cluster,
    change: Change,
    names: tuple[str, ...],
    selector: str | None,
    field_selector: str | None,
    every: bool,
    dry_run: bool,
) -> None:
    """Change the chosen runs, and say of each what was done."""
    missing: list[exits.NotFound] = []
    chosen = choose(cluster, LIVE, missing, names, selector, field_selector, every)
    count = 0
    for run in chosen:
        count += 1
        try:
            said = _change(cluster, change, run, dry_run)
        except exits.NotFound as error:
            missing.append(error)
            continue
        click.echo(f"workflowrun.adze.dev/{run['metadata']['name']} {said}")
    if not count and not missing:
        click.echo(f"No run in namespace {cluster.namespace} matches that has not ended.", err=True)
    for failure in missing:
        failure.show()
    if missing:
        sys.exit(exits.NOT_FOUND)


def choose(
    cluster: Cluster,
    fields: str,
    missing: list[exits.NotFound],
    names: tuple[str, ...],
    selector: str | None,
    field_selector: str | None,
    every: bool,
) -> Iterator[Object]:
    """The runs of these names, or those that the selectors and `fields` choose; what isn't there goes to `missing`."""
    if sum(map(bool, (names, selector or field_selector, every))) != 1:
        raise click.UsageError("give names of runs, or --selector or --field-selector, or --all")
    if names:
        return _named(cluster, dict.fromkeys(names), missing)
    fields = ",".join(filter(None, (field_selector, fields)))
    return iter(cluster.items(RUNS, {"labelSelector": selector, "fieldSelector": fields}))


def _named(cluster: Cluster, names: dict[str, None], missing: list[exits.NotFound]) -> Iterator[Object]:
    """The runs of these names; what isn't there goes to `missing`."""
    for name in names:
        try:
            yield cluster.get(RUNS, name)
        except exits.NotFound as error:
            missing.append(error)


def _change(cluster: Cluster, change: Change, run: Object, dry_run: bool) -> str:
    """Change a run as it was seen, or as it's seen anew; what was done."""
    name = run["metadata"]["name"]
    for _ in range(TRIES):
        if reason := change.needless(run):
            return reason
        seen = {field: run["metadata"][field] for field in ("uid", "resourceVersion")}
        try:
            cluster.patch(RUNS, name, {"metadata": seen, "spec": change.spec}, dry_run)
        except Conflict:
            # It has changed since: it may have ended.
            run = cluster.get(RUNS, name)
            continue
        return change.would if dry_run else change.done
    raise exits.Unreachable(f"run {name!r} {change.would}, but changes too fast: try again")
