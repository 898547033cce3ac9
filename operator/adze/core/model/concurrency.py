"""What runs and steps share: the places under a key."""

from enum import StrEnum
from typing import Annotated

from adze.core.model.base import Record, Text, doc

MOST_SLOTS = 10_000

ScopeName = Annotated[
    str,
    doc(
        "Who shares the key: Workflow (the runs of this workflow), Namespace, or a name of your own that several "
        "workflows of the namespace give.",
        pattern="^(Workflow|Namespace|[a-z]([-a-z0-9]*[a-z0-9])?)$",
        max_length=63,
    ),
]
NUMBER_OR_EXPRESSION = {"x-kubernetes-int-or-string": True, "maxLength": 2048}


class Strategy(StrEnum):
    """What happens when a key has no free slot."""

    QUEUE = "Queue"
    ROUND_ROBIN = "RoundRobin"
    CANCEL_IN_PROGRESS = "CancelInProgress"
    CANCEL_NEWEST = "CancelNewest"
    KEEP_NEWEST_QUEUED = "KeepNewestQueued"


class Concurrency(Record, frozen=True, kw_only=True):
    """A key, and how many may hold it at a time. Each place is a Lease: `kubectl get leases -l adze.dev/group`."""

    key: Annotated[Text, doc("The key; ${…} holds CEL. Default: one key for all.", min_length=1)] | None = None
    max_runs: Annotated[
        int | str,
        doc(
            "Slots of the key: a number, or CEL that gives one. The Workflow's present value counts.",
            **NUMBER_OR_EXPRESSION,
        ),
    ]
    strategy: Annotated[
        Strategy,
        doc(
            "Queue: wait in order of priority, then of creation. RoundRobin: the keys take turns under one limit for "
            "all of them. CancelInProgress: the newest runs win. CancelNewest: what finds no slot is cancelled. "
            "KeepNewestQueued: only the newest waits."
        ),
    ] = Strategy.QUEUE
    scope: ScopeName = "Workflow"


def within(field: str, most: int) -> dict[str, str]:
    """The CEL rule for a field that holds a number or an expression."""
    return {
        "rule": f"!has(self.{field}) || type(self.{field}) == string || (self.{field} >= 1 && self.{field} <= {most})",
        "message": f"{field} must be between 1 and {most}",
    }


ConcurrencyEntry = Annotated[
    Concurrency, doc("A key and its limit.", **{"x-kubernetes-validations": [within("maxRuns", MOST_SLOTS)]})
]
