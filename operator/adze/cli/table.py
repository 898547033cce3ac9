"""Columns as kubectl prints them, for the API server's tables and for our own."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click

GAP = 3
NARROWEST = 6
COLOURS = {
    "Succeeded": "green",
    "Failed": "red",
    "Lost": "yellow",
    "Running": "cyan",
    "Cancelled": "magenta",
    "Skipped": "bright_black",
}
"""Of phases. A Pending one is as it is."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Cell:
    """A text in a column, in a colour if the terminal has any."""

    text: str
    colour: str | None = None


def clean(text: str) -> str:
    """The text without what a terminal would obey: words of others end up in tables."""
    return _CONTROL.sub("", text)


def phase(text: str) -> Cell:
    """A text; in its colour if it's a phase."""
    return Cell(text, COLOURS.get(text))


def aligned(rows: Sequence[Sequence[Cell]], width: int | None = None) -> list[str]:
    """The rows as lines, columns one below the other, each line at most `width` wide. The last column isn't padded."""
    widths = [max(NARROWEST, max(map(len, column)) + GAP) for column in _columns(rows)]
    lines = []
    for row in rows:
        line, used = "", 0
        for index, cell in enumerate(row):
            text = clean(cell.text)
            if width is not None and used + len(text) > width:
                text = f"{text[: max(width - used - 1, 0)]}…" if used < width else ""
            padding = "" if index == len(row) - 1 else " " * (widths[index] - len(text))
            line += (click.style(text, fg=cell.colour) if cell.colour and text else text) + padding
            used += len(text) + len(padding)
        lines.append(line.rstrip(" "))
    return lines


def _columns(rows: Sequence[Sequence[Cell]]) -> Iterable[list[str]]:
    count = max(map(len, rows), default=0)
    return ([clean(row[index].text) for row in rows if index < len(row)] for index in range(count))


def header(*titles: str) -> tuple[Cell, ...]:
    """The first row of a table of our own."""
    return tuple(Cell(title) for title in titles)


def rows_of(pages: Iterable[dict[str, Any]], wide: bool, namespaces: bool) -> list[list[Cell]]:
    """The API server's table, its pages joined: a row of titles and a row for each object. Empty if there is none."""
    rows: list[list[Cell]] = []
    for page in pages:
        chosen = [
            index for index, column in enumerate(page["columnDefinitions"]) if wide or column.get("priority", 0) == 0
        ]
        if not rows:
            titles = [page["columnDefinitions"][index]["name"].upper() for index in chosen]
            rows.append([*map(Cell, ["NAMESPACE"] if namespaces else []), *map(Cell, titles)])
        for row in page["rows"]:
            place = [row["object"]["metadata"]["namespace"]] if namespaces else []
            rows.append([phase(text) for text in (*place, *(_text(row["cells"][index]) for index in chosen))])
    return rows if len(rows) > 1 else []


def _text(value: Any) -> str:
    """A cell's value on one line, as kubectl shows it."""
    lines = ("" if value is None else str(value)).splitlines() or [""]
    return lines[0] if len(lines) == 1 else f"{lines[0]}..."
