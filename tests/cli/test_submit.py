"""submit: what is wrong is said with its field before anything is created."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from adze.cli import exits
from tests.cli.api import CLUSTER, Answer, Api, refusal
from tests.cli.test_cluster import OnApi, run

SCHEMA = {
    "type": "object",
    "required": ["order"],
    "additionalProperties": False,
    "properties": {
        "order": {"type": "string"},
        "copies": {"type": "integer", "minimum": 1},
        "price": {"type": "number"},
        "gift": {"type": "boolean"},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
    },
}
STEPS = [{"name": "a", "image": "busybox:1.37"}]


def workflow(ready: str = "True", observed: int = 3) -> dict[str, Any]:
    """The Workflow `order`."""
    condition = {"type": "Ready", "status": ready, "message": "spec.steps[a].when: no", "observedGeneration": observed}
    return {
        "apiVersion": "adze.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "order", "generation": 3},
        "spec": {"input": SCHEMA, "steps": STEPS},
        "status": {"conditions": [condition]},
    }


WORKFLOW = {field: value for field, value in workflow().items() if field != "status"}
"""The same as its author wrote it."""


@pytest.fixture
def order(api: Api) -> Api:
    """A cluster that has the Workflow and takes runs."""
    api.on("GET", f"{CLUSTER}/workflows/order", Answer(workflow()))
    api.on("POST", rf"{CLUSTER}/workflowruns\?.*", Answer(run("order-x", None), 201))
    return api


def created(api: Api) -> list[tuple[dict[str, str], Any]]:
    """What was to be created: query and body."""
    return [(query, body) for method, _, query, _, body in api.asked if method == "POST"]


def test_values_get_the_types_of_the_schema(order: Api, on_api: OnApi) -> None:
    words = [f"--input={pair}" for pair in ("order=17", "copies=2", "price=1.5", "gift=true", 'lines=[{"n": 1}]')]
    done = on_api("submit", "order", *words)
    assert (done.exit_code, done.stdout) == (exits.OK, "workflowrun.adze.dev/order-x created\n")
    body = {
        "apiVersion": "adze.dev/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"generateName": "order-"},
        "spec": {
            "workflow": "order",
            "input": {"order": "17", "copies": 2, "price": 1.5, "gift": True, "lines": [{"n": 1}]},
        },
    }
    assert created(order) == [({"fieldValidation": "Strict"}, body)]


WRONG = {
    "type": (["-i", "order=a", "-i", "copies=two"], 'input.copies: "two" is not of type "integer"'),
    "bound": (["-i", "order=a", "-i", "copies=0"], "input.copies: 0 is less than the minimum of 1"),
    "boolean": (["-i", "order=a", "-i", "gift=yes"], 'input.gift: "yes" is not of type "boolean"'),
    "nested": (["-i", "order=a", "-i", 'lines=[{"n": "x"}]'], 'input.lines[0].n: "x" is not of type "integer"'),
    "missing": ([], 'input: "order" is a required property'),
    "unknown": (["-i", "order=a", "-i", "ordr=b"], "'ordr' was unexpected"),
    "twice": (["-i", "order=a", "-i", "order=b"], "--input order is given twice"),
    "no value": (["-i", "order"], "--input order: NAME=VALUE is expected"),
    "no file": (["--input-file", "/nowhere.json"], "--input-file /nowhere.json: No such file or directory"),
}


@pytest.mark.parametrize(("words", "message"), WRONG.values(), ids=WRONG)
def test_wrong_input_creates_nothing(order: Api, on_api: OnApi, words: list[str], message: str) -> None:
    done = on_api("submit", "order", *words)
    assert done.exit_code == exits.USAGE
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert created(order) == []


def test_an_input_goes_over_that_of_the_file(order: Api, on_api: OnApi, tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text(json.dumps({"order": "a", "copies": 1}))
    on_api("submit", "order", "--input-file", str(tmp_path / "input.json"), "-i", "copies=5")
    assert created(order)[0][1]["spec"]["input"] == {"order": "a", "copies": 5}


def test_a_workflow_that_is_not_ready_makes_no_run(api: Api, on_api: OnApi) -> None:
    api.on("GET", f"{CLUSTER}/workflows/order", Answer(workflow(ready="False")))
    done = on_api("submit", "order", "-i", "order=a")
    assert done.exit_code == exits.USAGE
    assert done.stderr == "Error: workflow 'order' can't be run: spec.steps[a].when: no\n"


def test_a_verdict_on_an_older_workflow_does_not_count(api: Api, on_api: OnApi) -> None:
    api.on("GET", f"{CLUSTER}/workflows/order", Answer(workflow(ready="False", observed=2)))
    api.on("POST", rf"{CLUSTER}/workflowruns\?.*", Answer(run("order-x", None), 201))
    assert on_api("submit", "order", "-i", "order=a").exit_code == exits.OK


def test_a_file_with_a_workflow_becomes_a_run_of_its_own(order: Api, on_api: OnApi) -> None:
    document = {**WORKFLOW, "metadata": {"name": "order", "labels": {"team": "x"}}}
    done = on_api("submit", "-f", "-", "-i", "order=a", stdin=json.dumps(document))
    assert done.exit_code == exits.OK, done.stderr
    body = created(order)[0][1]
    assert body["metadata"] == {"generateName": "order-", "labels": {"team": "x"}}
    assert body["spec"] == {"workflowSpec": {"input": SCHEMA, "steps": STEPS}, "input": {"order": "a"}}


def test_a_file_with_a_run_keeps_its_name_and_takes_further_input(order: Api, on_api: OnApi) -> None:
    document = {
        **run("order-7"),
        "metadata": {"name": "order-7"},
        "spec": {"workflow": "order", "input": {"order": "a"}},
    }
    del document["status"]
    on_api("submit", "-f", "-", "-i", "copies=3", stdin=yaml.safe_dump(document))
    on_api("submit", "-f", "-", "--generate-name", "again-", stdin=yaml.safe_dump(document))
    bodies = [body for _, body in created(order)]
    assert [body["metadata"] for body in bodies] == [{"name": "order-7"}, {"generateName": "again-"}]
    assert [body["spec"]["input"] for body in bodies] == [{"order": "a", "copies": 3}, {"order": "a"}]


FILES = {
    "not YAML": ("a: [", "is not YAML"),
    "two objects": (yaml.safe_dump_all([WORKFLOW] * 2), "holds 2 objects"),
    "another kind": (yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}), "holds 1 objects"),
    "unknown field": (
        yaml.safe_dump({**WORKFLOW, "spec": {"steps": [{**STEPS[0], "comand": ["x"]}]}}),
        "spec.steps[a].comand: unknown field",
    ),
    "unknown parent": (
        yaml.safe_dump({**WORKFLOW, "spec": {"steps": [{**STEPS[0], "parents": ["b"]}]}}),
        "there is no step 'b'",
    ),
}


@pytest.mark.parametrize(("text", "message"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_workflow_creates_nothing(order: Api, on_api: OnApi, text: str, message: str) -> None:
    done = on_api("submit", "-f", "-", "-i", "order=a", stdin=text)
    assert done.exit_code == exits.USAGE
    assert message in done.stderr
    assert order.asked == []


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["order", "-f", "x.yaml"],
        ["order", "--name", "a", "--generate-name", "b"],
        ["order", "--timeout", "1s"],
        ["order", "--wait", "--timeout", "soon"],
        ["order", "--watch", "-o", "name"],
    ],
)
def test_options_that_make_no_sense_create_nothing(order: Api, on_api: OnApi, words: list[str]) -> None:
    assert on_api("submit", *words).exit_code == exits.USAGE
    assert created(order) == []


def test_what_the_server_refuses_is_bad_input(api: Api, on_api: OnApi) -> None:
    api.on("GET", f"{CLUSTER}/workflows/order", Answer(workflow()))
    exists = refusal(409, "AlreadyExists", 'workflowruns.adze.dev "x" already exists', "workflowruns")
    api.on("POST", rf"{CLUSTER}/workflowruns\?.*", exists)
    done = on_api("submit", "order", "-i", "order=a", "--name", "x")
    assert (done.exit_code, done.stderr) == (exits.USAGE, 'Error: workflowruns.adze.dev "x" already exists\n')


@pytest.mark.parametrize(("phase", "code"), [("Succeeded", exits.OK), ("Failed", exits.FAILED)])
def test_the_exit_code_tells_how_the_run_ended(order: Api, on_api: OnApi, phase: str, code: int) -> None:
    order.on("GET", f"{CLUSTER}/workflowruns/order-x", Answer(run("order-x", phase)))
    done = on_api("submit", "order", "-i", "order=a", "--wait")
    assert done.exit_code == code
    assert done.stdout.splitlines()[1] == f"order-x {phase} in 7s"


def test_a_wait_has_its_limit(order: Api, on_api: OnApi) -> None:
    order.on("GET", f"{CLUSTER}/workflowruns/order-x", Answer(run("order-x")))
    done = on_api("submit", "order", "-i", "order=a", "--wait", "--timeout", "0s")
    assert done.exit_code == exits.TIMED_OUT
    assert "it goes on" in done.stderr


def test_json_of_a_run_that_is_waited_for_is_that_of_its_end(order: Api, on_api: OnApi) -> None:
    order.on("GET", f"{CLUSTER}/workflowruns/order-x", Answer(run("order-x", "Succeeded")))
    done = on_api("submit", "order", "-i", "order=a", "--wait", "-o", "json")
    assert json.loads(done.stdout)["status"]["phase"] == "Succeeded"


def test_a_dry_run_waits_for_nothing(order: Api, on_api: OnApi) -> None:
    done = on_api("submit", "order", "-i", "order=a", "--wait", "--dry-run")
    assert done.stdout == "workflowrun.adze.dev/order-x created (dry run)\n"
    assert created(order)[0][0]["dryRun"] == "All"
