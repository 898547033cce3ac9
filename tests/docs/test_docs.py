"""The pages keep pace with the code: links, YAML, reasons, settings, metrics, make targets, constants."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml

from adze.core import crd, cron
from adze.core.model import Run, Workflow
from adze.core.revision import compile_workflow
from adze.core.schema import Validator
from adze.shell.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "worker-image/*.md", "tests/**/*.md")
    for path in ROOT.glob(pattern)
)
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
WITH_YAML = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("workflow-language", "concurrency", "triggers")),
]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
CORE = ROOT / "operator" / "adze" / "core"
OTHER_SOURCES = [ROOT / "operator" / "adze" / "shell" / name for name in ("driver.py", "workflows.py")]

NOT_REASONS = frozenset(
    {
        *("Approved", "Complete", "Job", "Never", "Pod", "RuntimeDefault"),
        *("Constant", "Linear", "Exponential", "Skipped", "Always", "AnySucceeded", "True", "False", "Unknown"),
        *("Skip", "RunLatest", "RunAll", "Cron", "Direct", "Event", "Rerun", "Step"),
        *("Ready", "Reconciling", "Stalled", "Processed", "Normal", "Warning", "Workflow", "WorkflowRun", "UTC"),
        *("Background", "DELETE", "GET", "PATCH", "POST", "PUT"),
        *(
            "Queue",
            "RoundRobin",
            "CancelInProgress",
            "CancelNewest",
            "KeepNewestQueued",
            "ConfigMap",
            "Lease",
            "PodsLeft",
        ),
        *("AlreadyExists", "Conflict", "Later", "NotFound", "Refused", "RequestEntityTooLarge"),
        *("ContainerCreating", "PodInitializing", "ContainerStatusUnknown", "ErrImagePull"),
        *("DisruptionTarget", "PodScheduled", "Continue", "Fail", "Part"),
    }
)
"""Capitalised words in the code that never end up in a `reason`: kinds, verbs, phases, and what is read of Pods."""
WITHOUT_REASONS = (
    *("crd.py", "manifest.py", "overlay.py", "pod.py"),
    *("webhook.py", "signatures.py", "cloudevents.py", "openapi.py"),
)
WORD = re.compile(r"[A-Z][a-z]+([A-Z][A-Za-z]*)*(-[a-z]+)?|[A-Z]{2,}[A-Za-z]+")


def relative(path: Path) -> str:
    """A page's name in a test's id."""
    return str(path.relative_to(ROOT))


def prose(text: str) -> str:
    """A page without its code blocks, whose brackets are no links."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


@lru_cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", prose(path.read_text()), re.M)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_each_relative_link_leads_somewhere(page: Path) -> None:
    outside_code = re.sub(r"`[^`\n]*`", "", prose(page.read_text()))
    for target in re.findall(r"\]\(([^)\s]+)\)", outside_code):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        found = (page.parent / place).resolve() if place else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_each_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:`|^\$? *)make ([a-z][a-z0-9-]*)", page.read_text(), re.M))
    assert named <= targets


def blocks() -> Iterator[tuple[str, str]]:
    """Each YAML block of the pages for users, with the page and line where it stands."""
    for page in WITH_YAML:
        text = page.read_text()
        for found in re.finditer(r"^```yaml\n(.*?)^```$", text, re.M | re.S):
            yield f"{relative(page)}:{text.count(chr(10), 0, found.start()) + 1}", found[1]


def strict(schema: Any) -> Any:
    """A CRD's schema that also refuses unknown fields, as `kubectl apply` does."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    inner = {word: strict(part) for word, part in schema.items() if not word.startswith("x-kubernetes-")}
    if "properties" in schema and "x-kubernetes-preserve-unknown-fields" not in schema:
        inner["additionalProperties"] = False
    return inner


@lru_cache
def validators() -> dict[str, jsonschema_rs.Validator]:
    """For each kind what the API server takes."""
    made = {}
    for definition in crd.definitions().values():
        schema = strict(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        made[definition["spec"]["names"]["kind"]] = jsonschema_rs.validator_for(schema)
    return made


@pytest.mark.parametrize("block", [pytest.param(block, id=place) for place, block in blocks()])
def test_each_yaml_block_can_be_applied(block: str) -> None:
    inputs: dict[str, Validator | None] = {}
    for document in yaml.safe_load_all(block):
        assert document["apiVersion"] == crd.definitions()["workflows"]["spec"]["group"] + "/v1alpha1"
        errors = [f"{error.instance_path}: {error}" for error in validators()[document["kind"]].iter_errors(document)]
        assert not errors
        if document["kind"] == "Workflow":
            workflow = msgspec.convert(document, Workflow)
            inputs[workflow.metadata.name] = compile_workflow(workflow.spec).input
            assert cron.problems(workflow.spec, inputs[workflow.metadata.name]) == []
            continue
        if document["kind"] != "WorkflowRun":
            continue
        run = msgspec.convert(document, Run)
        if run.spec.rerun_of:
            continue
        schema = compile_workflow(run.spec.workflow_spec).input if run.spec.workflow_spec else None
        if run.spec.workflow:
            schema = inputs[run.spec.workflow]
        if schema:
            schema.check(run.spec.input or {}, "spec.input")


def test_an_unknown_field_would_be_noticed() -> None:
    step = {"name": "a", "image": "busybox", "paretns": ["b"]}
    document = {"apiVersion": "adze.dev/v1alpha1", "kind": "Workflow", "metadata": {}, "spec": {"steps": [step]}}
    assert any("paretns" in str(error) for error in validators()["Workflow"].iter_errors(document))


def test_no_bare_yaml_1_1_boolean_in_a_block() -> None:
    # PyYAML alone would not tell: unlike kubectl it reads y and n as texts.
    for place, block in blocks():
        plain = [token.value for token in yaml.scan(block) if isinstance(token, yaml.ScalarToken) and token.plain]
        assert not [word for word in plain if word.lower() in ("y", "n", "on", "off", "yes", "no")], place


@lru_cache
def words() -> frozenset[tuple[str, str]]:
    """Each capitalised word among the code's constants, and its file."""
    found = set()
    for path in [*sorted(CORE.rglob("*.py")), *OTHER_SOURCES]:
        if path.name in WITHOUT_REASONS:
            continue
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        exported = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
            for part in ast.walk(node.value)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            if id(node) not in docstrings | exported and WORD.fullmatch(node.value):
                found.add((node.value, relative(path)))
    return frozenset(found)


def documented() -> set[str]:
    """The words in the first column of the tables under Reasons."""
    section = OPERATIONS.partition("\n## Reasons")[2].partition("\n## ")[0]
    return {word for row in re.findall(r"^\| (`.*?) \|", section, re.M) for word in re.findall(r"`([A-Z][\w-]+)`", row)}


@pytest.mark.parametrize("word", sorted({word for word, _ in words()} - NOT_REASONS))
def test_each_reason_has_a_row(word: str) -> None:
    places = sorted({place for found, place in words() if found == word})
    assert word in documented(), f"a row in docs/operations.md, or NOT_REASONS here; written in {places}"


def test_no_word_is_excused_that_is_not_in_the_code() -> None:
    assert {word for word, _ in words()} >= NOT_REASONS


@pytest.mark.parametrize("field", [field.name for field in fields(Settings)])
def test_each_setting_has_a_row(field: str) -> None:
    variable = {"instance": "POD_NAME", "own_namespace": "POD_NAMESPACE"}.get(field, f"ADZE_{field.upper()}")
    assert f"| `{variable}` |" in OPERATIONS
    assert f'"{variable}"' in (ROOT / "operator" / "adze" / "shell" / "settings.py").read_text()


def test_each_metric_has_a_row() -> None:
    source = (ROOT / "operator" / "adze" / "shell" / "metrics.py").read_text()
    metrics = set(re.findall(r'"(adze_\w+)"', source))
    assert metrics
    assert metrics == set(re.findall(r"^\| `(adze_\w+)` \|", OPERATIONS, re.M))


def test_each_constant_of_the_limits_is_where_they_say() -> None:
    for row in re.findall(r"^\|.*\|$", (ROOT / "docs" / "limits.md").read_text(), re.M):
        for file, names in re.findall(r"`((?:core|shell|local|lint)/[\w/]+\.py)` (`\w+`(?:, `\w+`)*)", row):
            source = (ROOT / "operator" / "adze" / file).read_text()
            for name in re.findall(r"`(\w+)`", names):
                defined = rf"^\s*(class |def )?{name}\b(?!\.)"
                assert re.search(defined, source, re.M), (file, name)


def test_each_fault_of_the_catalogue_has_a_row() -> None:
    rows = re.findall(r"^\| F(\d+) \|", (ROOT / "docs" / "guarantees.md").read_text(), re.M)
    assert [int(row) for row in rows] == list(range(1, 46))


def test_each_bug_of_another_has_tests_that_exist() -> None:
    section = (ROOT / "docs" / "guarantees.md").read_text().partition("\n## What went wrong elsewhere")[2]
    rows = re.findall(r"^\| (?:argo|Tekton|Hatchet|kopf) .*$", section, re.M)
    assert len(rows) == 16
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, test in named:
            assert re.search(rf"^(async )?def {test}\(", (ROOT / "tests" / file).read_text(), re.M), (file, test)


@pytest.mark.parametrize("page", ADRS, ids=relative)
def test_a_decision_is_short_and_whole(page: Path) -> None:
    text = page.read_text()
    assert text.count("\n") <= 60
    assert re.match(rf"# {int(page.name[:4])}\. \S", text)
    assert re.search(r"^Date: \d{4}-\d{2}-\d{2}", text, re.M)
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings == ["Context", "Decision", "Example", "Consequences"]


def test_pages_hold_no_path_of_somebodys_machine() -> None:
    for page in PAGES:
        assert not re.search(r"(?<![\w.~])/(?:root|home|work|var/tmp)/", page.read_text()), page
