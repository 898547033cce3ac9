"""The page about the workflow language: every block, applied as it stands, ends as the page says."""

import re
from collections.abc import Mapping

import yaml

from tests.e2e.kube import IMAGE, Kube, Object
from tests.installation import ROOT

PAGE = ROOT / "docs" / "workflow-language.md"
FAIL = {"handlers", "run-if"}
"""Runs that show what happens after a failure."""
WAIT = {"release": "WaitingForApproval", "paid": "WaitingForEvent", "later": "Suspended"}
"""Runs that wait for somebody."""


def blocks() -> list[Object]:
    """The page's objects in its order."""
    texts = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text().replace("busybox:1.37", IMAGE), re.M | re.S)
    return [item for text in texts for item in yaml.safe_load_all(text)]


def reasons(item: Object) -> set[str]:
    """Why a run or a step of it waits."""
    status: Mapping[str, object] = item.get("status", {})
    return {str(part.get("reason")) for part in (status, *status.get("steps", ()))}  # type: ignore[attr-defined,misc]


def test_every_block_does_what_the_page_says(kube: Kube) -> None:
    objects = blocks()
    reruns = [item for item in objects if "rerunOf" in item["spec"]]
    kube.apply(*(item for item in objects if item not in reruns))
    runs = {item["metadata"]["name"] for item in objects if item["kind"] == "WorkflowRun" and item not in reruns}
    ended = {name: kube.ended(name, timeout=300)["phase"] for name in sorted(runs - WAIT.keys())}
    assert {name for name, phase in ended.items() if phase != "Succeeded"} == FAIL
    kube.apply(*reruns)
    assert {kube.ended(item["metadata"]["name"])["phase"] for item in reruns} == {"Succeeded"}
    for name, reason in WAIT.items():
        kube.until(reason, "workflowrun", name, lambda item, reason=reason: reason in reasons(item))  # type: ignore[misc]
