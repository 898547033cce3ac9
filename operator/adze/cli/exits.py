"""How a command ends: one line on stderr and an exit code that a script can tell apart.

The codes are part of the command line's interface. They are said here, and shown in docs/cli.md.
"""

from collections.abc import Iterable
from difflib import get_close_matches

import click

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
FORBIDDEN = 4
UNREACHABLE = 5
TIMED_OUT = 6
INTERRUPTED = 130

MEANINGS = {
    OK: "done; of a run that was waited for: it succeeded",
    FAILED: "the run failed or was cancelled",
    USAGE: "bad input: options, a file, an input that breaks the workflow's schema; nothing was started",
    NOT_FOUND: "there is no such run, workflow or step, or adze is not installed",
    FORBIDDEN: "not logged in, or no right to do this",
    UNREACHABLE: "no kubeconfig, no official client, or the cluster can't be reached",
    TIMED_OUT: "the time of --timeout is up; the run goes on",
    INTERRUPTED: "interrupted by Ctrl-C; a run on a cluster goes on",
}
"""What each code means."""


class Failure(click.ClickException):
    """The end of a command, told in one line. Subclasses have the exit codes."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class BadInput(Failure):
    """What was given can't be used; nothing was started."""

    exit_code = USAGE


class NotFound(Failure):
    """There is no such thing."""

    exit_code = NOT_FOUND


class Forbidden(Failure):
    """The cluster doesn't know who asks, or doesn't let them."""

    exit_code = FORBIDDEN


class Unreachable(Failure):
    """There is no way to the cluster."""

    exit_code = UNREACHABLE


class TimedOut(Failure):
    """It takes longer than was allowed."""

    exit_code = TIMED_OUT


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """The end of a message: words that come close, if any."""
    known = list(words)
    close = get_close_matches(word, known, n=3, cutoff=0.6) or [name for name in known if word in name][:3]
    return f"; did you mean {' or '.join(close)}?" if close else ""
