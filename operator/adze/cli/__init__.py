"""The command line: a table of commands, each in a module that is imported when it is needed.

Those modules import little at their top; what is heavy stays inside the commands, so that `adze --help` is quick.
"""

import os
from importlib import import_module

import click

from adze import __version__

COMMANDS = {
    "run": "adze.cli.run:run",
    "lint": "adze.cli.lint:lint",
    "graph": "adze.cli.graph:graph",
    "explain": "adze.cli.explain:explain",
    "get": "adze.cli.get:get",
    "describe": "adze.cli.describe:describe",
    "watch": "adze.cli.watch:watch",
    "logs": "adze.cli.logs:logs",
    "submit": "adze.cli.submit:submit",
    "cancel": "adze.cli.change:cancel",
    "suspend": "adze.cli.change:suspend",
    "resume": "adze.cli.change:resume",
    "rerun": "adze.cli.rerun:rerun",
    "approve": "adze.cli.approve:approve",
    "event": "adze.cli.event:event",
    "output": "adze.cli.output:output",
    "operator": "adze.cli.operator:operator",
    "release": "adze.cli.operator:release",
}
"""Where each command is, in the order in which `--help` shows them."""


class Table(click.Group):
    """A group whose commands come from COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=Table, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="adze")
@click.pass_context
def main(ctx: click.Context) -> None:
    """adze runs workflows as Kubernetes custom resources."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False
