"""kopf as a process shell: it watches our own kinds and writes to no object."""

import random
from collections.abc import Iterator
from typing import Any

import kopf


class _NullProgress(kopf.ProgressStorage):
    """kopf keeps nothing in our objects: its annotations would cost writes and race with our compare-and-swap."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


class _NullDiffBase(kopf.DiffBaseStorage):
    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None


class _ForeverBackoffs:
    """Pauses between kopf's retries. With a finite list an API server away for a minute would end the process."""

    def __iter__(self) -> Iterator[float]:
        pause = 1.0
        while True:
            yield pause * random.uniform(0.5, 1)
            pause = min(pause * 2, 30)


def configure(settings: kopf.OperatorSettings) -> None:
    """kopf's settings: it watches, and nothing else."""
    settings.persistence.progress_storage = _NullProgress()
    settings.persistence.diffbase_storage = _NullDiffBase()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = _ForeverBackoffs()
    settings.watching.inactivity_timeout = 75
    # kopf lists again after each end of a watch: what a watch has lost is found then.
    settings.watching.server_timeout = 300
    settings.process.ultimate_exiting_timeout = 20
