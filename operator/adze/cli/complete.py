"""Shell completion of names that are in the cluster."""

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from adze.cli.cluster import Cluster
from adze.cli.kubeconfig import login
from adze.cli.resources import RUNS, WORKFLOWS, Resource

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def kinds(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Kinds of objects."""
    return [CompletionItem(word) for word in ("runs", "workflows") if word.startswith(incomplete)]


def names_of_kind(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the kind that stands before."""
    word = context.params.get("kind_") or ""
    return _names(
        context, WORKFLOWS if word.startswith(("workflow", "awf")) and "run" not in word else RUNS, incomplete
    )


def runs(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of runs."""
    return _names(context, RUNS, incomplete)


def workflows(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of workflows."""
    return _names(context, WORKFLOWS, incomplete)


def steps(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the steps of the run that stands before."""
    try:
        run = _cluster(context).get(RUNS, context.params["run"])
    except (click.ClickException, KeyError):
        return []
    found = [step["name"] for step in run.get("status", {}).get("steps", ())]
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def _names(context: click.Context, resource: Resource, incomplete: str) -> list[CompletionItem]:
    """Names in the cluster; none if it doesn't answer: a shell is no place for messages."""
    try:
        names = _cluster(context).names_of(resource)
    except click.ClickException:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _cluster(context: click.Context) -> Cluster:
    given = context.params
    return Cluster(login(given.get("kubeconfig"), given.get("context")), given.get("namespace"))
