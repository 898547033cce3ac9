"""What a command imports is what it costs before it does anything: budgets in modules, not in milliseconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from adze.cli import COMMANDS
from tests.cli.command import ROOT, environment

HEAVY = {"aiohttp", "asyncio", "kopf", "kubernetes", "prometheus_client", "structlog"}
CORE = {"cel_expr_python", "jsonschema_rs", "msgspec", "yaml", "adze.core.model", "adze.shell", "adze.local"}
EXAMPLE = "examples/01-order-pipeline"
CODE = """
import json, sys
from adze.cli import main
main(sys.argv[1:], prog_name="adze", standalone_mode=False)
print("\\n" + json.dumps(sorted(sys.modules)))
"""


def imported(*words: str, state: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words],
        cwd=ROOT,
        env=environment(state),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("words", [["--help"], *([command, "--help"] for command in COMMANDS)], ids=" ".join)
def test_help_imports_nothing_but_the_command_line(tmp_path: Path, words: list[str]) -> None:
    assert imported(*words, state=tmp_path) & (HEAVY | CORE) == set()


@pytest.mark.parametrize(
    "words",
    [
        ["lint", f"{EXAMPLE}/workflow.yaml"],
        ["graph", f"{EXAMPLE}/workflow.yaml"],
        ["explain", "workflow.spec.steps"],
    ],
    ids=" ".join,
)
def test_desk_commands_import_no_event_loop_and_no_web_stack(tmp_path: Path, words: list[str]) -> None:
    modules = imported(*words, state=tmp_path)
    assert modules & HEAVY == set()
    assert "adze.core" in modules


def test_a_local_run_imports_neither_kopf_nor_a_web_stack(tmp_path: Path) -> None:
    words = ["run", f"{EXAMPLE}/workflow.yaml", f"{EXAMPLE}/run-invalid.yaml", "--quiet"]
    modules = imported(*words, state=tmp_path)
    assert modules & {"aiohttp", "kopf", "kubernetes"} == set()
    assert "adze.local.runner" in modules
