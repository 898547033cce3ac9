"""Step kinds. A kind says how the attempts of a step are carried out; what they have in common is the same for all.

To add one: a file beside these, its optional field in `model.Step`, and its line in KINDS.
"""

from adze.core import overlay
from adze.core.kinds import approval, container, job, script, sleep, wait_for, workflow
from adze.core.kinds.base import (
    RETRY_FIELDS,
    ByObject,
    Content,
    Done,
    Frame,
    Impossible,
    InPod,
    Kind,
    View,
    Waiting,
    Waits,
)
from adze.core.model import PodOverlay, Step
from adze.core.model.pod import JobPod
from adze.core.policy import Policy

KINDS: dict[str, Kind] = {
    "script": script.KIND,
    "job": job.KIND,
    "workflow": workflow.KIND,
    "sleep": sleep.KIND,
    "approval": approval.KIND,
    "wait_for": wait_for.KIND,
    "image": container.KIND,
}
"""The field of a step that chooses the kind, and the kind. A step with none of them takes the default image."""

CARRIERS = frozenset({"Pod", *(kind.resource for kind in KINDS.values() if isinstance(kind, ByObject))})
"""The Kubernetes kinds of the objects that carry attempts out."""

__all__ = [
    "CARRIERS",
    "KINDS",
    "RETRY_FIELDS",
    "ByObject",
    "Content",
    "Done",
    "Frame",
    "Impossible",
    "InPod",
    "Kind",
    "View",
    "Waiting",
    "Waits",
    "forbidden",
    "name",
    "of",
    "overlay_of",
]


def name(step: Step) -> str:
    """The field of the step that chooses its kind."""
    return next((field for field in KINDS if getattr(step, field) is not None), "image")


def overlay_of(step: Step) -> tuple[str, PodOverlay | JobPod | None]:
    """The field of a step that shapes its Pods, and what is in it."""
    return ("job.spec.template", job.template(step)) if step.job else ("pod", step.pod)


def forbidden(step: Step, policy: Policy) -> list[tuple[str, str]]:
    """What this installation doesn't allow of a step: the field, and why."""
    field, shape = overlay_of(step)
    found = [(f"{field}.{place}", message) for place, message in overlay.forbidden(shape, policy)]
    if step.large_output and not policy.outputs_url:
        found.append(("largeOutput", "this installation takes no large outputs: its chart has outputs.enabled=false"))
    return found


def of(step: Step) -> Kind:
    """The kind of a step."""
    return KINDS[name(step)]
