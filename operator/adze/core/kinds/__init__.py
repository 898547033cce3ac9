"""Step kinds. A kind says what runs in the step's container; everything else about a Pod is the same for all.

To add one: a file beside these, its optional field in `model.Step`, and its line in KINDS.
"""

from collections.abc import Callable, Mapping
from typing import Any

from adze.core.kinds import container, script
from adze.core.kinds.base import Content
from adze.core.model import Step
from adze.core.policy import Policy

Kind = Callable[[Step, Mapping[str, Any], Policy], Content]

KINDS: dict[str, Kind] = {
    "script": script.content,
    "image": container.content,
}
"""The field of a step that chooses the kind, and the kind."""


__all__ = ["KINDS", "Content", "Kind", "content"]


def content(step: Step, texts: Mapping[str, Any], policy: Policy) -> Content:
    """What the step's container runs; `texts` holds its command, args and env with every `${…}` filled in."""
    kind = next(kind for field, kind in KINDS.items() if getattr(step, field) is not None)
    return kind(step, texts, policy)
