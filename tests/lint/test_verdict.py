"""Lint's verdict is the cluster's: what is refused there in `tests/e2e/test_bad_input.py` is an error here."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from adze.lint import schema
from adze.lint.check import check_files
from tests.conformance import CASES
from tests.e2e.kube import Object, run, workflow
from tests.e2e.test_bad_input import INVALID, REFUSED
from tests.examples.test_examples import EXAMPLES

REFUSED_AT_APPLY = {"schema", "unknown-field"}


def rules(tmp_path: Path, document: Object) -> set[str]:
    (tmp_path / "f.yaml").write_text(yaml.safe_dump(document))
    return {found.rule for found in check_files([str(tmp_path / "f.yaml")]).findings}


@pytest.mark.parametrize(("nodes", "fields"), [case[:2] for case in REFUSED.values()], ids=REFUSED)
def test_what_the_api_server_refuses_is_an_error(tmp_path: Path, nodes: list[Object], fields: Object) -> None:
    assert rules(tmp_path, workflow("bad", *nodes, **fields)) & REFUSED_AT_APPLY
    assert rules(tmp_path, run("bad", *nodes, **fields)) & REFUSED_AT_APPLY


@pytest.mark.parametrize("nodes", [case[0] for case in INVALID.values()], ids=INVALID)
def test_what_makes_a_workflow_not_ready_is_an_error(tmp_path: Path, nodes: list[Object]) -> None:
    assert rules(tmp_path, workflow("bad", *nodes)) == {"workflow"}
    assert rules(tmp_path, run("bad", *nodes)) == {"workflow"}


def test_what_runs_on_the_cluster_has_no_finding() -> None:
    files = [str(folder / "workflow.yaml") for folder in EXAMPLES] + [str(case) for case in CASES]
    assert check_files(files).findings == []


def every_rule(part: Any) -> list[str]:
    if isinstance(part, list):
        return [rule for member in part for rule in every_rule(member)]
    if not isinstance(part, dict):
        return []
    own = [item["rule"] for item in part.get("x-kubernetes-validations", ()) if isinstance(item, dict)]
    return own + [rule for member in part.values() for rule in every_rule(member)]


@pytest.mark.parametrize("kind", list(schema.schemas()))
def test_each_rule_of_the_crds_can_be_asked_here(kind: str) -> None:
    for rule in every_rule(schema.of_kind(kind)):
        assert schema.compiled(rule) is not None or "oldSelf" in rule
