"""The command line as a person has it: a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
ENTRY = "from adze.cli import main; main(prog_name='adze')"


def environment(state: Path, **more: str) -> dict[str, str]:
    """Where state and modules are; no colours."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "operator"), "XDG_STATE_HOME": str(state), "NO_COLOR": "1", **more}


def words_of(*words: str) -> list[str]:
    """The whole command line."""
    return [sys.executable, "-c", ENTRY, *words]


def start(*words: str, state: Path, more: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    """A command on its way."""
    return subprocess.Popen(
        words_of(*words),
        cwd=ROOT,
        env=environment(state, **(more or {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def adze(
    *words: str, state: Path, stdin: str = "", more: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """A command to its end; the caller looks at the outcome."""
    return subprocess.run(
        words_of(*words),
        cwd=ROOT,
        env=environment(state, **(more or {})),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
