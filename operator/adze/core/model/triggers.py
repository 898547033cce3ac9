"""What starts runs of a workflow by itself: `on` of a Workflow."""

from typing import Annotated, Any

from adze.core.model.base import FREE, Expression, Record, doc


class EventTrigger(Record, frozen=True, kw_only=True):
    """Starts a run for each event that matches."""

    name: Annotated[
        str,
        doc(
            "Type of the event; a * at the end stands for anything.",
            pattern=r"^[^*\s]*\*?$",
            min_length=1,
            max_length=256,
        ),
    ]
    filter: Annotated[Expression, doc("CEL over event; a run starts only where it gives true.")] | None = None
    input: (
        Annotated[dict[str, Any], doc("The run's input; ${…} holds CEL over event. Default: the event's data.", **FREE)]
        | None
    ) = None


class Triggers(Record, frozen=True, kw_only=True):
    """What starts runs of a workflow by itself."""

    events: Annotated[
        tuple[EventTrigger, ...],
        doc(
            "Events that start runs. Of several that match one event the first counts.",
            **{"x-kubernetes-list-type": "atomic"},
            max_length=32,
        ),
    ] = ()
