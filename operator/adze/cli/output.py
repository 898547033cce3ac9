"""`adze output`: hand over the output of the step that it's called in."""

import click

from adze.cli.exits import BadInput, Failure


@click.command()
@click.argument("file", default="-")
def output(file: str) -> None:
    """Hand over this step's output, in a step of a run.

    FILE holds a JSON object; without it, or with -, it is read from stdin. Beyond 4096 bytes the step needs
    `largeOutput: true`.

    \b
    jq -c '{rows: .}' rows.json | adze output
    """
    from adze.sdk import NotAStep, Refused, hand_over
    from adze.sdk.__main__ import read

    try:
        hand_over(read(file))
    except (OSError, ValueError, NotAStep) as error:
        raise BadInput(str(error)) from None
    except Refused as error:
        raise Failure(str(error)) from None
