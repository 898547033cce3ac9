"""One-line progress messages with the elapsed time, and long commands that say that they are still at work."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

HEARTBEAT_SECONDS = 15.0


class CommandError(RuntimeError):
    """A command ended with a non-zero status; the text holds the command and the end of its output."""


def say(text: str, since: float | None = None) -> None:
    """Print one progress line to standard error, with the seconds since ``since`` (a time.monotonic value)."""
    elapsed = "" if since is None else f" ({time.monotonic() - since:.1f}s)"
    print(f"[cluster] {text}{elapsed}", file=sys.stderr, flush=True)


def run(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a short command and return its standard output; raise CommandError with its errors otherwise."""
    done = subprocess.run(
        [str(part) for part in argv], capture_output=True, text=True, env=env, cwd=cwd, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        raise CommandError(f"{_shown(argv)}: exit {done.returncode}\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def run_long(
    what: str, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Run a command that may take minutes: say that it starts, a heartbeat at least each 15 s, and how it ended."""
    say(f"{what} ...")
    start = time.monotonic()
    process = subprocess.Popen(
        [str(part) for part in argv],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        while True:
            try:
                output, _ = process.communicate(timeout=HEARTBEAT_SECONDS)
                break
            except subprocess.TimeoutExpired:
                say(f"{what}: still at work", since=start)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode != 0:
        raise CommandError(f"{_shown(argv)}: exit {process.returncode}\n{output[-4000:]}")
    say(f"{what}: done", since=start)


def _shown(argv: Sequence[str | Path]) -> str:
    return " ".join(str(part) for part in argv)
