"""What a user has: kubectl, YAML and patience."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tests.installation import Installation

Object = dict[str, Any]
IMAGE = "localhost/adze/busybox:1"


def shell(command: str, **fields: Any) -> Object:
    """The fields of a step that runs a shell command in a small image."""
    return {"image": IMAGE, "command": ["sh", "-c", command], **fields}


def run(name: str, *steps: Object, spec: Mapping[str, Any] | None = None, **workflow: Any) -> Object:
    """A WorkflowRun with an inline workflow; `spec` are further fields of the run's spec."""
    return {
        "apiVersion": "adze.dev/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"name": name},
        "spec": {"workflowSpec": {"steps": list(steps), **workflow}, **(spec or {})},
    }


def workflow(name: str, *steps: Object, **fields: Any) -> Object:
    """A Workflow."""
    return {
        "apiVersion": "adze.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name},
        "spec": {"steps": list(steps), **fields},
    }


def run_of(name: str, of: str, **fields: Any) -> Object:
    """A WorkflowRun of a Workflow."""
    return {
        "apiVersion": "adze.dev/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"name": name},
        "spec": {"workflow": of, **fields},
    }


@dataclass(frozen=True)
class Kube:
    """kubectl in one namespace."""

    adze: Installation
    namespace: str

    def kubectl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl; the caller looks at the outcome."""
        return self.adze.kubectl("--namespace", self.namespace, *arguments, stdin=stdin)

    def must(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl, which must succeed; what it printed."""
        done = self.kubectl(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout

    def apply(self, *objects: Object) -> None:
        """Apply objects, which must be accepted."""
        self.must("apply", "-f", "-", stdin=_listed(objects))

    def create(self, *objects: Object) -> None:
        """Create objects, which must be accepted and not there yet."""
        self.must("create", "-f", "-", stdin=_listed(objects))

    def refused(self, *objects: Object) -> str:
        """Apply objects, which must be refused; the error."""
        done = self.kubectl("apply", "-f", "-", stdin=_listed(objects))
        assert done.returncode != 0, f"accepted: {done.stdout}"
        return done.stderr

    def get(self, kind: str, name: str) -> Object:
        """An object."""
        found: Object = json.loads(self.must("get", kind, name, "-o", "json"))
        return found

    def list(self, kind: str, selector: str = "") -> list[Object]:
        """The objects of a kind."""
        items: list[Object] = json.loads(self.must("get", kind, "-l", selector, "-o", "json"))["items"]
        return items

    def patch(self, kind: str, name: str, **spec: Any) -> None:
        """Merge-patch an object's spec."""
        self.must("patch", kind, name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def until(self, what: str, kind: str, name: str, holds: Callable[[Object], bool], timeout: float = 60) -> Object:
        """Wait until an object satisfies a condition; AssertionError shows what was seen last."""
        end = time.monotonic() + timeout
        while True:
            seen = self.get(kind, name)
            if holds(seen):
                return seen
            if time.monotonic() > end:
                raise AssertionError(
                    f"{kind} {name}: not {what} within {timeout:.0f} s; last seen:\n{_shown(seen)}\n"
                    f"{self.kubectl('get', 'pods,events').stdout}"
                )
            time.sleep(0.3)

    def ended(self, name: str, timeout: float = 60) -> Object:
        """The status of a run once it has ended."""
        status: Object = self.until(
            "ended", "workflowrun", name, lambda run: "finishTime" in run.get("status", {}), timeout
        )["status"]
        return status

    def step(self, run: str, step: str, holds: Callable[[Object], bool], timeout: float = 60) -> Object:
        """A step's status once it satisfies a condition."""

        def found(item: Object) -> bool:
            return any(holds(status) for status in item.get("status", {}).get("steps", ()) if status["name"] == step)

        item = self.until(f"as wanted in step {step}", "workflowrun", run, found, timeout)
        return steps(item["status"])[step]

    def gone(self, kind: str, name: str, timeout: float = 60) -> None:
        """Wait until an object is gone."""
        done = self.kubectl("wait", "--for=delete", f"{kind}/{name}", f"--timeout={timeout:.0f}s")
        assert done.returncode == 0, (
            f"{kind} {name} is still there: {done.stderr}{self.kubectl('get', kind, name).stdout}"
        )


def _listed(objects: Sequence[Object]) -> str:
    """One document for kubectl; JSON, as YAML 1.1 reads names such as `n` and `on` as booleans."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def steps(status: Mapping[str, Any]) -> dict[str, Object]:
    """Step statuses by name."""
    return {step["name"]: step for step in status.get("steps", ())}


def _shown(seen: Object) -> str:
    status = {field: value for field, value in seen.get("status", {}).items() if field != "workflowSpec"}
    return yaml.safe_dump(status, sort_keys=False)
