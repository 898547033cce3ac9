"""The shape of a workflow: order, ancestors, and what is wrong with it."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter


def cycle(parents: Mapping[str, Sequence[str]]) -> list[str] | None:
    """The names along a cycle from parent to child, first and last the same, or None."""
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


def order(parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Names with parents first; otherwise as they were given. The graph must have no cycle."""
    done: set[str] = set()
    ordered: list[str] = []
    waiting = list(parents)
    while waiting:
        ready = [name for name in waiting if all(parent in done for parent in parents[name])]
        ordered += ready
        done.update(ready)
        waiting = [name for name in waiting if name not in done]
    return ordered


def ancestors(parents: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """All steps upstream of each step. The graph must have no cycle."""
    found: dict[str, frozenset[str]] = {}
    for name in order(parents):
        direct = parents[name]
        found[name] = frozenset(direct).union(*(found[parent] for parent in direct))
    return found
