"""`adze lint`: the cluster's verdict at the desk."""

import sys

import click

FORMATS = ("text", "json", "sarif")


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-o", "--output", type=click.Choice(FORMATS), default="text", show_default=True, help="Form of the findings."
)
@click.pass_context
def lint(ctx: click.Context, /, files: tuple[str, ...], output: str) -> None:
    """Check Workflows and WorkflowRuns without a cluster.

    What the API server would refuse at apply, what would make a Workflow Ready=False or a run fail with InvalidWorkflow
    or InvalidInput, and some likely mistakes (warnings). A run is checked against its Workflow if that is in one of the
    files. Documents of other kinds are left alone. - reads stdin.

    \b
    Exit code:
      0  nothing but warnings
      1  something would be refused
      2  something is wrong with the options
    """
    from adze.lint import formats
    from adze.lint.check import check_files

    checked = check_files(list(dict.fromkeys(files)), sys.stdin.buffer)
    text = formats.FORMATS[output](checked.findings)
    if text:
        click.echo(text)
    if output == "text":
        counts = {
            "Workflow": len(checked.workflows),
            "WorkflowRun": len(checked.runs),
            "finding": len(checked.findings),
        }
        click.echo(", ".join(f"{number} {what}{'s' * (number != 1)}" for what, number in counts.items()), err=True)
    ctx.exit(1 if checked.broken else 0)
