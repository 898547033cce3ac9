"""The real code with parts of it exchanged for a while: for smaller limits, and for mutants."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from adze.core import draft, fanout
from adze.core import revision as revisions
from adze.core.model import WorkflowSpec
from adze.core.revision import Revision
from adze.core.rules import retry
from adze.shell import workers
from tests.sim.check import INFRASTRUCTURE_BUDGET

Patch = tuple[Any, str, Any]
"""A place (a module or class), a name in it, and what stands there instead."""


@contextmanager
def patched(patches: list[Patch]) -> Iterator[None]:
    """The code with the patches in."""
    before = [(place, name, getattr(place, name)) for place, name, _ in patches]
    for place, name, value in patches:
        setattr(place, name, value)
    try:
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)


class _Silent:
    """The workers' log while thousands of episodes run; what matters is in the violation."""

    def exception(self, *_: Any, **__: Any) -> None:
        """A pass raised."""


@contextmanager
def laboratory() -> Iterator[None]:
    """Smaller limits, so that they are met often, a silent log, and workflows that are compiled only once."""
    original = revisions.compile_workflow
    known: dict[int, tuple[WorkflowSpec, Revision]] = {}

    def compile_workflow(spec: WorkflowSpec) -> Revision:
        found = known.get(id(spec))
        if found is None:
            found = known[id(spec)] = (spec, original(spec))
        return found[1]

    patches: list[Patch] = [
        (revisions, "compile_workflow", compile_workflow),
        (workers, "log", _Silent()),
        (retry, "INFRASTRUCTURE_BUDGET", INFRASTRUCTURE_BUDGET),
        (draft, "KEPT_ATTEMPTS", 2),
        (fanout, "INLINE_LIMIT", 40),
        (fanout, "PAGE_LIMIT", 40),
    ]
    with patched(patches):
        yield
