"""Without a cluster: the examples and the cases end as they do on one."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
import yaml

from tests.cli.command import PATIENCE, ROOT, start
from tests.conformance import CASES, expected
from tests.examples.expectation import matches
from tests.examples.test_examples import RUNS, expectation

EXITS = {"Succeeded": 0, "Failed": 1, "Cancelled": 1}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Path, "Popen[str]"]:
    """All at once: most of their time is backoff."""
    state = tmp_path_factory.mktemp("state")
    started = {path: start("run", *example(path), "-o", "json", state=state) for path in RUNS}
    started |= {path: start("run", str(path), "--host-processes", "-o", "json", state=state) for path in CASES}
    return started


def steps(path: Path) -> list[dict[str, Any]]:
    """The steps of an example."""
    found: list[dict[str, Any]] = yaml.safe_load(path.with_name("workflow.yaml").read_text())["spec"]["steps"]
    return found


def example(path: Path) -> list[str]:
    """The arguments for an example, its approvals given."""
    approvals = [word for step in steps(path) if "approval" in step for word in ("--approve", step["name"])]
    return [str(path.with_name("workflow.yaml")), str(path), *approvals]


CLUSTER_ONLY = [path for path in RUNS if any(kind in step for step in steps(path) for kind in ("job", "workflow"))]
HERE = [path for path in RUNS if path not in CLUSTER_ONLY]


@pytest.mark.parametrize("path", CLUSTER_ONLY, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_kind_that_needs_a_cluster_is_refused_by_its_name(path: Path, commands: Mapping[Path, "Popen[str]"]) -> None:
    said, told = commands[path].communicate(timeout=PATIENCE)
    assert (said, commands[path].returncode) == ("", 2)
    assert re.search("(job|workflow) steps need a cluster", told), told


@pytest.mark.parametrize("path", [*HERE, *CASES], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_run_ends_as_on_a_cluster(path: Path, commands: Mapping[Path, "Popen[str]"]) -> None:
    said, told = commands[path].communicate(timeout=PATIENCE)
    assert said, told
    status = json.loads(said)["status"]
    wanted = expectation(path) if path in RUNS else expected(path)
    assert matches(wanted, status) == [], told
    refused = wanted.get("reason") == "InvalidInput"
    assert commands[path].returncode == (2 if refused else EXITS[wanted["phase"]]), told
