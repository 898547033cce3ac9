"""The values: described, closed, and refused by name when they are wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.chart.render import (
    CHART,
    ROOT,
    VARIANTS,
    refusal,
    run,
)

PEER = ("podSelector", "namespaceSelector", "ipBlock")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replica": 2}, ["replica"]),
        ({"image": {"tags": "x"}}, ["image", "tags"]),
        ({"replicas": "two"}, ["replicas", "integer"]),
        ({"replicas": -1}, ["replicas"]),
        ({"watch": {"namespaces": "a,b"}}, ["watch/namespaces", "array"]),
        ({"watch": {"namespaces": ["A_b"]}}, ["watch/namespaces/0"]),
        ({"image": {"digest": "latest"}}, ["image/digest"]),
        ({"log": {"level": "loud"}}, ["log/level", "debug"]),
        ({"crds": {"install": "yes"}}, ["crds/install", "boolean"]),
        ({"extraEnv": [{"value": "x"}]}, ["extraEnv/0", "name"]),
        ({"tolerations": [{"effects": "x"}]}, ["tolerations/0", "effects"]),
        ({"metrics": {"serviceMonitor": {"every": "1m"}}}, ["metrics/serviceMonitor", "every"]),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_the_schema_refuses_and_names_the_value(values: dict[str, Any], words: list[str]) -> None:
    message = refusal(values)
    assert all(word in message.replace(".", "/") for word in words), message


def objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, member in schema.get("properties", {}).items():
        yield from objects(member, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from objects(schema[keyword], f"{path}[]")


def test_the_schema_describes_every_value_and_leaves_nothing_open() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    # Kubernetes checks these itself, and a parent chart's values are not ours.
    passed_on = {
        ".global",
        ".extraEnv[].valueFrom",
        ".affinity.nodeAffinity",
        ".affinity.podAffinity",
        ".affinity.podAntiAffinity",
        ".topologySpreadConstraints[].labelSelector",
        *(f".networkPolicy.{who}[].{part}" for who in ("ingressFrom", "gatewayFrom", "outputsFrom") for part in PEER),
    }
    found = dict(objects(schema))
    assert all(member.get("description") for member in found.values())
    assert {path for path, member in found.items() if member["type"] == "object" and _is_open(member)} == passed_on


def _is_open(member: dict[str, Any]) -> bool:
    """Whether it takes anything: it neither lists its members nor says what each of them is."""
    rest = member.get("additionalProperties", True)
    return rest is not False and not isinstance(rest, dict)


def test_every_default_is_in_the_schema_and_every_value_has_a_default() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        optional = {"global", "initialDelaySeconds"}
        if not values and path == ".affinity":
            return
        assert schema["properties"].keys() - optional == values.keys(), path
        for name, value in values.items():
            if isinstance(value, dict) and "properties" in schema["properties"][name]:
                compare(schema["properties"][name], value, f"{path}.{name}")

    compare(schema, values, "")


def test_lint() -> None:
    for values in VARIANTS.values():
        answer = run("lint", "--strict", str(CHART), values=values)
        assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_chart_fits_the_distribution() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'version = "{chart["appVersion"]}"' in (ROOT / "pyproject.toml").read_text()
    assert f'image.version="{chart["appVersion"]}"' in (ROOT / "operator" / "Containerfile").read_text()
