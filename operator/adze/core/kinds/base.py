"""What every step kind gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adze.core.expressions import as_text


@dataclass(frozen=True, slots=True)
class Content:
    """Image and command of a step's container, and files (name to text) that it finds under /adze."""

    image: str
    command: list[str] | None = None
    args: list[str] | None = None
    files: Mapping[str, str] = field(default_factory=dict)


def literal(written: str, filled: Any) -> str:
    """The filled-in text for a Pod. The kubelet expands `$(NAME)`: what the author wrote may use that, data may not."""
    text = as_text(filled)
    return text.replace("$(", "$$(") if "${" in written else text


def literals(written: Sequence[str] | None, filled: Sequence[Any] | None) -> list[str] | None:
    """`literal` for a command or its arguments."""
    if written is None or filled is None:
        return None
    return [literal(*pair) for pair in zip(written, filled, strict=True)]
