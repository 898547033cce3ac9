"""The shape of a workflow."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adze.core import dag

Graph = dict[str, tuple[str, ...]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Graphs without a cycle, their steps listed in any order."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 8)))]
    graph = {name: tuple(draw(st.sets(st.sampled_from(names[:at])))) if at else () for at, name in enumerate(names)}
    return {name: graph[name] for name in draw(st.permutations(names))}


@pytest.mark.parametrize(
    ("parents", "wanted"),
    [
        ({"a": ()}, ["a"]),
        ({"a": (), "b": (), "c": ()}, ["a", "b", "c"]),
        ({"c": ("b",), "b": ("a",), "a": ()}, ["a", "b", "c"]),
        ({"end": ("l", "r"), "l": ("top",), "r": ("top",), "top": ()}, ["top", "l", "r", "end"]),
    ],
)
def test_parents_come_first_and_else_the_written_order_stays(parents: Graph, wanted: list[str]) -> None:
    assert dag.order(parents) == wanted


@given(graphs())
def test_every_step_is_ordered_once_after_its_parents(graph: Graph) -> None:
    order = dag.order(graph)
    assert sorted(order) == sorted(graph)
    assert all(order.index(parent) < order.index(name) for name, parents in graph.items() for parent in parents)


@given(graphs())
def test_ancestors_are_the_parents_and_theirs(graph: Graph) -> None:
    found = dag.ancestors(graph)
    for name, parents in graph.items():
        assert found[name] == {*parents, *(far for parent in parents for far in found[parent])}
        assert name not in found[name]
    assert dag.cycle(graph) is None


@pytest.mark.parametrize(
    ("parents", "wanted"),
    [
        ({"a": ("b",), "b": ("a",)}, {"a", "b"}),
        ({"a": ("c",), "b": ("a",), "c": ("b",), "free": ()}, {"a", "b", "c"}),
        ({"a": (), "b": ("a", "d"), "c": ("b",), "d": ("c",)}, {"b", "c", "d"}),
    ],
)
def test_a_cycle_is_told_step_by_step_from_parent_to_child(parents: Graph, wanted: set[str]) -> None:
    path = dag.cycle(parents)
    assert path is not None
    assert path[0] == path[-1]
    assert set(path) == wanted
    assert len(path) == len(wanted) + 1
    for parent, child in pairwise(path):
        assert parent in parents[child], f"{parent} is no parent of {child}"
