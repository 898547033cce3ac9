"""What is run: graphs of `true`, as Workflows for adze and as Pods of the same spec for the bare client."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import msgspec

from adze.core import manifest, names
from adze.core.model import API_VERSION, Attempt, Metadata, Phase, Run, RunSpec, StepStatus, WorkflowSpec
from adze.core.policy import Policy
from adze.core.revision import compile_workflow
from adze.core.values import Values

IMAGE = "localhost/adze/busybox:1"


@dataclass(frozen=True)
class Scenario:
    """`runs` runs of one graph, all created at once. `parents` gives each step's parents.

    `ratio` is the most that adze may take, as a multiple of the bare Pods' time. A `skipped` scenario's steps all have
    a false `when`: its runs end without a Pod and are kept, to see what finished runs cost.
    """

    name: str
    parents: dict[str, tuple[str, ...]]
    runs: int = 1
    repeats: int = 1
    ratio: float | None = None
    skipped: bool = False
    timeout: float = 240.0

    @property
    def steps(self) -> int:
        """Steps of all runs together; a run without Pods counts as one."""
        return self.runs if self.skipped else self.runs * len(self.parents)

    def workflow(self) -> dict[str, Any]:
        """The Workflow."""
        return {
            "apiVersion": API_VERSION,
            "kind": "Workflow",
            "metadata": {"name": self.name},
            "spec": {
                "defaults": {"image": IMAGE, "imagePullPolicy": "IfNotPresent"},
                "steps": [self._step(name, parents) for name, parents in self.parents.items()],
            },
        }

    def _step(self, name: str, parents: tuple[str, ...]) -> dict[str, Any]:
        step: dict[str, Any] = {"name": name, "command": ["true"]}
        if parents:
            step["parents"] = list(parents)
        if self.skipped:
            step["when"] = "false"
        return step

    def run(self, name: str) -> dict[str, Any]:
        """One run."""
        return {
            "apiVersion": API_VERSION,
            "kind": "WorkflowRun",
            "metadata": {"name": name},
            "spec": {"workflow": self.name},
        }

    def pods(self, run: str, namespace: str) -> dict[str, dict[str, Any]]:
        """The Pods of one run by step, as adze would make them, but nobody's: no gate, finalizer, owner or UID label.

        Without that label no operator takes an interest in them.
        """
        revision = compile_workflow(msgspec.convert(self.workflow()["spec"], WorkflowSpec))
        metadata = Metadata(name=run, namespace=namespace, uid=str(uuid.uuid4()))
        owner = Run(metadata=metadata, spec=RunSpec(workflow=self.name))
        values = Values(owner, {}, {name: StepStatus(name=name, phase=Phase.SUCCEEDED) for name in self.parents})
        pods = {}
        for name in self.parents:
            attempt = Attempt(number=1, pod=names.pod(run, metadata.uid, name, 1))
            pod = manifest.build(owner, revision.nodes[name], attempt, values, Policy())
            del pod["metadata"]["finalizers"], pod["metadata"]["ownerReferences"]
            del pod["metadata"]["labels"][names.RUN_UID], pod["spec"]["schedulingGates"]
            pods[name] = pod
        return pods


def _chain(length: int) -> dict[str, tuple[str, ...]]:
    return {f"s{n}": (f"s{n - 1}",) if n else () for n in range(length)}


DIAMOND: dict[str, tuple[str, ...]] = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
WIDE: dict[str, tuple[str, ...]] = {f"s{n}": () for n in range(100)}

WARM_UP = Scenario("warm-up", _chain(2))
ALL = (
    Scenario("chain", _chain(10), repeats=3, ratio=1.05, timeout=120),
    Scenario("diamonds", DIAMOND, runs=20, ratio=1.05),
    Scenario("wide", WIDE, ratio=1.05),
    Scenario("singles", {"s0": ()}, runs=100),
    Scenario("finished", DIAMOND, runs=1000, skipped=True),
)
