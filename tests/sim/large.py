"""Large outputs, and S29: what a status says of one is what the attempt sent, and it is there."""

from typing import TYPE_CHECKING, Any

import msgspec

from adze.core import fanout, names, outputs
from adze.core.model import ItemStatus, OutputPage, Run, StepStatus
from adze.core.pods import Pod
from tests.sim.account import Claim
from tests.sim.api import Api
from tests.sim.violation import Violation

if TYPE_CHECKING:
    from tests.sim.check import Checker


def send(api: Api, pod: Pod, message: str, bits: int) -> str:
    """What a step that may hand over a large output writes, and the page that the receiver has made of it before."""
    owner = pod.metadata.owner_references[0].uid if pod.metadata.owner_references else ""
    run = next((run for run in api.runs.values() if run.metadata.uid == owner), None)
    if not message.startswith("{") or bits % 4 == 0 or not run or not _may(run, pod):
        return message
    content = {"n": 1, "pod": pod.name}
    if bits % 4 != 1 and any(part.open_attempt and part.open_attempt.pod == pod.name for part in run.status.parts()):
        name = names.output(pod.name)
        api.pages.setdefault(name, content)
        api.page_owners[name] = owner
        api.sent[pod.name] = content
    return msgspec.json.encode(outputs.refer(msgspec.json.encode(content))).decode()


def _may(run: Run, pod: Pod) -> bool:
    spec = run.status.workflow_spec or {}
    steps = [*spec.get("steps", ()), *spec.get("finally", ()), spec.get("onFailure", {})]
    return any(step.get("name") == pod.metadata.labels[names.STEP] and step.get("largeOutput") for step in steps)


def meant(checker: "Checker", pod: str, output: Any) -> Any:
    """What an attempt handed over that wrote `output`."""
    assert checker.api is not None
    return checker.api.sent.get(pod) if output and names.REFERENCE in output else output


def recorded(checker: "Checker", step: ItemStatus) -> Any:
    """The output in a status, wherever it is."""
    page = step.output_page if isinstance(step, StepStatus) else None
    if page is None:
        return step.output
    assert checker.api is not None
    found = checker.api.pages.get(page.name)
    if found is None or outputs.read(msgspec.json.encode(found).decode(), page.sha256) is None:
        raise Violation("S29", f"{step.name} refers to a page that isn't there, or is another: {page}")
    checker.goals["large output recorded"] += 1
    return found


def kept(checker: "Checker", run: Run, after: StepStatus, before: OutputPage) -> None:
    """A rerun has a page of its own with the same output."""
    assert checker.api is not None
    every = checker.api.gone_pages | checker.api.pages
    if recorded(checker, after) != every[before.name]:
        raise Violation("S29", f"{run.metadata.name} keeps another output of {after.name}")
    assert after.output_page is not None
    if checker.api.page_owners.get(after.output_page.name) != run.metadata.uid:
        raise Violation("S29", f"{run.metadata.name} refers to a page that isn't its own: {after.output_page}")


def refused(checker: "Checker", claim: Claim) -> bool:
    """Whether a success counts as a failure: what it refers to was never sent, or is too much for an item."""
    assert checker.api is not None
    pod, reason = claim.attempt.pod, claim.attempt.reason
    if reason == "OutputLost":
        checker.goals["large output lost"] += 1
        return pod not in checker.api.sent
    sizes = [
        truth.output[names.REFERENCE]["bytes"] for truth in claim.outcomes if names.REFERENCE in (truth.output or {})
    ]
    return reason == "OutputTooLarge" and any(size > fanout.PAGE_LIMIT for size in sizes)
