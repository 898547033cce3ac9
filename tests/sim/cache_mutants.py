"""Mutants of the cache (docs/adr/0028)."""

from typing import Any

from adze.core import cache, planner
from adze.core.model import Phase
from tests.sim.mutant import Mutant

_entry_name = cache.entry_name


def _without_key(run: Any, step: str, kept: Any, values: Any) -> str | None:
    values = type(values)(values.run, {**values.input, "word": 0}, values.steps)
    return _entry_name(run, step, kept, values)


def _whatever_the_end(draft: Any, status: Any) -> Any:
    for step in status.steps:
        kept = draft.revision.nodes[step.name].cache
        if kept and step.phase is Phase.FAILED:
            yield cache.manifest(draft.run, step.name, kept, step.output, draft.values())


CACHE_MUTANTS = (
    Mutant("entries found whatever the key", lambda: [(cache, "entry_name", _without_key)], "cached", 1000),
    Mutant("what failed is kept", lambda: [(planner, "_entries", _whatever_the_end)], "cached", 1000),
)
