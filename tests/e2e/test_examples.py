"""Every example reaches its expected end on the real cluster."""

import json
from pathlib import Path

import pytest
import yaml

from tests.e2e.kube import IMAGE, Kube
from tests.examples.expectation import matches
from tests.installation import ROOT

RUNS = sorted((ROOT / "examples").glob("*/run*.yaml"))
RIVALS = sorted((ROOT / "examples").glob("*/rivals.yaml"))
RERUNS = sorted((ROOT / "examples").glob("*/rerun*.yaml"))
EVENTS = sorted((ROOT / "examples").glob("*/event*.yaml"))


@pytest.mark.parametrize("path", RUNS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_example_ends_as_its_readme_says(kube: Kube, path: Path) -> None:
    for manifest in (*sorted(path.parent.glob("workflow*.yaml")), path):
        # A test cluster has no registry to pull from.
        kube.must("apply", "-f", "-", stdin=manifest.read_text().replace("busybox:1.37", IMAGE))
    name = yaml.safe_load(path.read_text())["metadata"]["name"]
    for step in yaml.safe_load((path.parent / "workflow.yaml").read_text())["spec"]["steps"]:
        if "approval" in step:
            approve(kube, name, step["name"])
    expected = yaml.safe_load((path.parent / path.name.replace("run", "expect", 1)).read_text())
    assert matches(expected, kube.ended(name, timeout=120)) == []


@pytest.mark.parametrize("path", RIVALS, ids=lambda path: path.parent.name)
def test_rivals_end_as_their_strategy_says(kube: Kube, path: Path) -> None:
    for manifest in (*sorted(path.parent.glob("workflow*.yaml")), path):
        kube.must("apply", "-f", str(manifest))
    expected = yaml.safe_load((path.parent / "expect-rivals.yaml").read_text())
    found = {name: matches(end, kube.ended(name, timeout=120)) for name, end in expected.items()}
    assert {name: differences for name, differences in found.items() if differences} == {}


@pytest.mark.parametrize("path", RERUNS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_example_is_repeated_as_its_readme_says(kube: Kube, path: Path) -> None:
    kube.must("apply", "-f", str(path.parent / "workflow.yaml"))
    kube.must("apply", "-f", str(path.parent / "run.yaml"))
    again = yaml.safe_load(path.read_text())
    kube.ended(again["spec"]["rerunOf"]["run"], timeout=120)
    kube.must("apply", "-f", str(path))
    expected = yaml.safe_load((path.parent / f"expect-{path.name}").read_text())
    assert matches(expected, kube.ended(again["metadata"]["name"], timeout=120)) == []


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_events_run_ends_as_its_readme_says(kube: Kube, path: Path) -> None:
    kube.must("apply", "-f", str(path.parent / "workflow.yaml"))
    kube.must("create", "-f", str(path))
    name = yaml.safe_load(path.read_text())["metadata"]["name"]
    kube.must("wait", f"workflowevent/{name}", "--for=condition=Processed", "--timeout=30s")
    (run,) = kube.list("workflowruns", f"adze.dev/event={name}")
    expected = yaml.safe_load((path.parent / path.name.replace("event", "expect", 1)).read_text())
    assert matches(expected, kube.ended(run["metadata"]["name"], timeout=120)) == []


def approve(kube: Kube, run: str, step: str) -> None:
    """Approve a step once it waits for that."""
    kube.step(run, step, lambda status: status.get("reason") == "WaitingForApproval")
    me = json.loads(kube.must("auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"]
    kube.patch("workflowrun", run, approvals=[{"step": step, "by": me, "decision": "Approved"}])
