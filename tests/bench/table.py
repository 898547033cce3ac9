"""Figures from measures, and the table of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median

from .measure import Measure
from .scenarios import Scenario
from .writes import PURPOSES

MISS = "!"


@dataclass(frozen=True)
class Column:
    """A figure's heading, its decimals, and the most it may be."""

    heading: str
    decimals: int
    target: float | None = None


COLUMNS = {
    "adze": Column("adze s", 1),
    "bare": Column("bare s", 1),
    "ratio": Column("ratio", 3),
    "writes": Column("writes", 2, 4.0),
    **{purpose: Column(purpose, 2) for purpose in PURPOSES},
    "conflicts": Column("409s", 2),
    "reads": Column("reads", 2),
    "cpu": Column("CPU ms", 2, 3.0),
    "p50": Column("p50 ms", 1, 20.0),
    "p99": Column("p99 ms", 1),
    "bare p50": Column("bare p50", 1),
    "bare p99": Column("bare p99", 1),
    "rss": Column("RSS MiB", 0),
    "load": Column("load", 1),
}

Figures = dict[str, float]


def figures(scenario: Scenario, adze: Sequence[Measure], bare: Sequence[Measure], *, audited: bool) -> Figures:
    """The figures of a scenario: medians over its repeats; reactions are pooled. Per step, except times and memory."""
    unit = scenario.steps
    result = {"adze": median(one.seconds for one in adze)}
    if bare:
        result["bare"] = median(one.seconds for one in bare)
        result["ratio"] = result["adze"] / result["bare"]
    if audited:
        result["writes"] = median(sum(one.purposes.values()) for one in adze) / unit
        result |= {purpose: median(one.purposes.get(purpose, 0) for one in adze) / unit for purpose in PURPOSES}
        result["conflicts"] = mean(one.conflicts for one in adze) / unit
    result["reads"] = median(one.reads for one in adze) / unit
    result["cpu"] = median(one.cpu for one in adze) / unit * 1000
    for prefix, measures in (("", adze), ("bare ", bare)):
        if samples := [seconds * 1000 for one in measures for seconds in one.reactions]:
            result |= {f"{prefix}p50": quantile(samples, 0.5), f"{prefix}p99": quantile(samples, 0.99)}
    return result | {"rss": adze[-1].rss, "load": max(one.load for one in [*adze, *bare])}


def quantile(samples: Sequence[float], part: float) -> float:
    """The smallest sample that at least `part` of all are not above."""
    return sorted(samples)[max(0, math.ceil(part * len(samples)) - 1)]


def misses(scenario: Scenario, some: Figures) -> set[str]:
    """The figures that are worse than their target. Runs without Pods have none: their unit is no step."""
    if scenario.skipped:
        return set()
    targets = {name: column.target for name, column in COLUMNS.items()} | {"ratio": scenario.ratio}
    return {name for name, value in some.items() if (limit := targets.get(name)) is not None and value > limit}


def render(results: Sequence[tuple[Scenario, Figures]]) -> str:
    """The table; a figure that misses its target carries a mark."""
    rows = [["scenario", "steps", *(column.heading for column in COLUMNS.values())]]
    for scenario, some in results:
        missed = misses(scenario, some)
        cells = [_cell(name, column, some, missed) for name, column in COLUMNS.items()]
        rows.append([scenario.name, str(scenario.steps), *cells])
    targets = {name: column.target for name, column in COLUMNS.items()}
    targets["ratio"] = max((scenario.ratio for scenario, _ in results if scenario.ratio), default=None)
    rows.append(["at most", "", *(f"{target:g} " if target else "" for target in targets.values())])
    kept = [index for index in range(len(rows[0])) if any(row[index].strip() for row in rows[1:])]
    widths = {index: max(len(row[index]) for row in rows) for index in kept}
    lines = [
        "  ".join(row[index].ljust(widths[index]) if index == 0 else row[index].rjust(widths[index]) for index in kept)
        for row in rows
    ]
    return "\n".join([*lines[:1], "-" * len(lines[0]), *lines[1:]])


def _cell(name: str, column: Column, some: Figures, missed: set[str]) -> str:
    if name not in some:
        return "- "
    return f"{some[name]:.{column.decimals}f}{MISS if name in missed else ' '}"
