"""Which runs an event starts, and what its status says of it.

An event is processed once: its runs are created under names that follow from workflow, source and id, so a repeat finds
them there, and then its status says so. Only that status ends it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from adze.core import conditions, duration, expressions, names
from adze.core.expressions import BOOL, OBJECT, STRING, ExpressionError, Program, Scope, Template
from adze.core.model import (
    API_VERSION,
    Condition,
    Duration,
    Event,
    EventProblem,
    EventRun,
    EventStatus,
    EventTrigger,
    Metadata,
    Record,
    Triggers,
)
from adze.core.schema import unfit

SCOPE = Scope(
    {
        **{f"event.{name}": STRING for name in ("source", "id", "type", "subject", "time", "dataSchema")},
        "event.data": OBJECT,
        "event.extensions": OBJECT,
    }
)
"""What filters and inputs may read. Attributes that an event doesn't have are empty."""

SHOWN_RUNS = 100
SHOWN_PROBLEMS = 16
MESSAGE_LIMIT = 1024
"""How much of its runs and problems an event's status shows."""


class _SubscriberSpec(Record, frozen=True, kw_only=True):
    on: Triggers | None = None
    suspend: bool = False


class Subscriber(Record, frozen=True, kw_only=True):
    """What of a Workflow decides whether an event starts a run of it."""

    metadata: Metadata
    spec: _SubscriberSpec


class _SightSpec(Record, frozen=True, kw_only=True):
    source: str
    id: str
    type: str = ""
    ttl: Duration = "1h"


class _SightStatus(Record, frozen=True, kw_only=True):
    # Taken as they come: an object that cannot be read would end the watch of all.
    processed_time: Any = None
    conditions: Any = ()


class Sight(Record, frozen=True, kw_only=True):
    """What of a WorkflowEvent is kept in memory: enough to know what is to be done, and not its data."""

    metadata: Metadata
    spec: _SightSpec
    status: _SightStatus = _SightStatus()

    @property
    def processed(self) -> bool:
        """Whether all its runs have been created."""
        return self.status.processed_time is not None

    @property
    def identity(self) -> tuple[str, str, str]:
        """Namespace, source and id: objects that share it are one event."""
        return self.metadata.namespace, self.spec.source, self.spec.id

    @property
    def expiry(self) -> datetime | None:
        """When to delete it; None until it's processed, and for a ttl beyond all measure."""
        if not self.processed or self.metadata.creation_timestamp is None:
            return None
        try:
            return self.metadata.creation_timestamp + duration.parse(self.spec.ttl)
        except ValueError:
            return None

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Its conditions; none if they make no sense."""
        try:
            return msgspec.convert(self.status.conditions, tuple[Condition, ...])
        except msgspec.ValidationError:
            return ()


@dataclass(frozen=True, slots=True)
class Firing:
    """A run that an event starts."""

    workflow: str
    run: str
    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Started:
    """A run that is there now; `duplicate` when another WorkflowEvent of the same source and id made it."""

    run: EventRun
    duplicate: bool = False


@lru_cache(maxsize=4096)
def _filter(source: str) -> Program:
    return SCOPE.program(source, BOOL)


@lru_cache(maxsize=4096)
def _input(encoded: bytes) -> Template:
    return expressions.template(msgspec.json.decode(encoded), SCOPE)


def matches(pattern: str, kind: str) -> bool:
    """Whether an event's type fits a trigger's name: equal, or beginning like it up to its final *."""
    return kind.startswith(pattern[:-1]) if pattern.endswith("*") else kind == pattern


def firings(event: Event, workflows: Iterable[Subscriber]) -> list[Firing | EventProblem]:
    """For each of the workflows: the run that the event starts, why it starts none though it might, or nothing."""
    problem = unfit(event.spec.data)
    found: list[Firing | EventProblem] = []
    for workflow in workflows:
        name = workflow.metadata.name
        wanted = workflow.spec.on.events if workflow.spec.on else ()
        fitting = [(index, trigger) for index, trigger in enumerate(wanted) if matches(trigger.name, event.spec.type)]
        if not fitting or workflow.metadata.deletion_timestamp:
            continue
        if problem:
            found.append(_problem(name, "InvalidInput", f"the event's data {problem}"))
            continue
        found += _first(event, workflow, fitting)
    return found


def _first(
    event: Event, workflow: Subscriber, fitting: Sequence[tuple[int, EventTrigger]]
) -> Iterator[Firing | EventProblem]:
    """The run of the first trigger whose filter holds; a trigger that fails is told of and counts as not holding."""
    name = workflow.metadata.name
    values = values_of(event)
    for index, trigger in fitting:
        try:
            holds = _holds(trigger, values)
        except ExpressionError as error:
            yield _problem(name, "FilterFailed", f"spec.on.events[{index}].filter: {error}")
            continue
        if not holds:
            continue
        if workflow.spec.suspend:
            yield _problem(name, "Suspended", "the Workflow is suspended")
            return
        try:
            given = event.spec.data or {}
            if trigger.input is not None:
                given = _input(msgspec.json.encode(trigger.input)).render(values)
        except ExpressionError as error:
            yield _problem(name, "InputFailed", f"spec.on.events[{index}].input: {error}")
            return
        yield _firing(event, name, given)
        return


def _holds(trigger: EventTrigger, values: Mapping[str, Any]) -> bool:
    if trigger.filter is None:
        return True
    answer = _filter(trigger.filter)(values)
    if not isinstance(answer, bool):
        raise ExpressionError(f"{trigger.filter}: gives {answer!r}, neither true nor false")
    return answer


def _problem(workflow: str, reason: str, message: str) -> EventProblem:
    return EventProblem(workflow=workflow, reason=reason, message=message[:MESSAGE_LIMIT])


def values_of(event: Event) -> dict[str, Any]:
    """What expressions see of an event."""
    spec = event.spec
    return {
        "event.source": spec.source,
        "event.id": spec.id,
        "event.type": spec.type,
        "event.subject": spec.subject or "",
        "event.time": spec.time or "",
        "event.dataSchema": spec.data_schema or "",
        "event.data": spec.data or {},
        "event.extensions": spec.extensions or {},
    }


def _firing(event: Event, workflow: str, given: Mapping[str, Any]) -> Firing:
    run = names.event_run(workflow, event.spec.source, event.spec.id)
    metadata = {
        "name": run,
        "namespace": event.metadata.namespace,
        "labels": {names.TRIGGER: "event", names.EVENT: names.label(event.metadata.name)},
        "annotations": {
            names.EVENT_SOURCE: event.spec.source,
            names.EVENT_ID: event.spec.id,
            names.EVENT_TYPE: event.spec.type,
            names.EVENT_UID: event.metadata.uid,
        },
    }
    spec = {"workflow": workflow, "input": given}
    manifest = {"apiVersion": API_VERSION, "kind": "WorkflowRun", "metadata": metadata, "spec": spec}
    return Firing(workflow, run, manifest)


def already(event: Event, firing: Firing, annotations: Mapping[str, str]) -> Started | EventProblem:
    """What a run that is there already under the firing's name means; `annotations` are its own."""
    origin = annotations.get(names.EVENT_SOURCE), annotations.get(names.EVENT_ID)
    if origin != (event.spec.source, event.spec.id):
        return _problem(firing.workflow, "NameCollision", f"another's WorkflowRun has the name {firing.run}")
    started = EventRun(workflow=firing.workflow, name=firing.run)
    return Started(started, duplicate=annotations.get(names.EVENT_UID) != event.metadata.uid)


def refused(firing: Firing, message: str) -> EventProblem:
    """The API server takes no such run, now or ever."""
    return _problem(firing.workflow, "RunRefused", message)


def processed(event: Event, outcomes: Iterable[Started | EventProblem], now: datetime) -> EventStatus:
    """The status of an event whose runs are all there."""
    outcomes = list(outcomes)
    started = [outcome for outcome in outcomes if isinstance(outcome, Started)]
    problems = [outcome for outcome in outcomes if isinstance(outcome, EventProblem)]
    fresh = [outcome.run for outcome in started if not outcome.duplicate]
    if problems:
        reason, message = problems[0].reason, f"{problems[0].workflow}: {problems[0].message}"
    elif fresh:
        reason, message = "RunsStarted", ""
    elif started:
        reason, message = "Duplicate", "another WorkflowEvent of the same source and id has started the runs"
    else:
        reason, message = "NoMatch", "no Workflow in this namespace waits for such an event"
    return _status(
        event.metadata,
        event.status.conditions,
        ("True", reason, message),
        now,
        processed_time=now,
        started=len(fresh),
        runs=tuple(outcome.run for outcome in started[:SHOWN_RUNS]),
        problems=tuple(problems[:SHOWN_PROBLEMS]),
    )


def duplicate(sight: Sight, of: str, now: datetime) -> EventStatus:
    """The status of an event that was processed as another object before."""
    message = f"WorkflowEvent {of} is the same event (source and id) and was processed before"
    return _status(sight.metadata, sight.conditions, ("True", "Duplicate", message), now, processed_time=now)


def waiting(sight: Sight, message: str, now: datetime) -> EventStatus | None:
    """The status of an event that can't be processed yet; None if that is what it says."""
    status = _status(sight.metadata, sight.conditions, ("False", "Waiting", message[:MESSAGE_LIMIT]), now)
    return None if status.conditions == sight.conditions else status


def _status(
    metadata: Metadata, before: tuple[Condition, ...], why: tuple[str, str, str], now: datetime, **fields: Any
) -> EventStatus:
    wanted = conditions.set_conditions(before, {"Processed": why}, metadata.generation, now)
    return EventStatus(observed_generation=metadata.generation, conditions=wanted, **fields)
