"""An attempt's command, in a session of its own, under a shell that outlives adze.

The shell notes its pid, runs the command, notes its exit code, and kills what the command has left behind. It holds
the write end of a named pipe while it lives. So whoever opens that pipe for reading, the adze that started it or a
later one, is told of its end, and can't mistake another process of the same pid for it.

    alive      the named pipe           pid, exit   what the shell notes
    log        stdout and stderr        work/       where the command starts
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

SHELL = """\
trap : HUP INT TERM
cd "$0/work" && echo $$ >"$0/pid" || exit 1
(exec "$@") </dev/null >>"$0/log" 2>&1
echo $? >"$0/exit"
kill -KILL 0
"""


class Process:
    """A command that was started here or is found running."""

    def __init__(self, folder: Path, pipe: int, child: "subprocess.Popen[bytes] | None" = None) -> None:
        self._folder = folder
        self._pipe = pipe
        self._child = child

    @classmethod
    def start(cls, folder: Path, command: Sequence[str], env: Mapping[str, str]) -> "Process":
        """Start `command` with its files in `folder`; OSError if the shell can't be started."""
        (folder / "work").mkdir(exist_ok=True)
        os.mkfifo(folder / "alive", 0o600)
        pipe = os.open(folder / "alive", os.O_RDONLY | os.O_NONBLOCK)
        held = os.open(folder / "alive", os.O_WRONLY)
        try:
            # The shell inherits the pipe as its stdin: from its very first moment it is known to live.
            child = subprocess.Popen(
                ["/bin/sh", "-c", SHELL, str(folder), *command],
                stdin=held,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(env),
                start_new_session=True,
            )
        except OSError:
            os.close(pipe)
            raise
        finally:
            os.close(held)
        return cls(folder, pipe, child)

    @classmethod
    def find(cls, folder: Path) -> "Process | None":
        """The process that an earlier adze has started there, if it lives."""
        try:
            pipe = os.open(folder / "alive", os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        with suppress(BlockingIOError):
            os.read(pipe, 1)
            os.close(pipe)
            return None
        return cls(folder, pipe)

    def when_ended(self, tell: Callable[[], None]) -> None:
        """Call `tell` once the process has ended."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(self._pipe)
            os.close(self._pipe)
            if self._child:
                self._child.wait()
            tell()

        loop.add_reader(self._pipe, ended)

    def send(self, number: signal.Signals) -> None:
        """Signal the whole session."""
        pid = self._child.pid if self._child else noted(self._folder, "pid")
        if pid:
            with suppress(ProcessLookupError):
                os.killpg(pid, number)


def noted(folder: Path, name: str) -> int | None:
    """The number that the shell has noted, or None; an empty file is a shell that was killed as it wrote."""
    try:
        return int((folder / name).read_text())
    except (FileNotFoundError, ValueError):
        return None


def moment(folder: Path, name: str) -> datetime | None:
    """When the shell noted it."""
    try:
        seconds = (folder / name).stat().st_mtime
    except FileNotFoundError:
        return None
    return datetime.fromtimestamp(int(seconds * 1000) / 1000, UTC)
