"""The container step: an image with its own command."""

from collections.abc import Mapping
from typing import Any

from adze.core.kinds.base import Content, InPod, overlaid
from adze.core.model import Step
from adze.core.policy import Policy


def _texts(step: Step) -> dict[str, Any]:
    return {"command": step.command, "args": step.args}


def _content(step: Step, texts: Mapping[str, Any], _policy: Policy) -> Content:
    """The image as it is, with the step's command and arguments."""
    return Content(
        image=step.image or "",
        command=texts["command"],
        args=texts["args"],
    )


KIND = InPod(_content, _texts, overlaid)
