"""What the checker knows of a run."""

from dataclasses import dataclass, field

from adze.core import pods
from adze.core.model import Attempt, Run, StepStatus
from adze.core.revision import Revision


@dataclass(slots=True)
class Claim:
    """An attempt in a run's status, and the Pods that were made for it."""

    step: str
    attempt: Attempt
    claimed: int
    closed: int | None = None
    started: set[str] = field(default_factory=set)
    outcomes: list[pods.Outcome] = field(default_factory=list)
    opened: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Account:
    """What is known of one run."""

    run: Run
    revision: Revision | None = None
    ended: int | None = None
    dead: int | None = None
    claims: dict[str, Claim] = field(default_factory=dict)
    tries: dict[str, list[Claim]] = field(default_factory=dict)
    live: dict[str, set[str]] = field(default_factory=dict)
    steps: dict[str, StepStatus] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether the run is there and nobody has asked for its deletion."""
        return self.dead is None and self.run.metadata.deletion_timestamp is None
