"""What every step kind gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Content:
    """Image and command of a step's container, and files (name to text) that it finds under /adze."""

    image: str
    command: list[str] | None = None
    args: list[str] | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    non_root: bool = False
    """Whether the image is known to run as another user than root, which the strictest namespaces ask for."""
