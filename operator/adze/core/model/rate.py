"""What steps use up of something that refills: units of an allowance."""

from typing import Annotated

from adze.core.model.base import Duration, Record, Text, doc, rule
from adze.core.model.concurrency import NUMBER_OR_EXPRESSION, ScopeName, within

MOST_UNITS = 1_000_000


class RateLimit(Record, frozen=True, kw_only=True):
    """An allowance: so many units of a key in any window of a length. `kubectl get leases -l adze.dev/lease=rate`."""

    key: Annotated[Text, doc("The key; ${…} holds CEL.", min_length=1)]
    limit: Annotated[
        int | str,
        doc(
            "Units in any window of length per: a number, or CEL that gives one. The Workflow's present value counts.",
            **NUMBER_OR_EXPRESSION,
        ),
    ]
    per: Annotated[Duration, doc("Length of the window, from 1s to 744h.")]
    units: Annotated[
        int | str, doc("Units that an attempt takes: a number, or CEL that gives one.", **NUMBER_OR_EXPRESSION)
    ] = 1
    scope: ScopeName = "Workflow"


RateLimitEntry = Annotated[
    RateLimit,
    doc(
        "A key and its allowance.",
        **{
            "x-kubernetes-validations": [
                within("limit", MOST_UNITS),
                within("units", MOST_UNITS),
                rule(
                    "type(self.limit) == string || !has(self.units) || type(self.units) == string || "
                    "self.units <= self.limit",
                    "units must not be more than limit",
                ),
                rule(
                    "duration(self.per) >= duration('1s') && duration(self.per) <= duration('744h')",
                    "per must be between 1s and 744h",
                ),
            ]
        },
    ),
]
