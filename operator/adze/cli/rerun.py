"""`adze rerun`: a new run that repeats one that has ended; or many."""

import sys
from collections.abc import Iterable
from typing import Any

import click

from adze.cli import exits
from adze.cli.change import choose, choosing
from adze.cli.cluster import Cluster, Object, on_cluster
from adze.cli.options import SECONDS
from adze.cli.resources import RUNS
from adze.cli.submit import API_VERSION, wait_for

ENDED = ",".join(f"status.phase!={phase}" for phase in ("Pending", "Queued", "Running"))
"""Leaves out on the server what can't be repeated yet."""
REPEATS = "spec.rerunOf.run!="
"""The runs that repeat another."""


@choosing("have ended")
@click.option(
    "--from", "start", metavar="STEP|Failed", help="What runs again: a step and all after it, or only what failed."
)
@click.option("--name", metavar="NAME", help="Name of the new run. Default: RUN- and what the cluster makes up.")
@click.option("--wait", is_flag=True, help="Wait for the new run's end; the exit code tells how it ended.")
@click.option("--timeout", type=SECONDS, metavar="DURATION", help="Wait no longer than this, such as 90s or 1h30m.")
@on_cluster
def rerun(
    cluster: Cluster,
    start: str | None,
    name: str | None,
    wait: bool,
    timeout: float | None,
    names: tuple[str, ...],
    dry_run: bool,
    **choice: Any,
) -> None:
    """Repeat runs that have ended, as new runs with the same workflow and input.

    Without --from everything runs again. Steps that needn't run again keep their outputs. The run that is repeated is
    not changed. Of runs that a selector chooses those are left alone that another run repeats already.

    \b
    adze rerun order-1001 --from Failed --wait
    adze rerun --field-selector spec.workflow=order,status.phase=Failed --from Failed --dry-run
    """
    if len(names) != 1 and (name or wait):
        raise click.UsageError("--name and --wait are for one RUN")
    if timeout is not None and not wait:
        raise click.UsageError("--timeout needs --wait")
    failures: list[exits.Failure] = []
    missing: list[exits.NotFound] = []
    chosen = list(choose(cluster, ENDED, missing, names, **choice))
    repeated = {} if names else _repeated(cluster.items(RUNS, {"fieldSelector": REPEATS}))
    for run in chosen:
        own = run["metadata"]["name"]
        why = repeated.get(run["metadata"]["uid"]) or repeated.get(own) or refusal(run, start)
        if why and names:
            failures.append(exits.BadInput(f"{own} can't be repeated: {why}"))
        elif why:
            click.echo(f"workflowrun.adze.dev/{own} left alone: {why}")
        else:
            made = cluster.create(RUNS, again(run, start, name), dry_run)
            said = "would be repeated" if dry_run else f"repeated by {made['metadata']['name']}"
            click.echo(f"workflowrun.adze.dev/{own} {said}")
            if wait and not dry_run:
                sys.exit(wait_for(cluster, made["metadata"]["name"], None, wait=True, watch=False, timeout=timeout))
    if not chosen and not missing:
        click.echo(f"No run in namespace {cluster.namespace} matches that has ended.", err=True)
    _fail([*missing, *failures])


def _fail(failures: list[exits.Failure]) -> None:
    for failure in failures:
        failure.show()
    if failures:
        sys.exit(failures[0].exit_code)


def again(run: Object, start: str | None, name: str | None) -> Object:
    """The run that repeats another: with its labels and priority, and the name of its workflow."""
    metadata: Object = {"name": name} if name else {"generateName": f"{run['metadata']['name'][:200]}-"}
    labels = {key: value for key, value in run["metadata"].get("labels", {}).items() if not _ours(key)}
    if labels:
        metadata["labels"] = labels
    spec = {field: run["spec"][field] for field in ("workflow", "priority") if field in run["spec"]}
    spec["rerunOf"] = {"run": run["metadata"]["name"], **({"from": start} if start else {})}
    return {"apiVersion": API_VERSION, "kind": "WorkflowRun", "metadata": metadata, "spec": spec}


def _ours(label: str) -> bool:
    return label.partition("/")[0] == "adze.dev"


def refusal(run: Object, start: str | None) -> str | None:
    """What the operator would say to a rerun of a run as it was seen; None if it would begin."""
    import msgspec

    from adze.core import rerun
    from adze.core.model import Run

    status = run.get("status", {})
    seen = {field: status[field] for field in ("phase", "reason", "workflowSpec") if field in status}
    seen["steps"] = [{"name": step["name"], "phase": step.get("phase", "Pending")} for step in status.get("steps", ())]
    about = {field: run["metadata"].get(field, "") for field in ("name", "namespace")}
    spec = {"workflow": run["spec"].get("workflow")}
    source = msgspec.convert({"metadata": about, "spec": spec, "status": seen}, Run)
    asked = {"metadata": about, "spec": spec | {"rerunOf": again(run, start, None)["spec"]["rerunOf"]}}
    try:
        said = rerun.refusal(msgspec.convert(asked, Run), source)
    except msgspec.ValidationError as error:
        raise exits.BadInput(f"--from {start}: {error}") from None
    return said and said.removeprefix("spec.rerunOf.run: ").removeprefix("spec.rerunOf.from: ")


def _repeated(reruns: Iterable[Object]) -> dict[str, str]:
    """Which run repeats one already, by that one's UID, or by its name before it is known; a refusal doesn't count."""
    found = {}
    for run in reruns:
        status = run.get("status", {})
        if status.get("reason") != "RerunRefused":
            uid = status.get("trigger", {}).get("runUid")
            found[uid or run["spec"]["rerunOf"]["run"]] = f"{run['metadata']['name']} repeats it"
    return found
