"""Where the boxes of a layered drawing go: layers by the longest way, few crossings, children below their parents.

The usual steps of Sugiyama's method. Edges that skip layers pass through bends, which take part like narrow boxes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import pairwise

SWEEPS = 8
"""Passes up and down; more change little."""


@dataclass(frozen=True, slots=True)
class Bend:
    """Where the edge from `parent` to `child` passes a layer."""

    parent: str
    child: str
    layer: int


Cell = str | Bend


@dataclass(frozen=True, slots=True)
class Layout:
    """Cells by layer from the top, left to right; the centre of each; and the edges as chains of cells."""

    layers: Sequence[Sequence[Cell]]
    centres: Mapping[Cell, float]
    edges: Sequence[Sequence[Cell]]


def layout(parents: Mapping[str, Sequence[str]], widths: Mapping[str, float], gap: float) -> Layout:
    """Place boxes of those widths; graph without a cycle."""
    level: dict[str, int] = {}
    for name in TopologicalSorter(parents).static_order():
        level[name] = max((level[parent] + 1 for parent in parents[name]), default=0)
    edges = [_chain(parent, name, level) for name in parents for parent in parents[name]]
    rank: dict[Cell, int] = dict(level.items())
    rank |= {cell: cell.layer for edge in edges for cell in edge if isinstance(cell, Bend)}
    layers: list[list[Cell]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for cell, layer in rank.items():
        layers[layer].append(cell)
    above: dict[Cell, list[Cell]] = {cell: [] for cell in rank}
    below: dict[Cell, list[Cell]] = {cell: [] for cell in rank}
    for edge in edges:
        for upper, lower in pairwise(edge):
            above[lower].append(upper)
            below[upper].append(lower)
    for _ in range(SWEEPS):
        _order(layers, above)
        _order(layers[::-1], below)
    _order(layers, above)
    sizes = {cell: widths[cell] if isinstance(cell, str) else 0.0 for cell in rank}
    return Layout(layers, _centres(layers, above, below, sizes, gap), edges)


def _chain(parent: str, child: str, level: Mapping[str, int]) -> list[Cell]:
    return [parent, *(Bend(parent, child, layer) for layer in range(level[parent] + 1, level[child])), child]


def _order(layers: Sequence[list[Cell]], neighbours: Mapping[Cell, Sequence[Cell]]) -> None:
    """Sort each layer by the mean place of its cells' neighbours in the layer before."""
    place: dict[Cell, float] = {cell: index for index, cell in enumerate(layers[0])} if layers else {}
    for layer in layers[1:]:
        means = {}
        for index, cell in enumerate(layer):
            known = [place[neighbour] for neighbour in neighbours[cell]]
            means[cell] = sum(known) / len(known) if known else float(index)
        layer.sort(key=means.__getitem__)
        place |= {cell: index for index, cell in enumerate(layer)}


def _centres(
    layers: Sequence[Sequence[Cell]],
    above: Mapping[Cell, Sequence[Cell]],
    below: Mapping[Cell, Sequence[Cell]],
    sizes: Mapping[Cell, float],
    gap: float,
) -> dict[Cell, float]:
    centres: dict[Cell, float] = {}
    for layer in layers:
        centres |= zip(layer, _apart(layer, [0.0] * len(layer), sizes, gap), strict=True)
    for sweep in range(SWEEPS):
        downward = sweep % 2 == 0
        for layer in layers if downward else reversed(layers):
            neighbours = above if downward else below
            wanted = []
            for cell in layer:
                known = [centres[neighbour] for neighbour in neighbours[cell]]
                wanted.append(sum(known) / len(known) if known else centres[cell])
            centres |= zip(layer, _apart(layer, wanted, sizes, gap), strict=True)
    left = min((centres[cell] - sizes[cell] / 2 for cell in centres), default=0.0)
    return {cell: centre - left for cell, centre in centres.items()}


def _apart(layer: Sequence[Cell], wanted: Sequence[float], sizes: Mapping[Cell, float], gap: float) -> list[float]:
    """The places nearest to the wanted ones (least squares) that keep the order and the gaps."""
    offset, offsets = 0.0, list[float]()
    for index, cell in enumerate(layer):
        offset += (sizes[layer[index - 1]] + sizes[cell]) / 2 + gap if index else 0.0
        offsets.append(offset)
    # Without their offsets the places need only rise: pool neighbours that don't.
    pools: list[tuple[float, int]] = []
    for place, shift in zip(wanted, offsets, strict=True):
        pools.append((place - shift, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (mean, count), (other, more) = pools.pop(), pools.pop()
            pools.append(((mean * count + other * more) / (count + more), count + more))
    flat = [mean for mean, count in pools for _ in range(count)]
    return [mean + shift for mean, shift in zip(flat, offsets, strict=True)]
