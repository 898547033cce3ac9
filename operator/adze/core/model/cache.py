"""The cache of a step, and the ConfigMap of Kubernetes that is an entry of it."""

from typing import Annotated

from adze.core.model.base import Duration, Metadata, Record, Text, doc


class StepCache(Record, frozen=True, kw_only=True):
    """When a step ends with what an earlier run's has handed over."""

    key: Annotated[Text, doc("What the output depends on; ${…} holds CEL.", min_length=1)]
    ttl: Annotated[Duration, doc("How old the output may be: at most 720h.")] = "24h"


class EntryData(Record, frozen=True, kw_only=True):
    """What was handed over, by which run, and for how long others may use it."""

    output: str = ""
    run: str = ""
    ttl: str = ""


class Entry(Record, frozen=True, kw_only=True):
    """A ConfigMap, as far as it is an entry of the cache."""

    metadata: Metadata
    data: EntryData = EntryData()
