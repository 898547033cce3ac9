"""`adze run`: a workflow without a cluster."""

from typing import TYPE_CHECKING, Any

import click

from adze.cli.exits import BadInput
from adze.cli.inputs import read_input

if TYPE_CHECKING:
    from adze.core.model import Run, WorkflowSpec
    from adze.lint.check import Checked
    from adze.local.state import Folder

POLL = 0.3
"""Seconds between two looks at the files with --watch."""


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE...]")
@click.option(
    "-r",
    "--run",
    "name",
    metavar="NAME",
    help="Name of the WorkflowRun or Workflow to run, where the files hold several.",
)
@click.option("-i", "--input", "pairs", multiple=True, metavar="NAME=VALUE", help="One input; again for another.")
@click.option("-f", "--input-file", metavar="FILE", help="The input as a JSON or YAML object; - reads stdin.")
@click.option("--containers", is_flag=True, help="Run steps that bring an image with docker or podman.")
@click.option("--host-processes", is_flag=True, help="Run the commands of such steps on this machine.")
@click.option("--parallel", type=click.IntRange(1), metavar="N", help="Processes at a time. Default: two for each CPU.")
@click.option("--approve", multiple=True, metavar="STEP", help="Approve that step once it asks; again for another.")
@click.option("--resume", is_flag=True, help="Go on with the newest run (of FILE) that was interrupted.")
@click.option("-w", "--watch", is_flag=True, help="Run again each time a file has changed.")
@click.option("-q", "--quiet", is_flag=True, help="Show neither progress nor what steps print.")
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="Print the whole WorkflowRun at its end.")
@click.pass_context
def run(ctx: click.Context, /, files: tuple[str, ...], watch: bool, **options: Any) -> None:
    """Run a workflow here, without a cluster.

    FILE holds a Workflow, a WorkflowRun, or both; ConfigMaps and Secrets that steps refer to may come with them. Steps
    are processes of this machine. Progress goes to stderr, the run's output as JSON to stdout.

    \b
    Exit code:
      0    the run succeeded
      1    the run failed or was cancelled
      2    something is wrong with the files or the options; no step was started
      130  interrupted; adze run --resume goes on from there (129: hang-up, 143: SIGTERM)
    """
    try:
        ctx.exit(again_and_again(files, options) if watch else once(files, options))
    except KeyboardInterrupt:
        ctx.exit(130)


def again_and_again(files: tuple[str, ...], options: dict[str, Any]) -> int:
    """A run whenever a file has changed, until a signal comes; the exit code for that."""
    if not files or "-" in files or options["resume"]:
        raise BadInput("--watch needs files that can change, and a run of its own")
    while True:
        before = stamps(files)
        try:
            code = once(files, options)
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        if code > 128:
            return code
        click.echo("waiting for a change; Ctrl-C ends", err=True)
        wait_for_change(files, before)


def stamps(files: tuple[str, ...]) -> list[Any]:
    """What changes when one of the files does."""
    from pathlib import Path

    def stamp(file: str) -> Any:
        try:
            status = Path(file).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    return [stamp(file) for file in files]


def wait_for_change(files: tuple[str, ...], before: list[Any]) -> None:
    """Return once a file isn't what it was, and nobody writes on."""
    import time

    last = before
    while (now := stamps(files)) == before or now != last:
        last = now
        time.sleep(POLL)


def once(files: tuple[str, ...], options: dict[str, Any]) -> int:
    """One run from its files, or one that goes on; the exit code."""
    try:
        return from_start_or_on(files, options)
    except OSError as error:
        raise click.ClickException(f"the run's state can't be kept: {error}") from None


def from_start_or_on(files: tuple[str, ...], options: dict[str, Any]) -> int:
    """The run, whatever its state's disk says."""
    if options["resume"]:
        return go(resumed(files, options), options)
    if not files:
        raise BadInput("no FILE is given")
    import sys

    from adze.lint.check import check_files
    from adze.lint.formats import as_text

    checked = check_files(files, sys.stdin.buffer)
    checked.findings = [finding for finding in checked.findings if finding.rule != "input"]
    if checked.broken:
        click.echo(as_text(checked.findings), err=True)
        raise BadInput("nothing was started")
    return go(created(checked, files, options), options)


def resumed(files: tuple[str, ...], options: dict[str, Any]) -> "Folder":
    """The state of a run that was interrupted."""
    from pathlib import Path

    from adze.core.model import Run
    from adze.local import state

    if options["pairs"] or options["input_file"] or options["name"]:
        raise BadInput("--resume goes on with what there is: no --run and no input can be given")
    folder = state.unfinished(str(Path(file).resolve()) for file in files)
    if folder is None:
        raise BadInput(f"there is no interrupted run{f' of {files[0]}' if files else ''}")
    run = folder.load("run", Run)
    folder.save("run", approved(run, folder.load("order", state.Order).spec(run), options))
    return folder


def created(checked: "Checked", files: tuple[str, ...], options: dict[str, Any]) -> "Folder":
    """The state of a new run; BadInput if it can't be run here."""
    import os
    from pathlib import Path

    from adze.local import runtimes, state
    from adze.local.variables import Objects

    spec, run = chosen(checked, options)
    if run.spec.suspend:
        raise BadInput(f"{run.metadata.name} has spec.suspend: true, so nothing of it would start")
    runtime = chosen_runtime(options)
    objects = [document.value for document in checked.others if document.kind in ("ConfigMap", "Secret")]
    if problems := list(runtimes.refusals(spec, runtime, Objects(objects))):
        raise BadInput("; ".join(problems))
    run = approved(run, spec, options)
    workflows = [document.value for document, _ in checked.workflows]
    order = state.Order(
        files=tuple(str(Path(file).resolve()) for file in files),
        runtime=runtime,
        parallel=options["parallel"] or 2 * (os.cpu_count() or 1),
        objects=(*workflows, *objects),
    )
    return state.create(run, order)


def approved(run: "Run", spec: "WorkflowSpec", options: dict[str, Any]) -> "Run":
    """The run with the approvals that --approve gives; BadInput if it would wait for others for ever."""
    from msgspec.structs import replace

    from adze.core.model import Decision
    from adze.local import approvals

    given = (*options["approve"], *(entry.step for entry in run.spec.approvals))
    if problems := list(approvals.refusals(spec, given, terminal=asks(options))):
        raise BadInput("; ".join(problems))
    steps = [step for step in approvals.needed(spec) if step.name in options["approve"]]
    decisions = (approvals.decision(step, Decision.APPROVED) for step in steps)
    return replace(run, spec=replace(run.spec, approvals=(*run.spec.approvals, *decisions)))


def asks(options: dict[str, Any]) -> bool:
    """Whether somebody is there to be asked."""
    import sys

    return sys.stdin.isatty() and not options["quiet"]


def chosen_runtime(options: dict[str, Any]) -> str:
    """Where steps with an image of their own run."""
    from adze.local import runtimes

    if options["containers"] and options["host_processes"]:
        raise BadInput("--containers and --host-processes exclude each other")
    try:
        return runtimes.find_engine() if options["containers"] else runtimes.runtime(host=options["host_processes"])
    except runtimes.NotStarted as error:
        raise BadInput(str(error)) from None


def chosen(checked: "Checked", options: dict[str, Any]) -> "tuple[Any, Run]":
    """The workflow's spec and the new run."""
    import uuid

    import msgspec

    from adze.core.model import Metadata, Run, RunSpec
    from adze.shell.outside import utcnow

    workflows = {workflow.metadata.name: workflow for _, workflow in checked.workflows}
    runs = {run.metadata.name: run for _, run in checked.runs}
    name = options["name"]
    candidates: dict[str, Any] = runs or workflows
    if name is not None and name not in candidates:
        candidates = {**workflows, **runs}
    if name is None and len(candidates) != 1:
        kind = "WorkflowRun" if runs else "Workflow"
        some = f"the files hold {len(candidates)} {kind}s: choose with --run {' or --run '.join(candidates)}"
        raise BadInput(some if candidates else "there is no Workflow and no WorkflowRun in the files")
    item = candidates.get(name or next(iter(candidates)))
    if item is None:
        from adze.lint.schema import instead

        raise BadInput(f"there is no {name!r} in the files{instead(name or '', candidates)}")
    spec = item.spec if isinstance(item.spec, RunSpec) else RunSpec(workflow=item.metadata.name)
    workflow = workflows.get(spec.workflow or "")
    if spec.rerun_of:
        raise BadInput(f"{item.metadata.name} repeats the run {spec.rerun_of.run!r}, which only a cluster has")
    definition = spec.workflow_spec or (workflow.spec if workflow else None)
    if definition is None:
        raise BadInput(
            f"{item.metadata.name} runs the Workflow {spec.workflow!r}, which is not in the files: add its file"
        )
    given = read_input(options["pairs"], options["input_file"], definition.input)
    if given:
        spec = msgspec.structs.replace(spec, input={**(spec.input or {}), **given})
    uid = str(uuid.uuid4())
    own = isinstance(item, Run) and not item.metadata.name.endswith("-")
    metadata = Metadata(
        name=item.metadata.name if own else f"{item.metadata.name.rstrip('-')[:240]}-{uid[:5]}",
        namespace=item.metadata.namespace or "default",
        uid=uid,
        resource_version="1",
        generation=1,
        creation_timestamp=utcnow(),
    )
    return definition, Run(metadata=metadata, spec=spec)


def go(folder: "Folder", options: dict[str, Any]) -> int:
    """Run to the end, show it, and say how it went."""
    import asyncio
    import sys

    from adze.cli import progress
    from adze.core.model import Phase
    from adze.local.runner import Runner
    from adze.shell import logs
    from adze.shell.settings import Settings

    logs.configure(Settings(log_level="warning", log_format="text"))
    kind = progress.Silent if options["quiet"] else progress.Table if sys.stderr.isatty() else progress.Lines
    runner = Runner(folder, kind(), ask=asks(options))
    try:
        run = asyncio.run(runner.run())
    finally:
        folder.close()
    if runner.interrupted and not run.status.phase.final:
        progress.tell(f"{run.metadata.name} was interrupted; adze run --resume goes on\n")
        return 128 + runner.interrupted
    colour = progress.COLOURS[run.status.phase]
    progress.tell(click.style(progress.summary(run), colour) + "\n")
    print_result(run, options["output"])
    if run.status.phase is Phase.SUCCEEDED:
        return 0
    return 2 if run.status.start_time is None and run.status.phase is Phase.FAILED else 1


def print_result(run: "Run", form: str | None) -> None:
    """The run's output as JSON, or the whole run."""
    import msgspec

    from adze.core.model import API_VERSION

    if form is None:
        if run.status.output is not None:
            click.echo(msgspec.json.format(msgspec.json.encode(run.status.output)).decode())
        return
    whole = {"apiVersion": API_VERSION, "kind": "WorkflowRun", **msgspec.to_builtins(run)}
    if form == "yaml":
        from adze.lint.documents import dump

        click.echo(dump(whole), nl=False)
    else:
        click.echo(msgspec.json.format(msgspec.json.encode(whole)).decode())
