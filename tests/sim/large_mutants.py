"""Mutants of large outputs (docs/adr/0029)."""

from typing import Any

from adze.core.model import OutputPage
from adze.core.rules import handover
from tests.sim.mutant import Mutant


def _believed(page: OutputPage, _pages: Any) -> dict[str, Any]:
    return {"n": 1, "pod": page.name.removesuffix("-output")}


_keep = handover.keep


def _thrown_away(draft: Any, node: Any, output: Any, page: OutputPage | None) -> Any:
    draft.spent += [page.name] if page else []
    return _keep(draft, node, output, page)


LARGE_MUTANTS = (
    Mutant("large outputs are believed in unseen", lambda: [(handover, "paged", _believed)], "large", 1000),
    Mutant("large outputs are thrown away", lambda: [(handover, "keep", _thrown_away)], "large", 1000),
)
