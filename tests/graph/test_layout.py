"""Layered drawings: parents above children, nothing on top of each other."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from adze.graph.layout import Bend, layout


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    names = [f"s{number}" for number in range(draw(st.integers(0, 20)))]
    choose = {name: st.lists(st.sampled_from(names[:index]), unique=True) for index, name in enumerate(names) if index}
    return {name: draw(choose[name]) if name in choose else [] for name in names}


@given(graphs(), st.integers(1, 30))
def test_boxes_of_a_layer_keep_their_gap_and_edges_lead_down_one_layer_at_a_time(
    parents: dict[str, list[str]], width: int
) -> None:
    widths = {name: float(width + len(name)) for name in parents}
    placed = layout(parents, widths, gap=4.0)
    rows = {cell: row for row, layer in enumerate(placed.layers) for cell in layer}
    assert set(parents) == {cell for cell in rows if isinstance(cell, str)}
    for layer in placed.layers:
        for left, right in pairwise(layer):
            sizes = [widths[cell] if isinstance(cell, str) else 0.0 for cell in (left, right)]
            assert placed.centres[right] - placed.centres[left] >= sum(sizes) / 2 + 4.0 - 1e-6
    assert sorted((edge[0], edge[-1]) for edge in placed.edges) == sorted(
        (parent, name) for name in parents for parent in parents[name]
    )
    for edge in placed.edges:
        assert all(rows[lower] == rows[upper] + 1 for upper, lower in pairwise(edge))
        assert all(isinstance(cell, Bend) for cell in edge[1:-1])
    assert all(placed.centres[name] - widths[name] / 2 >= -1e-6 for name in parents)


def test_a_diamond_is_symmetric() -> None:
    parents = {"top": [], "left": ["top"], "right": ["top"], "end": ["left", "right"]}
    placed = layout(parents, dict.fromkeys(parents, 10.0), gap=2.0)
    assert placed.centres["top"] == placed.centres["end"]
    assert placed.centres["left"] + placed.centres["right"] == 2 * placed.centres["top"]
