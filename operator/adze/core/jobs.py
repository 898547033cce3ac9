"""What adze reads of a Job, and how the end of an attempt is read from it."""

from datetime import datetime

import msgspec

from adze.core import names
from adze.core.carrier import Carrier, Outcome, PodCondition, PodMetadata, condition
from adze.core.model import Record


class Gate(Record, frozen=True, kw_only=True):
    """Our gate, with the name of the queue that is to take the Job over once it's off; empty for none."""

    queue: str | None = msgspec.field(default=None, name=names.GATE)


class JobMetadata(PodMetadata, frozen=True, kw_only=True, gc=False):
    """Identity of a Job, with our gate among its annotations."""

    annotations: Gate = Gate()


class JobSpec(Record, frozen=True, kw_only=True, gc=False):
    """Whether it's held back."""

    suspend: bool = False


class JobStatus(Record, frozen=True, kw_only=True, gc=False):
    """How the Job stands."""

    start_time: datetime | None = None
    completion_time: datetime | None = None
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    conditions: tuple[PodCondition, ...] = ()


class Job(Carrier, frozen=True, kw_only=True):
    """A narrow view of a Job."""

    metadata: JobMetadata
    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()

    @property
    def gated(self) -> bool:
        """Whether our gate is still on it: it's suspended, and no queue knows of it."""
        return self.metadata.annotations.queue is not None

    def _end(self) -> PodCondition | None:
        for kind in ("Complete", "Failed"):
            found: PodCondition | None = condition(self.status.conditions, kind)
            if found and found.status == "True":
                return found
        return None

    @property
    def ended(self) -> bool:
        """Whether none of its Pods runs, now or later: a Job that is deleted is gone after its Pods."""
        return self._end() is not None or (self.deleting and "foregroundDeletion" not in self.metadata.finalizers)

    @property
    def started(self) -> datetime | None:
        """Since when it isn't held back."""
        return None if self.spec.suspend else self.status.start_time

    def outcome(self) -> Outcome | None:
        """The end of the attempt: the Job's own verdict, however many Pods it took."""
        end = self._end()
        if end is None:
            if self.ended:
                return Outcome(reason="JobDeleted", message="the Job was deleted before it had ended")
            return None
        start = self.status.start_time
        counts = {"succeeded": self.status.succeeded, "failed": self.status.failed}
        if end.type == "Complete":
            return Outcome(output=counts, start=start, finish=self.status.completion_time or end.last_transition_time)
        message = f"{end.reason}: {end.message}" if end.message else end.reason
        return Outcome(reason="JobFailed", message=message, start=start, finish=end.last_transition_time)

    def waiting(self) -> tuple[str, str] | None:
        """Why it is held back, if not by us."""
        if self.gated or self.ended or not self.spec.suspend:
            return None
        queue = self.metadata.labels.get(names.QUEUE)
        if queue:
            return "Queued", f"queue {queue} has not admitted the Job yet"
        return "Suspended", "the Job was suspended by hand"
