"""`adze approve`: a decision about a step that waits for one, in the name of whoever is logged in."""

from typing import Any

import click

from adze.cli import exits, tree
from adze.cli.cluster import Cluster, Conflict, Object, on_cluster
from adze.cli.complete import runs, steps
from adze.cli.resources import RUNS

WAITING = "WaitingForApproval"
TRIES = 5
"""How often a run is read again that changes under our hands."""


@click.command()
@click.argument("run", shell_complete=runs)
@click.argument("step", required=False, shell_complete=steps)
@click.option("--deny", is_flag=True, help="Deny it: the step fails.")
@click.option("-m", "--message", default="", metavar="TEXT", help="Why; it stands in the step's output.")
@click.option("--dry-run", is_flag=True, help="Have the cluster check it, but decide nothing.")
@on_cluster
def approve(cluster: Cluster, run: str, step: str | None, deny: bool, message: str, dry_run: bool) -> None:
    """Approve a step of a run that waits for it, or deny it.

    The decision is made in your name, as the cluster knows you, and can't be taken back. STEP may be left out if one
    step waits.

    \b
    adze approve release-7 -m "checked the notes"
    adze approve release-7 deploy --deny
    """
    me = cluster.whoami()
    for _ in range(TRIES):
        item = cluster.get(RUNS, run)
        name = waiting(item, step)
        may_decide(item, name, me)
        entry = {"step": name, "by": me, "decision": "Denied" if deny else "Approved", "message": message or None}
        try:
            cluster.patch(RUNS, run, _with(item, {field: value for field, value in entry.items() if value}), dry_run)
        except Conflict:
            continue  # the run goes on meanwhile: what is decided must still be asked
        said = f"{name} {'denied' if deny else 'approved'} by {me}{' (dry run)' if dry_run else ''}"
        click.echo(f"workflowrun.adze.dev/{run} {said}")
        return
    raise exits.Unreachable(f"run {run!r} changes too fast: try again")


def waiting(run: Object, wanted: str | None) -> str:
    """The step that waits for a decision. NotFound if the wanted one doesn't, BadInput if it's not clear which."""
    name = run["metadata"]["name"]
    steps = run.get("status", {}).get("steps", ())
    found: list[str] = [
        step["name"] for step in steps if step.get("reason") == WAITING and step.get("phase") not in tree.FINAL
    ]
    if wanted and wanted in found:
        return wanted
    if wanted:
        known = [step["name"] for step in steps]
        near = "" if wanted in known else exits.did_you_mean(wanted, known)
        raise exits.NotFound(f"step {wanted!r} of run {name!r} does not wait for a decision{near}")
    if not found:
        raise exits.NotFound(f"no step of run {name!r} waits for a decision")
    if len(found) > 1:
        raise exits.BadInput(f"{len(found)} steps of run {name!r} wait for a decision: name one of {', '.join(found)}")
    return found[0]


def may_decide(run: Object, step: str, me: str) -> None:
    """BadInput if my decision would not count, or stands already."""
    written: Any = tree.Definitions(run["status"].get("workflowSpec") or {}).step(step).get("approval") or {}
    approvers = written.get("approvers") or ()
    if approvers and me not in approvers:
        raise exits.Forbidden(f"step {step!r} takes decisions of {', '.join(approvers)}, and you are {me}")
    if any(entry["step"] == step and entry["by"] == me for entry in run["spec"].get("approvals", ())):
        raise exits.BadInput(f"you have decided about step {step!r} already")


def _with(run: Object, entry: Object) -> Object:
    """The patch that adds a decision to those that are there, in the run as it was seen."""
    seen = {field: run["metadata"][field] for field in ("uid", "resourceVersion")}
    return {"metadata": seen, "spec": {"approvals": [*run["spec"].get("approvals", ()), entry]}}
