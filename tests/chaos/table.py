"""The report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .arena import Result
from .checker import Verdict

HEADS = ("scenario (seed)", "runs", "writes", "resumed", "quiet", "verdict", "faults")


def unfinished(name: str, verdict: Verdict) -> Result:
    """The result of a scenario that broke off."""
    return Result(name, Counter(), 0, 0, None, 0.0, verdict)


def render(results: Sequence[Result]) -> str:
    """One line for each scenario.

    `resumed`: from the end of the last fault to the operator's next write. `quiet`: to the end of all runs.
    """
    rows = [HEADS, *map(_row, results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)


def _row(result: Result) -> tuple[str, ...]:
    faults = ", ".join(f"{count}× {what}" for what, count in sorted(result.faults.items()))
    resumed = "-" if result.resumed is None else f"{result.resumed:.1f} s"
    return (
        result.name,
        str(result.runs),
        str(result.writes),
        resumed,
        f"{result.settled:.1f} s",
        result.verdict.word.value,
        faults,
    )


def details(results: Sequence[Result]) -> str:
    """Notes of all scenarios, and why one isn't Held."""
    lines = []
    for result in results:
        lines += [f"{result.name}: {note}" for note in result.notes]
        if result.verdict.breaches or result.verdict.gaps:
            lines.append(f"{result.name}: {result.verdict}")
    return "\n".join(lines)
