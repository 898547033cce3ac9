"""`adze lint`, `graph` and `explain` as a person uses them."""

import json
from pathlib import Path

import pytest

from tests.cli.command import adze

EXAMPLE = "examples/01-order-pipeline"


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["lint"], 2, "Error: Missing argument 'FILE...'."),
        (["lint", "nowhere.yaml"], 1, "1:1: error: can't be read: No such file or directory [file]"),
        (["lint", "-o", "xml", f"{EXAMPLE}/run.yaml"], 2, "Error: Invalid value for '-o' / '--output'"),
        (["lint", f"{EXAMPLE}/workflow.yaml", f"{EXAMPLE}/run-invalid.yaml"], 1, "0 is less than the minimum of 1"),
        (["lint", f"{EXAMPLE}/run-invalid.yaml"], 0, "0 Workflows, 1 WorkflowRun, 0 findings"),
        (["graph", "nowhere.yaml"], 2, "Error: nothing was drawn"),
        (["graph", f"{EXAMPLE}/run.yaml"], 2, f"Error: there is no Workflow in {EXAMPLE}/run.yaml"),
        (["graph", f"{EXAMPLE}/workflow.yaml", "--run", "order"], 2, "Error: there is no 'order' in"),
        (["explain", "workflow.spec.steps.retires"], 2, "has no field 'retires'; did you mean 'retries'?"),
        (["explain", "workflow.spec.steps.name.x"], 2, "Error: workflow.spec.steps.name has no fields"),
        (["explain", "pod"], 2, "Error: there is no kind 'pod'"),
        (["rum"], 2, "Error: No such command 'rum'."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_outcome_is_in_the_exit_code_and_the_line(tmp_path: Path, words: list[str], code: int, line: str) -> None:
    done = adze(*words, state=tmp_path)
    assert done.returncode == code
    assert line in done.stdout + done.stderr


def test_lint_reads_stdin_and_speaks_sarif(tmp_path: Path) -> None:
    done = adze("lint", "-", "-o", "sarif", state=tmp_path, stdin="kind: Workflow\n")
    results = json.loads(done.stdout)["runs"][0]["results"]
    assert done.returncode == 1
    assert [result["message"]["text"] for result in results] == [
        "apiVersion: must be adze.dev/v1alpha1 for a Workflow, not None",
        "metadata.name: must be given",
    ]


def test_explain_lists_the_kinds_and_fields(tmp_path: Path) -> None:
    assert [line.split()[0] for line in adze("explain", state=tmp_path).stdout.splitlines()] == [
        "workflow",
        "workflowrun",
        "workflowevent",
        "workflowwebhook",
    ]
    said = adze("explain", "awf.spec.steps[].backoff.type", state=tmp_path).stdout
    assert "FIELD:    workflow.spec.steps.backoff.type <string>" in said
    assert "one of: Constant, Exponential, Linear" in said
    assert "default: Exponential" in said
    deep = adze("explain", "workflow", "--recursive", state=tmp_path).stdout
    assert "      backoff <Object>\n        type <string>\n" in deep


def test_graph_draws_a_tree(tmp_path: Path) -> None:
    done = adze("graph", f"{EXAMPLE}/workflow.yaml", state=tmp_path)
    assert done.stdout == (
        "validate\n↓ charge\n↓ fulfil\n├─ notify-customer\n└─ notify-warehouse\n\n"
        "onFailure:\n  alert-support\n\nfinally:\n  audit\n"
    )
