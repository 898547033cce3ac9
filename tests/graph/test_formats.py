"""Pictures name every step and every edge once."""

import re
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from adze.core.model import WorkflowSpec
from adze.graph.formats import as_dot, as_mermaid, as_svg, as_text


def spec(parents: dict[str, list[str]], **fields: Any) -> WorkflowSpec:
    steps = [{"name": name, "parents": above, "script": {"source": "x"}} for name, above in parents.items()]
    for step in steps:
        if step["name"] == "maybe":
            step["when"] = "input.x  ==\n1"
    return msgspec.convert({"steps": steps, **fields}, WorkflowSpec)


DIAMOND = spec(
    {"fetch": [], "left": ["fetch"], "maybe": ["fetch"], "join": ["left", "maybe"], "far": ["join", "fetch"]},
    onFailure={"name": "alert", "script": {"source": "x"}},
    **{"finally": [{"name": "audit", "script": {"source": "x"}}, {"name": "sweep", "script": {"source": "x"}}]},
)


def test_text_hangs_a_step_below_its_last_parent() -> None:
    assert as_text(DIAMOND) == (
        "fetch\n├─ left\n└─ maybe  (when input.x == 1)\n   ↓ join  (after left too)\n   ↓ far  (after fetch too)\n\n"
        "onFailure:\n  alert\n\nfinally:\n  audit\n  sweep"
    )


def test_a_chain_stays_narrow() -> None:
    chain = {f"s{number}": [f"s{number - 1}"] if number else [] for number in range(200)}
    assert max(map(len, as_text(spec(chain)).splitlines())) == len("↓ s199")


EDGES = {("fetch", "left"), ("fetch", "maybe"), ("left", "join"), ("maybe", "join"), ("join", "far"), ("fetch", "far")}


def test_mermaid_and_dot_have_every_edge() -> None:
    mermaid = as_mermaid(DIAMOND)
    names = dict(re.findall(r'^ +(\w+)\["(.+)"\]$', mermaid, re.M))
    assert {(names[a], names[b]) for a, b in re.findall(r"(\w+) -\S*>(?:\|when\|)? (\w+)", mermaid)} == EDGES
    assert set(names.values()) == {"fetch", "left", "maybe", "join", "far", "alert", "audit", "sweep"}
    assert set(re.findall(r'"(\S+)" -> "(\S+)"', as_dot(DIAMOND))) == EDGES


@pytest.mark.parametrize("workflow", [DIAMOND, spec({"alone": []})], ids=["diamond", "alone"])
def test_svg_is_xml_with_a_box_for_each_step(workflow: WorkflowSpec) -> None:
    root = ElementTree.fromstring(as_svg(workflow))
    kinds = [element.tag.rpartition("}")[2] for element in root]
    steps = len(workflow.steps) + bool(workflow.on_failure) + len(workflow.finally_)
    assert kinds.count("rect") == steps
    assert kinds.count("path") == sum(len(step.parents) for step in workflow.steps)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for box in root.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(box.attrib["x"]) + float(box.attrib["width"]) <= width
        assert float(box.attrib["y"]) + float(box.attrib["height"]) <= height
