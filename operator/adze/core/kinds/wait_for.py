"""The waitFor step: an event ends it, also one that came before the step started but after its run did."""

from datetime import datetime
from typing import Any

from adze.core import duration, expressions
from adze.core.kinds.base import Done, View, Waiting, Waits
from adze.core.model import Event, Step


def since(step: Step, run_start: datetime | None, start: datetime) -> datetime:
    """The moment from which events count, in the whole seconds of Kubernetes' timestamps."""
    assert step.wait_for is not None
    lookback = step.wait_for.lookback
    moment = start - duration.parse(lookback) if lookback is not None else run_start or start
    return moment.replace(microsecond=0)


def _look(view: View) -> Waiting | Done:
    """The first event that fits counts; one that the filter fails on is told of and passed over."""
    assert view.step.wait_for is not None
    problem = ""
    for event in sorted(view.events, key=lambda one: (one.metadata.creation_timestamp, one.metadata.name)):
        try:
            if view.holds(event):
                return Done(message=f"event {event.spec.id} of {event.spec.source}", output=_output(event))
        except expressions.ExpressionError as error:
            problem = f"; filter failed on WorkflowEvent {event.metadata.name}: {error}"
    return Waiting("WaitingForEvent", f"no event {view.step.wait_for.event} has come that fits{problem}")


def _output(event: Event) -> dict[str, Any]:
    spec = event.spec
    attributes = {"subject": spec.subject, "time": spec.time}
    known = {name: value for name, value in attributes.items() if value is not None}
    return {"source": spec.source, "id": spec.id, "type": spec.type, **known, "data": spec.data or {}}


KIND = Waits(_look)
