"""Fixtures for commands that work on a cluster: one that answers as told, and the command line in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adze.cli import main
from tests.cli.api import Api, serving


@pytest.fixture
def api() -> Iterator[Api]:
    """An API server that answers as told."""
    with serving() as api:
        yield api


@pytest.fixture
def on_api(api: Api, tmp_path: Path) -> Callable[..., Result]:
    """Runs a command on that API server."""
    path = api.kubeconfig(tmp_path / "kubeconfig")

    def run(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, [*words, "--kubeconfig", path], input=stdin, prog_name="adze")

    return run
