"""The workflow step: a child run of another Workflow in the same namespace."""

from collections.abc import Mapping
from typing import Any

from adze.core import names
from adze.core.kinds.base import ByObject, Frame, Impossible
from adze.core.model import API_VERSION, Step

DEPTH = 8
"""How deep runs may be nested."""


def _texts(step: Step) -> dict[str, Any]:
    assert step.workflow is not None
    return {"workflow": {"input": step.workflow.input or {}}}


def _build(step: Step, texts: Mapping[str, Any], frame: Frame) -> dict[str, Any]:
    assert step.workflow is not None
    target = step.workflow.name
    above = frame.run.metadata.annotations.ancestors
    line = [*(above.split(",") if above else ()), frame.run.spec.workflow or ""]
    if target in line:
        raise Impossible("WorkflowCycle", f"workflows call each other: {' -> '.join([*line, target])}")
    if len(line) >= DEPTH:
        raise Impossible("TooDeep", f"runs are nested {DEPTH} deep: {' -> '.join(line)}")
    labels = {**frame.metadata["labels"], names.TRIGGER: "step"}
    annotations = {names.GATE: "closed", names.ANCESTORS: ",".join(line)}
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkflowRun",
        "metadata": {**frame.metadata, "labels": labels, "annotations": annotations},
        "spec": {"workflow": target, "input": texts["workflow"]["input"]},
    }


KIND = ByObject("run", "WorkflowRun", _build, _texts)
