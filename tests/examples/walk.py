"""Runs a workflow here: adze's own planner, and each Pod that it asks for as a process. No cluster, no waiting."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from adze.core import names, planner, revision
from adze.core.model import Run, Workflow
from adze.core.observed import Observed
from adze.core.pods import INLINE_LIMIT, Pod
from adze.core.policy import Policy

POLICY = Policy()


def walk(workflow: Workflow, run: Run, folder: Path, source: Run | None = None) -> Run:
    """The run at its end; `folder` takes the files of its Pods. `source` is the run that it repeats."""
    now = datetime(2026, 3, 5, 12, tzinfo=UTC)
    uid = f"uid-{run.metadata.name}"
    run = replace(run, metadata=replace(run.metadata, namespace="default", uid=uid, creation_timestamp=now))
    begun = planner.begin(run, workflow, now, source)
    assert begun.status
    run = replace(run, status=begun.status)
    pods: dict[str, Pod] = {}
    granted: frozenset[str] = frozenset()
    while not run.status.phase.final:
        frozen = revision.of_run(run.status.revision or "", run.status.workflow_spec or {})
        plan = planner.plan(run, frozen, Observed(pods=pods, fresh=True, granted=granted), now, POLICY)
        assert plan.manifests or plan.status or plan.wake or plan.wants, f"{run.metadata.name} is stuck"
        # Nobody else is here: whatever it wants is free.
        granted = frozenset(want.holder for want in plan.wants)
        run = replace(run, status=plan.status or run.status)
        pods |= {name: execute(manifest, folder / name) for name, manifest in plan.manifests.items()}
        if not plan.manifests and plan.wake and all(want.running for want in plan.wants):
            now = max(now, plan.wake)
    return run


def execute(manifest: dict[str, Any], folder: Path) -> Pod:
    """The Pod at its end, as the kubelet reports it. Its image's python3 is the one that runs the tests."""
    (container,) = manifest["spec"]["containers"]
    assert container["image"] == POLICY.worker_image, "only scripts for the worker image run here"
    folder.mkdir()
    output = folder / "output"
    output.touch()
    for item in manifest["spec"]["volumes"][0]["downwardAPI"]["items"]:
        annotation = item["fieldRef"]["fieldPath"].split("'")[1]
        (folder / item["path"]).write_text(manifest["metadata"]["annotations"][annotation])

    env = {variable["name"]: variable["value"].replace("$$(", "$(") for variable in container["env"]}
    here = {"ADZE_CONTEXT": str(folder / "context.json"), "ADZE_OUTPUT": str(output), "PATH": os.environ["PATH"]}
    python, *arguments = [word.replace(names.DIRECTORY, str(folder)) for word in container["command"]]
    assert python == "python3"
    limit = manifest["spec"].get("activeDeadlineSeconds")
    ended = subprocess.run(
        [sys.executable, *arguments],
        env=env | here,
        cwd=folder,
        timeout=limit,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    # As with terminationMessagePolicy FallbackToLogsOnError.
    said = output.read_bytes()[-INLINE_LIMIT:].decode() or (ended.stdout[-2048:] if ended.returncode else "")
    terminated = {"exitCode": ended.returncode, "message": said}
    status = {
        "phase": "Failed" if ended.returncode else "Succeeded",
        "containerStatuses": [{"name": container["name"], "state": {"terminated": terminated}}],
    }
    return msgspec.convert({**manifest, "status": status}, Pod)
