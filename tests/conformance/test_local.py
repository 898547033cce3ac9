"""Without a cluster: the examples and the cases end as they do on one."""

import json
from collections.abc import Mapping
from pathlib import Path
from subprocess import Popen

import pytest

from tests.cli.command import PATIENCE, ROOT, start
from tests.conformance import CASES, expected
from tests.examples.expectation import matches
from tests.examples.test_examples import RUNS, expectation

EXITS = {"Succeeded": 0, "Failed": 1, "Cancelled": 1}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Path, "Popen[str]"]:
    """All at once: most of their time is backoff."""
    state = tmp_path_factory.mktemp("state")
    started = {
        path: start("run", str(path.with_name("workflow.yaml")), str(path), "-o", "json", state=state) for path in RUNS
    }
    started |= {path: start("run", str(path), "--host-processes", "-o", "json", state=state) for path in CASES}
    return started


@pytest.mark.parametrize("path", [*RUNS, *CASES], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_run_ends_as_on_a_cluster(path: Path, commands: Mapping[Path, "Popen[str]"]) -> None:
    said, told = commands[path].communicate(timeout=PATIENCE)
    assert said, told
    status = json.loads(said)["status"]
    wanted = expectation(path) if path in RUNS else expected(path)
    assert matches(wanted, status) == [], told
    refused = wanted.get("reason") == "InvalidInput"
    assert commands[path].returncode == (2 if refused else EXITS[wanted["phase"]]), told
