"""The examples without a cluster: valid, and their scripts do what their `expect*.yaml` says."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from adze.core import cron, events, webhooks
from adze.core.events import Firing, Subscriber
from adze.core.model import Event, Run, Step, Webhook, Workflow
from adze.core.revision import compile_workflow
from tests.examples.expectation import matches
from tests.examples.walk import walk

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in ROOT.glob("examples/*/workflow.yaml"))
WORKFLOWS = sorted(ROOT.glob("examples/*/workflow*.yaml"))
RUNS = sorted(ROOT.glob("examples/*/run*.yaml"))
RERUNS = sorted(ROOT.glob("examples/*/rerun*.yaml"))
EVENTS = sorted(ROOT.glob("examples/*/event*.yaml"))
RIVALS = sorted(ROOT.glob("examples/*/rivals.yaml"))
WEBHOOKS = sorted(ROOT.glob("examples/*/webhook*.yaml"))
KINDS = {"Workflow": Workflow, "WorkflowRun": Run, "WorkflowEvent": Event, "WorkflowWebhook": Webhook}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def parse(path: Path) -> Any:
    document = load(path)
    return msgspec.convert(document, KINDS[document["kind"]])


def label(path: Path) -> str:
    return str(path.relative_to(ROOT / "examples"))


def expectation(run: Path) -> Any:
    return load(run.with_name(run.name.replace("run", "expect", 1)))


def all_steps(workflow: Workflow) -> list[Step]:
    spec = workflow.spec
    return [*spec.steps, *([spec.on_failure] if spec.on_failure else []), *spec.finally_]


def closed(schema: Any) -> Any:
    """A CRD's schema that refuses unknown fields, as the API server does for `kubectl apply`."""
    if isinstance(schema, list):
        return [closed(member) for member in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(member) for key, member in schema.items()}
    if isinstance(schema.get("properties"), dict) and "x-kubernetes-preserve-unknown-fields" not in schema:
        inner["additionalProperties"] = False
    return inner


@cache
def crd_schema(kind: str) -> Any:
    crd = load(ROOT / "crds" / f"{kind.lower()}s.yaml")
    assert crd["spec"]["names"]["kind"] == kind
    return closed(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"])


def test_they_are_all_there() -> None:
    assert [path.name for path in EXAMPLES] == [
        "01-order-pipeline",
        "02-user-onboarding",
        "03-daily-report",
        "04-api-sync",
        "05-ai-pipeline",
        "06-morning-report",
        "07-welcome-on-signup",
        "08-github-webhook",
        "10-conditional",
        "11-nested",
        "12-job",
        "13-approval",
        "20-word-count",
        "21-scrape-fan-out",
        "22-rerun",
        "30-strategies",
    ]
    assert {path.parent for path in (*RUNS, *EVENTS)} == set(EXAMPLES)


@pytest.mark.parametrize("path", [*WORKFLOWS, *RUNS, *RERUNS, *EVENTS, *WEBHOOKS], ids=label)
def test_manifest_is_valid(path: Path) -> None:
    document = load(path)
    assert document["apiVersion"] == "adze.dev/v1alpha1"
    jsonschema.validate(document["spec"], crd_schema(document["kind"]))
    assert parse(path).metadata.name == document["metadata"]["name"]


@pytest.mark.parametrize("path", RIVALS, ids=label)
def test_rivals_are_runs_of_the_examples_workflows_with_an_end_each(path: Path) -> None:
    runs = list(yaml.safe_load_all(path.read_text()))
    for run in runs:
        jsonschema.validate(run["spec"], crd_schema("WorkflowRun"))
    workflows = {load(workflow)["metadata"]["name"] for workflow in path.parent.glob("workflow*.yaml")}
    assert {run["spec"]["workflow"] for run in runs} == workflows
    assert [run["metadata"]["name"] for run in runs] == list(load(path.with_name("expect-rivals.yaml")))


@pytest.mark.parametrize("path", WORKFLOWS, ids=label)
def test_workflow_compiles(path: Path) -> None:
    workflow = parse(path)
    compiled = compile_workflow(workflow.spec)
    assert cron.problems(workflow.spec, compiled.input) == []
    for step in all_steps(workflow):
        assert step.image is None, "the examples run in adze's worker image"
        if step.script:
            compile(step.script.source, f"{label(path)}/{step.name}", "exec")


def walkable(run: Path) -> bool:
    """Whether it needs nothing but scripts; the others are run on a cluster only."""
    return all(step.script for step in all_steps(parse(run.with_name("workflow.yaml"))))


@pytest.mark.parametrize("run", [run for run in RUNS if walkable(run)], ids=label)
def test_run_ends_as_expected(run: Path, tmp_path: Path) -> None:
    workflow = parse(run.with_name("workflow.yaml"))
    expected = expectation(run)
    assert matches(expected, msgspec.to_builtins(walk(workflow, parse(run), tmp_path).status)) == []
    if expected.get("reason") != "InvalidInput":
        assert set(expected["steps"]) >= {step.name for step in workflow.spec.steps}, "each step has an expected end"


@pytest.mark.parametrize("path", RERUNS, ids=label)
def test_rerun_ends_as_expected(path: Path, tmp_path: Path) -> None:
    workflow = parse(path.with_name("workflow.yaml"))
    source = walk(workflow, parse(path.with_name("run.yaml")), tmp_path)
    ended = walk(workflow, parse(path), tmp_path, source)
    expected = load(path.with_name(f"expect-{path.name}"))
    assert matches(expected, msgspec.to_builtins(ended.status)) == []


@pytest.mark.parametrize("path", EVENTS, ids=label)
def test_event_starts_a_run_that_ends_as_expected(path: Path, tmp_path: Path) -> None:
    workflow = parse(path.with_name("workflow.yaml"))
    subscriber = msgspec.convert(load(path.with_name("workflow.yaml")), Subscriber)
    (firing,) = events.firings(parse(path), [subscriber])
    assert isinstance(firing, Firing)
    ended = walk(workflow, msgspec.convert(firing.manifest, Run), tmp_path)
    expected = load(path.with_name(path.name.replace("event", "expect", 1)))
    assert matches(expected, msgspec.to_builtins(ended.status)) == []


@pytest.mark.parametrize("path", WEBHOOKS, ids=label)
def test_webhook_makes_the_event_of_its_example(path: Path) -> None:
    event = parse(path.with_name("event.yaml"))
    headers = {"x-github-event": "release", "x-github-delivery": event.spec.id}
    made = webhooks.event(parse(path).metadata.name, parse(path).spec, headers, msgspec.json.encode(event.spec.data))
    assert made == event.spec


def test_runs_have_names_of_their_own() -> None:
    names = [load(path)["metadata"]["name"] for path in RUNS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("folder", EXAMPLES, ids=label)
def test_readme_names_every_file(folder: Path) -> None:
    readme = (folder / "README.md").read_text()
    named = set(re.findall(r"examples/[-\w/]+\.yaml", readme))
    manifests = {
        *folder.glob("workflow*.yaml"),
        *folder.glob("run*.yaml"),
        *folder.glob("rivals.yaml"),
        *folder.glob("rerun*.yaml"),
        *folder.glob("event*.yaml"),
        *folder.glob("webhook*.yaml"),
    }
    assert named == {str(path.relative_to(ROOT)) for path in manifests}


STATUS = {
    "phase": "Failed",
    "message": "step charge failed: exit code 64",
    "steps": [
        {
            "name": "charge",
            "phase": "Failed",
            "attempts": [
                {"number": 1, "pod": "a", "infrastructure": True},
                {"number": 2, "pod": "b", "exitCode": 64},
            ],
        }
    ],
}


@pytest.mark.parametrize(
    ("expected", "differences"),
    [
        ({"phase": "Failed", "message": "exit code 64"}, []),
        ({"steps": {"charge": {"phase": "Failed", "attempts": 1, "exitCode": 64}}}, []),
        ({"output": None, "steps": {"audit": None}}, []),
        ({"message": None}, ["message: expected None, not 'step charge failed: exit code 64'"]),
        ({"phase": "Succeeded"}, ["phase: expected 'Succeeded', not 'Failed'"]),
        ({"message": "exit code 1:"}, ["message: expected 'exit code 1:' in 'step charge failed: exit code 64'"]),
        ({"steps": {"charge": {"attempts": 2}}}, ["steps.charge.attempts: expected 2, not 1"]),
        (
            {"steps": {"fulfil": {"phase": "Cancelled"}}},
            ["steps.fulfil: expected {'phase': 'Cancelled'}, but there is none"],
        ),
        ({"output": {"total": 1}}, ["output: expected {'total': 1}, but there is none"]),
    ],
)
def test_matches_tells_the_differences(expected: dict[str, Any], differences: list[str]) -> None:
    assert matches(expected, STATUS) == differences
