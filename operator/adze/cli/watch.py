"""`adze watch`: a run as it goes, drawn anew on a terminal, else a line for each change."""

import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

from adze.cli import tree
from adze.cli.cluster import Cluster, Object, on_cluster
from adze.cli.complete import runs
from adze.cli.follow import exit_code, to_the_end
from adze.cli.news import news
from adze.cli.options import SECONDS
from adze.cli.table import Cell, aligned

PHASE = len("Succeeded")
ENTER, LEAVE, HOME = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l", "\x1b[H\x1b[J"
"""To the terminal's second screen, without a cursor; back to the first; to the top of it, all cleared."""


@click.command()
@click.argument("run", shell_complete=runs)
@click.option("--timeout", type=SECONDS, metavar="DURATION", help="Give up after this time, such as 90s or 1h30m.")
@on_cluster
def watch(cluster: Cluster, run: str, timeout: float | None) -> None:
    """Follow a run to its end.

    A terminal shows the tree of its steps; elsewhere each change is a line. The exit code tells how the run ended:
    0 succeeded, 1 failed or cancelled. Ctrl-C ends the watching, not the run.
    """
    sys.exit(exit_code(follow(cluster, run, timeout)))


def follow(cluster: Cluster, name: str, timeout: float | None) -> Object:
    """Show the run until it has ended; what it is then."""
    states = to_the_end(cluster, name, timeout)
    return _drawn(states) if sys.stdout.isatty() else _told(states)


def _told(states: Iterable[Object | None]) -> Object:
    run: Object = {}
    width = 0
    for state in states:
        if state is None:
            continue
        rows = news(run or None, state, datetime.now(UTC))
        run = state
        # All rows of a log line up, though each is printed long before the next is known.
        steps = [step["name"] for step in run.get("status", {}).get("steps", ())]
        width = max(width, *map(len, (*steps, run["metadata"]["name"])))
        for stamp, who, phase, why in rows:
            padded = (stamp, Cell(who.text.ljust(width)), Cell(phase.text.ljust(PHASE), phase.colour), why)
            click.echo("\n".join(aligned([padded])))
    return run


def _drawn(states: Iterable[Object | None]) -> Object:
    run: Object = {}
    with _screen():
        for state in states:
            run = state or run
            click.echo(HOME + "\n".join(fitting(run, datetime.now(UTC), *shutil.get_terminal_size())), nl=False)
    click.echo("\n".join(aligned(tree.rows(run, datetime.now(UTC)))))
    return run


def fitting(run: Any, now: datetime, columns: int, lines: int) -> list[str]:
    """The run in as many lines as a terminal has, without what has nothing to tell if need be."""
    rows = tree.rows(run, now)
    if len(rows) > lines:
        rows = tree.rows(run, now, brief=True)
    if len(rows) > lines:
        rows = [*rows[: lines - 1], (Cell(f"… and {len(rows) - lines + 1} more"),)]
    return aligned(rows, columns)


@contextmanager
def _screen() -> Iterator[None]:
    """The terminal's second screen, which leaves the first as it was."""
    click.echo(ENTER, nl=False)
    try:
        yield
    finally:
        click.echo(LEAVE, nl=False)
