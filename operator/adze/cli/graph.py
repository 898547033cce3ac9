"""`adze graph`: a picture of a workflow."""

import sys

import click

from adze.cli.exits import BadInput

FORMATS = ("text", "mermaid", "dot", "svg")


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "-r", "--run", "name", metavar="NAME", help="Name of the Workflow or WorkflowRun to draw, where FILE holds several."
)
@click.option(
    "-o", "--output", type=click.Choice(FORMATS), default="text", show_default=True, help="Form of the picture."
)
def graph(file: str, name: str | None, output: str) -> None:
    """Draw the graph of a workflow.

    FILE holds a Workflow, or a WorkflowRun with workflowSpec; - reads stdin. What lint refuses is not drawn. Exit code
    2 if there is nothing to draw.
    """
    from adze.graph import formats
    from adze.lint.check import check_files
    from adze.lint.formats import as_text

    checked = check_files([file], sys.stdin.buffer)
    if checked.broken:
        click.echo(as_text(checked.findings), err=True)
        raise BadInput("nothing was drawn")
    specs = {run.metadata.name: run.spec.workflow_spec for _, run in checked.runs if run.spec.workflow_spec}
    specs |= {workflow.metadata.name: workflow.spec for _, workflow in checked.workflows}
    if not specs:
        raise BadInput(f"there is no Workflow in {file}")
    if name is None and len(specs) > 1:
        raise BadInput(f"{file} holds {len(specs)} workflows: choose with --run {' or --run '.join(specs)}")
    spec = specs.get(name or next(iter(specs)))
    if spec is None:
        from adze.lint.schema import instead

        raise BadInput(f"there is no {name!r} in {file}{instead(name or '', specs)}")
    click.echo(formats.FORMATS[output](spec))
