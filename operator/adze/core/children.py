"""What adze reads of a child run, and how the end of an attempt is read from it."""

from datetime import datetime
from typing import Any

from adze.core.carrier import Carrier, Outcome, PodMetadata
from adze.core.model import Phase, Record
from adze.core.model.base import Annotations


class ChildMetadata(PodMetadata, frozen=True, kw_only=True, gc=False):
    """Identity of a child run, with our gate among its annotations."""

    annotations: Annotations = Annotations()


class ChildSpec(Record, frozen=True, kw_only=True, gc=False):
    """What was asked of it."""

    cancel: bool = False
    suspend: bool = False


class ChildStatus(Record, frozen=True, kw_only=True, gc=False):
    """How it stands."""

    phase: Phase = Phase.PENDING
    reason: str | None = None
    message: str | None = None
    start_time: datetime | None = None
    finish_time: datetime | None = None
    output: dict[str, Any] | None = None


class Child(Carrier, frozen=True, kw_only=True):
    """A narrow view of a WorkflowRun that another run has created."""

    metadata: ChildMetadata
    spec: ChildSpec = ChildSpec()
    status: ChildStatus = ChildStatus()

    @property
    def gated(self) -> bool:
        """Whether our gate is still on it: it hasn't begun."""
        return self.metadata.annotations.gate is not None

    @property
    def deleting(self) -> bool:
        """Whether its end has been asked for: we cancel a child run, so that its own `finally` steps run."""
        return self.spec.cancel or self.metadata.deletion_timestamp is not None

    @property
    def ended(self) -> bool:
        """Whether it has ended, or is deleted, which ends all of its Pods."""
        return self.status.phase.final or self.metadata.deletion_timestamp is not None

    @property
    def started(self) -> datetime | None:
        """Since when it runs."""
        return self.status.start_time

    def outcome(self) -> Outcome | None:
        """The end of the attempt: the child's own."""
        status = self.status
        if status.phase.final:
            if status.phase is Phase.SUCCEEDED:
                return Outcome(output=status.output, start=status.start_time, finish=status.finish_time)
            reason = "RunCancelled" if status.phase is Phase.CANCELLED else "RunFailed"
            message = f"{self.name}: {status.reason}: {status.message or ''}"
            return Outcome(reason=reason, message=message, start=status.start_time, finish=status.finish_time)
        if self.ended:
            return Outcome(reason="RunDeleted", message=f"{self.name} was deleted before it had ended")
        return None

    def waiting(self) -> tuple[str, str] | None:
        """Why it doesn't go on, in its own words."""
        if self.gated or self.status.reason in (None, "Starting"):
            return None
        return self.status.reason or "", f"{self.name}: {self.status.message or ''}"
