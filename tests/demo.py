"""`make demo`: from nothing to a finished order pipeline, the way a user would do it, shown as it happens."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.installation import ROOT, Installation, install

EXAMPLE = ROOT / "examples" / "01-order-pipeline"
RUN = "order-1001"
PATIENCE = 120.0


def main() -> int:
    """Install, apply, watch; 0 if the run succeeded."""
    adze = install()
    adze.kubectl("delete", "workflowrun", RUN, "--ignore-not-found")
    for file in ("workflow.yaml", "run.yaml"):
        show(adze, "apply", "-f", str((EXAMPLE / file).relative_to(ROOT)))
    say(f"\n$ kubectl get workflowrun {RUN} --watch   # its steps, as they change")
    phase = follow(adze)
    say("")
    show(adze, "get", "workflowruns", "-o", "wide")
    show(adze, "get", "pods", "-L", "adze.dev/step,adze.dev/attempt", "-l", f"adze.dev/run={RUN}")
    show(adze, "get", "workflowrun", RUN, "-o", "jsonpath-as-json={.status.output}")
    say(
        f"""
Next:
  export KUBECONFIG={adze.kubeconfig} PATH="{adze.tools}:$PATH"
  kubectl describe workflowrun {RUN}                             # every attempt, and why
  kubectl logs -l adze.dev/run={RUN},adze.dev/step=charge
  kubectl apply -f examples/01-order-pipeline/run-declined.yaml  # a card that is declined: no retry, onFailure
  kubectl explain workflow.spec.steps
  make cluster-down                                              # leaves nothing behind"""
    )
    return 0 if phase == "Succeeded" else 1


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


def show(adze: Installation, *arguments: str) -> None:
    """Run kubectl as a user would, command first."""
    say(f"\n$ kubectl {' '.join(arguments)}")
    done = adze.kubectl(*arguments)
    say((done.stdout + done.stderr).rstrip())
    if done.returncode:
        sys.exit(done.returncode)


def follow(adze: Installation) -> str:
    """Print each change of a step until the run has ended; its phase."""
    start = time.monotonic()
    seen: dict[str, str] = {}
    watch = subprocess.Popen(
        ["kubectl", "get", "workflowrun", RUN, "--watch", "-o", "json", f"--request-timeout={PATIENCE:.0f}s"],
        env=adze.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for run in objects(watch):
            status = run.get("status", {})
            for step in status.get("steps", ()):
                line = describe(step)
                if seen.get(step["name"]) != line:
                    seen[step["name"]] = line
                    say(f"  {time.monotonic() - start:5.1f}s  {status.get('progress', ''):>5}  {line}")
            if status.get("phase") in ("Succeeded", "Failed", "Cancelled"):
                return str(status["phase"])
        say(f"the watch ended after {time.monotonic() - start:.0f} s without an end of the run; last seen: {seen}")
        return "Unknown"
    finally:
        watch.kill()
        watch.wait()


def describe(step: dict[str, Any]) -> str:
    """A step in one line."""
    attempts = len(step.get("attempts", ()))
    tries = f" (attempt {attempts})" if attempts > 1 else ""
    why = " ".join(step[field] for field in ("reason", "message") if step.get(field))
    return f"{step['name']:18} {step.get('phase', 'Pending')}{tries}{': ' if why else ''}{why}"


def objects(watch: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    """The JSON documents that kubectl prints one after the other."""
    assert watch.stdout is not None
    text = ""
    for line in watch.stdout:
        text += line
        if line == "}\n":
            yield json.loads(text)
            text = ""


if __name__ == "__main__":
    sys.exit(main())
