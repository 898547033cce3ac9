"""What the API types are made of.

Every string and list is bounded: a bounded object can't grow past what etcd takes, and the API server refuses CEL
rules whose cost it can't bound. Fields are snake_case here and camelCase in YAML.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from adze.core import names
from adze.core.duration import PATTERN as DURATION_PATTERN

GROUP = "adze.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A part of an API object."""


def camel(name: str) -> str:
    """A field's name as YAML has it."""
    head, *tail = name.split("_")
    return head + "".join(word.title() for word in tail)


def doc(description: str, **words: Any) -> Meta:
    """A field's description, its bounds (the arguments of `msgspec.Meta`) and further JSON Schema words for the CRD."""
    bounds = {word: words.pop(word) for word in ("ge", "le", "min_length", "max_length", "pattern") if word in words}
    return Meta(description=description, extra_json_schema=words or None, **bounds)


def rule(expression: str, message: str) -> dict[str, str]:
    """A CEL rule for `x-kubernetes-validations`."""
    return {"rule": expression, "message": message}


FREE = {"x-kubernetes-preserve-unknown-fields": True}

Name = Annotated[str, Meta(pattern="^[a-z]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=40)]
Duration = Annotated[str, Meta(pattern=DURATION_PATTERN, max_length=32)]
EventType = Annotated[
    str,
    doc(
        "Type of the event; a * at the end stands for anything.", pattern=r"^[^*\s]*\*?$", min_length=1, max_length=256
    ),
]
Expression = Annotated[str, Meta(min_length=1, max_length=2048)]
Text = Annotated[str, Meta(max_length=32768)]
Image = Annotated[str, Meta(min_length=1, max_length=1024)]
Time = Annotated[datetime, Meta(tz=True)]
ObjectName = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)]

PullPolicy = Annotated[str, Meta(pattern="^(Always|IfNotPresent|Never)$", max_length=12)]
PRIORITY = {"ge": -1_000_000, "le": 1_000_000}
NAMED = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
BY_TYPE = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
ATOMIC = {"x-kubernetes-list-type": "atomic"}


def version(item: Any) -> int:
    """The resourceVersion of an object: a number that can be compared (KEP-5504), 0 before it's stored."""
    return int(item.metadata.resource_version or 0)


class Condition(Record, frozen=True, kw_only=True):
    """A Kubernetes condition."""

    type: Annotated[str, doc("Succeeded, Reconciling, Stalled or Ready.", max_length=64)]
    status: Annotated[str, doc("True, False or Unknown.", pattern="^(True|False|Unknown)$", max_length=7)]
    reason: Annotated[str, doc("One PascalCase word.", max_length=64)]
    message: Annotated[str, doc("For people.", max_length=4096)] = ""
    last_transition_time: Annotated[Time, doc("When status last flipped.")]
    observed_generation: Annotated[int, doc("Generation of the object that this speaks of.")] = 0


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """The labels that adze reads of its own kinds. Others aren't kept in memory."""

    trigger: str = msgspec.field(default="", name=names.TRIGGER)
    event: str = msgspec.field(default="", name=names.EVENT)
    step: str = msgspec.field(default="", name=names.STEP)
    attempt: str = msgspec.field(default="", name=names.ATTEMPT)
    item: str = msgspec.field(default="", name=names.ITEM)


class Annotations(msgspec.Struct, frozen=True, kw_only=True):
    """The annotations that adze reads of its own kinds. Others aren't kept in memory: they may be large."""

    schedule: str = msgspec.field(default="", name=names.SCHEDULE)
    time_zone: str = msgspec.field(default="", name=names.TIME_ZONE)
    scheduled_time: str = msgspec.field(default="", name=names.SCHEDULED_TIME)
    run: str = msgspec.field(default="", name=names.RUN)
    rate: str = msgspec.field(default="", name=names.RATE)
    gate: str | None = msgspec.field(default=None, name=names.GATE)
    ancestors: str = msgspec.field(default="", name=names.ANCESTORS)


class OwnerReference(Record, frozen=True, kw_only=True):
    """Whose object it is."""

    uid: str
    kind: str = ""
    name: str = ""
    controller: bool = False


class Metadata(Record, frozen=True, kw_only=True):
    """The part of an object's metadata that adze reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: Labels = Labels()
    annotations: Annotations = Annotations()
    owner_references: tuple[OwnerReference, ...] = ()
