"""What a step kind is: how the attempts of a step are carried out.

`InPod`    by a Pod; the kind says what runs in its container
`ByObject` by another object, which the kind builds: a Job, a run
`Waits`    by nothing: the attempt ends by time or by somebody's decision, and costs no object
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adze.core import overlay
from adze.core.model import Event, Run, Step
from adze.core.policy import Policy

POD_FIELDS = frozenset({"image_pull_policy", "env", "env_from", "resources", "pod", "large_output"})
RETRY_FIELDS = frozenset({"retries", "backoff", "retry_when", "start_timeout"})


@dataclass(frozen=True, slots=True)
class Content:
    """Image and command of a step's container, and files (name to text) that it finds under /adze."""

    image: str
    command: list[str] | None = None
    args: list[str] | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    non_root: bool = False
    """Whether the image is known to run as another user than root, which the strictest namespaces ask for."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What every object of an attempt has: its metadata, what the step may read, and the variables that say where.

    `volume` is the source of a volume with what the step may read, `context` the annotation that it refers to.
    """

    run: Run
    metadata: dict[str, Any]
    context: str
    volume: dict[str, Any]
    env: list[dict[str, str]]


class Impossible(ValueError):
    """An attempt that no object can be made of; `reason` says why in one word."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class View:
    """What a wait is judged by: the step, its texts filled in, the run, the attempt's start, now, and events."""

    step: Step
    texts: Mapping[str, Any]
    run: Run
    start: datetime
    now: datetime
    events: Sequence[Event] = ()
    """Those that the step waits for, but for its filter."""
    holds: Callable[[Event], bool] = lambda _: True
    """Whether the step's filter holds for an event; ExpressionError if it can't be told."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A wait that goes on: why, and when it ends by itself."""

    reason: str
    message: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A wait that has ended; `reason` is None when the step succeeded."""

    reason: str | None = None
    message: str | None = None
    output: dict[str, Any] | None = None


def no_problems(_step: Step) -> Iterator[tuple[str, str]]:
    """A kind of which the schema tells all that can be wrong."""
    return iter(())


def overlaid(step: Step) -> Iterator[tuple[str, str]]:
    """What is wrong with a step's `pod`."""
    return ((f"pod.{place}", message) for place, message in overlay.problems(step.pod))


def no_texts(_step: Step) -> dict[str, Any]:
    """A kind without texts."""
    return {}


@dataclass(frozen=True, slots=True)
class InPod:
    """`content` gets the step's command, args and env with every `${…}` filled in."""

    content: Callable[[Step, Mapping[str, Any], Policy], Content]
    texts: Callable[[Step], dict[str, Any]] = no_texts
    """Those of the kind's texts that hold `${…}`, by field."""
    problems: Callable[[Step], Iterator[tuple[str, str]]] = no_problems
    """Field and what is wrong with it, beyond what the schema tells."""
    without: frozenset[str] = frozenset()
    """Fields of a step that this kind can't have."""


@dataclass(frozen=True, slots=True)
class ByObject:
    """`build` gives the manifest from what is common to all objects, and the texts with every `${…}` filled in."""

    field: str
    """The member of an attempt that names the object: job or run."""
    resource: str
    """The object's Kubernetes kind."""
    build: Callable[[Step, Mapping[str, Any], Frame], dict[str, Any]]
    texts: Callable[[Step], dict[str, Any]] = no_texts
    problems: Callable[[Step], Iterator[tuple[str, str]]] = no_problems
    without: frozenset[str] = POD_FIELDS


@dataclass(frozen=True, slots=True)
class Waits:
    """`look` says whether the wait has ended."""

    look: Callable[[View], Waiting | Done]
    texts: Callable[[Step], dict[str, Any]] = no_texts
    problems: Callable[[Step], Iterator[tuple[str, str]]] = no_problems
    without: frozenset[str] = POD_FIELDS | RETRY_FIELDS


Kind = InPod | ByObject | Waits
