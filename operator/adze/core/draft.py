"""A run's next status while the rules work on it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from adze.core import events, fanout, names, room, values, verdict
from adze.core.carrier import Carrier
from adze.core.fanout import Fan
from adze.core.model import Attempt, Entry, Event, ItemStatus, Run, StepStatus
from adze.core.observed import Observed
from adze.core.policy import Policy
from adze.core.revision import Node, Revision, Stage
from adze.core.schema import json_size
from adze.core.slots import Closing, Want

REASON_LIMIT = 64
MESSAGE_LIMIT = 1024
OLD_MESSAGE_LIMIT = 120
KEPT_ATTEMPTS = 6
ITEM_MESSAGE_LIMIT = 128
OUTPUTS_LIMIT = 512 * 1024
"""What a status holds of texts, attempts and outputs: a run of 200 steps must fit in the 1.5 MiB that etcd takes."""


def cut(text: str | None, limit: int = MESSAGE_LIMIT) -> str | None:
    """At most `limit` bytes of the text, without its middle if need be: beginnings say what, ends say why."""
    if text is None or len(data := text.encode()) <= limit:
        return text
    half = (limit - 3) // 2
    return f"{data[:half].decode(errors='ignore')}…{data[-half:].decode(errors='ignore')}"


Part = TypeVar("Part", bound=ItemStatus)


def bounded(status: Part) -> Part:
    """The status with no more text and attempts than it may hold; an item shows its last attempt only."""
    whole = isinstance(status, StepStatus)
    limit = MESSAGE_LIMIT if whole else ITEM_MESSAGE_LIMIT
    *older, last = status.attempts[-KEPT_ATTEMPTS if whole else -1 :] or (None,)
    attempts = [
        msgspec.structs.replace(attempt, message=cut(attempt.message, OLD_MESSAGE_LIMIT))
        for attempt in older
        if attempt
    ]
    if last:
        attempts.append(
            msgspec.structs.replace(last, message=cut(last.message, limit), reason=cut(last.reason, REASON_LIMIT))
        )
    # An item in backoff says why in its attempt.
    message = status.message if whole or status.reason != "Backoff" else None
    return msgspec.structs.replace(
        status, attempts=tuple(attempts), message=cut(message, limit), reason=cut(status.reason, REASON_LIMIT)
    )


@dataclass(frozen=True, slots=True)
class Notice:
    """A Kubernetes Event to post once the status stands."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Awaited:
    """Events that a step waits for: their type, and since when they count."""

    pattern: str
    since: datetime

    def means(self, event: Event) -> bool:
        """Whether this is one of them, but for the step's filter."""
        created = event.metadata.creation_timestamp
        return events.matches(self.pattern, event.spec.type) and created is not None and created >= self.since


@dataclass(slots=True)
class Draft:
    """Rules read and change this; nothing outside it changes. One draft lives for one plan."""

    run: Run
    revision: Revision
    observed: Observed
    now: datetime
    policy: Policy
    steps: dict[str, StepStatus]
    input: dict[str, Any]
    notices: list[Notice] = field(default_factory=list)
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    pages: dict[str, dict[str, Any]] = field(default_factory=dict)
    wake: datetime | None = None
    firm: bool = False
    ripe: datetime | None = None
    needs_pods: bool = False
    awaits: list[Awaited] = field(default_factory=list)
    outputs_size: int | None = None
    outputs_limit: int = OUTPUTS_LIMIT
    fans: dict[str, Fan] = field(default_factory=dict)
    wants: list[Want] = field(default_factory=list)
    closings: list[Closing] = field(default_factory=list)
    stale: list[Entry] = field(default_factory=list)
    spent: list[str] = field(default_factory=list)
    start_time: datetime | None = None
    _closed: frozenset[str] | None = None

    def __post_init__(self) -> None:
        """The forEach steps that are under way get their items' entries."""
        for status in self.steps.values():
            if status.items and not status.phase.final:
                self.fan_out(status)

    def fan_out(self, status: StepStatus) -> Fan:
        """The items of a forEach step are part of this draft from now on."""
        fan = Fan.of(self.revision.nodes[status.name], status, self.run.metadata, len(self.revision.lists))
        self.fans[status.name] = fan
        return fan

    def status(self, node: Node) -> ItemStatus:
        """The status of a step, or of an item."""
        return self.steps[node.name] if node.index is None else self.fans[node.name].entries[node.part]

    def open(self) -> list[tuple[Node, ItemStatus]]:
        """The steps and items with an open attempt."""
        found = [(self.revision.nodes[name], status) for name, status in self.steps.items() if status.open_attempt]
        entries = [entry for fan in self.fans.values() for entry in fan.entries.values() if entry.open_attempt]
        return [*found, *((self.revision.node(entry.name), entry) for entry in entries)]

    def put(self, status: ItemStatus) -> None:
        """Set the status of a step or item; it's written in this pass."""
        self.firm |= self._set(status)

    def put_when_ripe(self, status: ItemStatus, ripe: datetime) -> None:
        """Set a status, but let the write wait until `ripe` unless another is due: it's news, no decision."""
        if self._set(status):
            self.ripe = min(self.ripe or ripe, ripe)

    def _set(self, status: ItemStatus) -> bool:
        status = bounded(status)
        known = self.fans[names.step_of(status.name)].entries if not isinstance(status, StepStatus) else self.steps
        changed = status != known.get(status.name)
        known[status.name] = status  # type: ignore[assignment]
        return changed

    @property
    def ending(self) -> tuple[str, str] | None:
        """Reason and message where the run is to end early: a user cancels it, or a newer run takes its place."""
        if self.run.spec.cancel:
            return verdict.CANCELLED, "the run was cancelled"
        newer = self.run.status.superseded_by or (self.observed.dismissal and self.observed.dismissal.by)
        return (verdict.SUPERSEDED, f"run {newer} took its place") if newer else None

    @property
    def full(self) -> bool:
        """Whether the run is being ended as its status could not be written."""
        return self.observed.refused > 0 or self.run.status.reason == verdict.FULL

    def wake_at(self, moment: datetime) -> None:
        """Plan again at that moment at the latest."""
        self.wake = min(self.wake or moment, moment)

    def has_room(self, node: Node, output: dict[str, Any]) -> bool:
        """Whether the run's status has room for one more output, which then counts."""
        if self.observed.refused:
            return False
        if node.index is not None:
            return self.fans[node.name].has_room(output)
        if self.outputs_size is None:
            self.outputs_limit = max(0, min(OUTPUTS_LIMIT, room.for_outputs(self.run, self.revision)))
            outputs = (status.output for status in self.steps.values() if status.output)
            self.outputs_size = sum(map(json_size, outputs))
            self.outputs_size += fanout.reserved(self.steps.values())
        self.outputs_size += json_size(output)
        return self.outputs_size <= self.outputs_limit

    def no_room(self, node: Node) -> str:
        """What to say where there's none."""
        whose, limit = ("steps", self.outputs_limit) if node.index is None else ("items", fanout.OUTPUTS_LIMIT)
        return f"the outputs of the run's {whose} together are larger than {limit // 1024} KiB"

    def say(self, kind: str, reason: str, message: str) -> None:
        """Post a Kubernetes Event (Normal or Warning)."""
        self.notices.append(Notice(kind, reason, cut(message, 1000) or ""))

    def tell(self, status: ItemStatus, reason: str, message: str) -> None:
        """Post a warning about a step. Items don't: ten thousand of them would drown everything else."""
        if isinstance(status, StepStatus):
            self.say("Warning", reason, f"{status.name}: {message}")

    def _stands(self, attempt: Attempt) -> bool:
        """Whether the attempt was closed before this draft: a LIST proves nothing about what comes after it."""
        if self._closed is None:
            parts = self.run.status.parts()
            self._closed = frozenset(a.carrier for part in parts for a in part.attempts if a.finish_time)
        return attempt.carrier in self._closed

    def pod(self, attempt: Attempt) -> Carrier | None:
        """The Pod of an attempt as last seen."""
        return self.observed.pod(attempt.carrier, self.run.metadata.uid)

    def values(self, node: Node | None = None) -> values.Values:
        """What expressions see: those of a step, or of one of its items."""
        known = values.Values(
            self.run, self.input, self.steps, self.revision.lists, {**self.observed.pages, **self.pages}
        )
        return known if node is None else fanout.with_item(known, self.revision, node)

    def nodes(self, stage: Stage) -> list[Node]:
        """The steps of a stage that are part of this run so far."""
        return [node for node in self.revision.stage(stage) if node.name in self.steps]

    def ended(self, stage: Stage) -> bool:
        """Whether every step of a stage is final."""
        return all(self.steps[node.name].phase.final for node in self.nodes(stage))

    def failed(self) -> bool:
        """Whether the graph has made the run fail."""
        return any(verdict.failed(self.steps[node.name]) for node in self.nodes(Stage.GRAPH))

    def quiet(self) -> bool:
        """Whether no Pod of this run can still run. All its attempts are closed."""
        uid = self.run.metadata.uid
        if any(names.ITEM in pod.metadata.labels and not pod.ended for pod in self.observed.owned(uid)):
            return False
        return all(self.over(attempt) for status in self.steps.values() for attempt in status.attempts)

    def over(self, attempt: Attempt) -> bool:
        """Whether the Pod of a closed attempt can no longer run.

        An outcome was read from a Pod that has ended. A withdrawn attempt's Pod may not even be known here yet: only
        a LIST made after the withdrawal tells, and this asks for it.
        """
        if not attempt.carrier:
            return True
        pod = self.pod(attempt)
        if pod and not pod.ended:
            return False
        if attempt.reason not in WITHDRAWN:
            return True
        if self.observed.fresh and self._stands(attempt):
            return True
        self.needs_pods = True
        return False


WITHDRAWN = frozenset(
    {
        *(*verdict.EARLY, verdict.DEADLINE, verdict.FULL, "Timeout", "StartTimeout", "InvalidImageName"),
        *("PodRejected", "JobRejected", "RunRejected", "Forbidden", "NameCollision", "PodLost"),
    }
)
"""Reasons of attempts that weren't read from an ended Pod: we ended them, or saw no Pod where another may see one."""
