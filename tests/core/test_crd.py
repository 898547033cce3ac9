"""The CustomResourceDefinitions: what the API server takes, and the same as in crds/."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from adze.core import crd
from adze.core.model import Run, WorkflowSpec
from tests.builders import Drive, step, workflow

ROOT = Path(__file__).parents[2]
CRDS = crd.definitions()
FREE = "x-kubernetes-preserve-unknown-fields"


def schema_of(name: str) -> dict[str, Any]:
    (version,) = CRDS[name]["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def parts(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within a schema, with its path."""
    yield path, schema
    for name, member in schema.get("properties", {}).items():
        yield from parts(member, f"{path}.{name}")
    if "items" in schema:
        yield from parts(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from parts(schema["additionalProperties"], f"{path}{{}}")


PARTS = [
    pytest.param(part, id=path)
    for name in CRDS
    for field in ("spec", "status")
    for path, part in parts(schema_of(name)["properties"][field], f"{name}.{field}")
]


def test_the_files_are_what_the_types_say() -> None:
    files = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml")}
    assert files == CRDS


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_structural_described_and_bounded(part: dict[str, Any], request: pytest.FixtureRequest) -> None:
    path = request.node.callspec.id
    assert not part.keys() & {"$ref", "anyOf", "oneOf", "allOf", "not", "title", "definitions", "nullable"}
    if "x-kubernetes-int-or-string" in part:
        assert "type" not in part and part["maxLength"]
        return
    assert isinstance(part.get("type"), str), "a structural schema has one type everywhere"
    if part["type"] == "string":
        assert part.get("maxLength") or part.get("enum") or part.get("format") == "date-time"
    if part["type"] == "array":
        assert part["maxItems"]
        assert "items" in part
    if part["type"] == "object":
        words = isinstance(part.get("additionalProperties"), dict) and part.get("maxProperties")
        assert "properties" in part or part.get(FREE) is True or words or part["maxProperties"]
        assert not isinstance(part.get("additionalProperties"), bool), "additionalProperties: false is not structural"
        assert set(part.get("required", ())) <= set(part.get("properties", {}))
    if not path.endswith("[]"):
        assert part.get("description"), "kubectl explain shows it"


@pytest.mark.parametrize("part", PARTS)
def test_no_field_with_a_default_is_required(part: dict[str, Any]) -> None:
    for name in part.get("required", ()):
        assert "default" not in part["properties"][name]


@pytest.mark.parametrize("name", list(CRDS))
def test_names_subresource_and_columns(name: str) -> None:
    definition = CRDS[name]
    (version,) = definition["spec"]["versions"]
    assert definition["metadata"]["name"] == f"{name}.adze.dev"
    assert definition["spec"]["scope"] == "Namespaced"
    assert definition["spec"]["names"]["categories"] == ["adze"]
    assert (version["name"], version["subresources"]) == ("v1alpha1", {"status": {}})
    for column in version["additionalPrinterColumns"]:
        assert column["name"] == column["name"].upper()
        assert resolves(schema_of(name), column["jsonPath"]), column["jsonPath"]
    for selectable in version.get("selectableFields", ()):
        assert resolves(schema_of(name), selectable["jsonPath"]), selectable["jsonPath"]


def resolves(schema: dict[str, Any], path: str) -> bool:
    if path == ".metadata.creationTimestamp":
        return True
    for name in path.split("[")[0].strip(".").split("."):
        if name not in schema.get("properties", {}):
            return False
        schema = schema["properties"][name]
    return True


def test_get_shows_name_workflow_phase_progress_reason_and_age() -> None:
    columns = CRDS["workflowruns"]["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in columns if not column.get("priority")] == [
        "WORKFLOW",
        "PHASE",
        "PROGRESS",
        "REASON",
        "AGE",
    ]
    wide = [column["name"] for column in columns if column.get("priority")]
    assert {"STARTED", "FINISHED", "MESSAGE"} <= set(wide)


def test_short_names() -> None:
    assert {name: one["spec"]["names"]["shortNames"] for name, one in CRDS.items()} == {
        "workflows": ["awf"],
        "workflowruns": ["awr"],
        "workflowevents": ["awe"],
        "workflowwebhooks": ["aww"],
    }


def test_all_of_a_run_but_priority_cancel_suspend_and_approvals_is_fixed_at_creation() -> None:
    spec = schema_of("workflowruns")["properties"]["spec"]
    rules = " ".join(rule["rule"] for rule in spec["x-kubernetes-validations"])
    for field in spec["properties"]:
        # The chart's admission policy keeps workflowSpec.
        changes = field in ("priority", "cancel", "suspend", "approvals", "workflowSpec")
        assert (f"self.{field} == oldSelf.{field}" in rules) is not changes, field
    assert all(rule["message"] for rule in spec["x-kubernetes-validations"])


def test_rules_about_the_steps_of_a_run_cost_nothing_after_its_creation() -> None:
    workflow_of_runs = schema_of("workflowruns")["properties"]["spec"]["properties"]["workflowSpec"]
    for steps in (workflow_of_runs["properties"]["steps"], workflow_of_runs["properties"]["finally"]):
        # Only in a list with keys does the API server find the step as it was.
        assert steps["x-kubernetes-list-type"] == "map"
        rules = steps["items"]["x-kubernetes-validations"]
        assert rules and all(rule["optionalOldSelf"] and rule["rule"].startswith(crd.NEW_ONLY) for rule in rules)
    assert workflow_of_runs["x-kubernetes-map-type"] == "atomic"
    of_workflow = schema_of("workflows")["properties"]["spec"]["properties"]["steps"]["items"]
    assert not any("optionalOldSelf" in rule for rule in of_workflow["x-kubernetes-validations"])


def test_a_status_has_one_owner() -> None:
    for kind in CRDS:
        assert schema_of(kind)["properties"]["status"]["x-kubernetes-map-type"] == "atomic"


def plain(value: msgspec.Struct) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def test_every_status_of_a_run_matches_its_schema() -> None:
    spec = workflow(
        step("a", retries=1, backoff={"base": "1s"}), step("b", parents=["a"]), step("c", when="false"),
        on_failure=step("alarm"), finally_=[step("tidy")],
    )  # fmt: skip
    drive = Drive(spec).until_quiet().start("a").pass_time(2).fail("a").until_wake().succeed("a", output={"x": 1})
    drive.fail("b").succeed("alarm").succeed("tidy")
    assert drive.phase == "Failed"
    jsonschema.validate(plain(drive.run.status), schema_of("workflowruns")["properties"]["status"])
    jsonschema.validate(plain(spec), schema_of("workflows")["properties"]["spec"])


@pytest.mark.parametrize(
    "bad",
    [
        {"steps": []},
        {"steps": [{"name": "A", "image": "x"}]},
        {"steps": [{"name": "a-", "image": "x"}]},
        {"steps": [{"name": "a" * 41, "image": "x"}]},
        {"steps": [{"name": "a", "image": "x", "timeout": "5"}]},
        {"steps": [{"name": "a", "image": "x", "retries": -1}]},
        {"steps": [{"name": "a", "image": "x", "backoff": {"type": "exponential"}}]},
        {"steps": [{"image": "x"}]},
        {},
    ],
)
def test_types_and_schema_refuse_the_same(bad: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, schema_of("workflows")["properties"]["spec"])
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, WorkflowSpec)


def test_an_object_of_the_api_server_is_read() -> None:
    text = """
apiVersion: adze.dev/v1alpha1
kind: WorkflowRun
metadata: {name: r, namespace: n, uid: u, resourceVersion: "5", creationTimestamp: 2026-03-01T12:00:00Z, labels: {}}
spec: {workflow: w, input: {x: 1}, cancel: true}
"""
    read = msgspec.convert(yaml.safe_load(text), Run)
    assert (read.key, read.spec.workflow, read.spec.cancel, read.status.phase) == (("n", "r"), "w", True, "Pending")
