"""What the tutorial shows without a cluster happens; `tests/e2e/test_tutorial.py` runs the rest."""

import os
import sys
from pathlib import Path

import pytest

from tests.cli.command import ENTRY, ROOT, environment
from tests.cli.tutorial import CLUSTER, PAGE, commands, says_what_the_page_shows, write_files

HERE = commands(PAGE.partition(CLUSTER)[0])


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A clone with the tutorial's files, and adze on the path."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    write_files(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "adze").write_text(f"#!{sys.executable}\n{ENTRY}\n")
    (tmp_path / "bin" / "adze").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(("command", "shown"), HERE, ids=[command for command, _ in HERE])
def test_a_command_says_what_the_page_shows(desk: Path, command: str, shown: str) -> None:
    path = f"{desk / 'bin'}:{os.environ['PATH']}"
    says_what_the_page_shows(command, shown, desk, environment(desk / "state", PATH=path))


def test_the_page_has_commands_for_both_worlds() -> None:
    assert len(HERE) >= 7
    assert commands(PAGE.partition(CLUSTER)[2])
