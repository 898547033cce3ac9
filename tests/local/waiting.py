"""What these tests wait for and look at."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

PATIENCE = 60.0


def until(what: str, done: Callable[[], Any]) -> Any:
    """Wait for a condition; its value."""
    deadline = time.monotonic() + PATIENCE
    while not (value := done()):
        assert time.monotonic() < deadline, f"not {what} after {PATIENCE:.0f} s"
        time.sleep(0.02)
    return value


def said(process: "Popen[str]", words: str) -> None:
    """Wait until a process has said it on stderr; one that keeps silent is killed."""
    lines: list[str] = []
    silence = threading.Timer(PATIENCE, process.kill)
    silence.start()
    assert process.stderr is not None
    for line in iter(process.stderr.readline, ""):
        lines.append(line)
        if words in line:
            silence.cancel()
            return
    raise AssertionError(f"{words!r} is not in {lines}")


def alive(pid: int) -> bool:
    """False for a process that is gone, and for one that waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
