"""Mutants of reruns (docs/adr/0027)."""

from collections.abc import Generator
from typing import Any

from adze.core import beginning, rerun
from tests.sim.mutant import Mutant


def _as_they_are(_run: Any, plan: Any, _now: Any) -> Generator[Any, Any, Any]:
    yield from ()
    return plan


_refusal, _taken_over = rerun.refusal, rerun._taken_over


def _of_anything(run: Any, source: Any) -> str | None:
    why = _refusal(run, source)
    return None if why and "has not ended" in why and source.status.workflow_spec else why


def _with_what_failed(before: Any, node: Any, source: str) -> Any:
    kept = _taken_over(before, node, source)
    return before if before.phase in rerun.UNHAPPY and not before.items else kept


RERUN_MUTANTS = (
    Mutant("pages of the source used as they are", lambda: [(beginning, "keep_pages", _as_they_are)], "reruns", 1000),
    Mutant("a run repeated that hasn't ended", lambda: [(rerun, "refusal", _of_anything)], "reruns", 1000),
    Mutant("failed steps kept", lambda: [(rerun, "_taken_over", _with_what_failed)], "reruns", 1000),
    Mutant(
        "errors of items that run again kept",
        lambda: [(rerun, "kept_outputs", lambda outputs, _: dict(outputs))],
        "reruns",
        1000,
    ),
)
