"""The kind WorkflowEvent: one CloudEvent (cloudevents.io, version 1.0) as an object."""

from typing import Annotated, Any

from adze.core.model.base import FREE, Condition, Duration, Metadata, Record, Time, doc

Attribute = Annotated[str, doc("Value of an attribute.", max_length=1024)]


class EventSpec(Record, frozen=True, kw_only=True):
    """A CloudEvent with JSON data. Fixed at creation."""

    source: Annotated[
        str, doc("Where it happened. With id it says which event this is.", min_length=1, max_length=1024)
    ]
    id: Annotated[str, doc("Unique for its source.", min_length=1, max_length=256)]
    type: Annotated[str, doc("What happened, as user:created.", min_length=1, max_length=256)]
    subject: Annotated[str, doc("What of the source it is about.", max_length=1024)] | None = None
    # A text, as expressions see it: nothing here reckons with it.
    time: Annotated[str, doc("When it happened.", format="date-time", max_length=64)] | None = None
    data_schema: Annotated[str, doc("URI of the data's schema; shown, not checked.", max_length=1024)] | None = None
    extensions: Annotated[dict[str, Attribute], doc("Extension attributes, as traceparent.", max_length=32)] | None = (
        None
    )
    data: Annotated[dict[str, Any], doc("What is to be told: a JSON object.", **FREE)] | None = None
    ttl: Annotated[Duration, doc("Age at which this object is deleted, once processed.")] = "1h"


class EventRun(Record, frozen=True, kw_only=True):
    """A run that an event has started."""

    workflow: Annotated[str, doc("Its workflow.", max_length=253)]
    name: Annotated[str, doc("Name of the WorkflowRun.", max_length=253)]


class EventProblem(Record, frozen=True, kw_only=True):
    """Why an event started no run of a workflow that it might have started."""

    workflow: Annotated[str, doc("The workflow.", max_length=253)]
    reason: Annotated[str, doc("Why, one word.", max_length=64)]
    message: Annotated[str, doc("Why, for people.", max_length=1024)] = ""


class EventStatus(Record, frozen=True, kw_only=True):
    """What became of an event. Written by the operator only."""

    observed_generation: Annotated[int, doc("Generation of the spec that this speaks of.")] = 0
    processed_time: Annotated[Time, doc("When its runs had been created.")] | None = None
    started: Annotated[int, doc("Number of runs that it started.")] = 0
    runs: Annotated[
        tuple[EventRun, ...],
        doc("The first of these runs.", **{"x-kubernetes-list-type": "atomic"}, max_length=100),
    ] = ()
    problems: Annotated[
        tuple[EventProblem, ...],
        doc("The first problems met.", **{"x-kubernetes-list-type": "atomic"}, max_length=16),
    ] = ()
    conditions: Annotated[
        tuple[Condition, ...],
        doc(
            "Processed.",
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
            max_length=8,
        ),
    ] = ()


class Event(Record, frozen=True, kw_only=True):
    """One CloudEvent: the kind WorkflowEvent."""

    metadata: Metadata
    spec: EventSpec
    status: EventStatus = EventStatus()
