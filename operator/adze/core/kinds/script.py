"""The script step: source code and an interpreter."""

from collections.abc import Mapping
from typing import Any

from adze.core.kinds.base import Content, InPod, overlaid
from adze.core.model import Step
from adze.core.policy import Policy


def _content(step: Step, _texts: Mapping[str, Any], policy: Policy) -> Content:
    """The source becomes the file /adze/script: no ConfigMap to write, nothing to quote."""
    assert step.script is not None
    command = list(step.script.command or ("python3",))
    return Content(
        image=step.script.image or policy.worker_image,
        command=[*command, "/adze/script"],
        non_root=step.script.image is None,
        files={"script": step.script.source},
    )


KIND = InPod(_content, problems=overlaid)
