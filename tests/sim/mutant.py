"""What a mutant is."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from adze.core import upkeep
from tests.sim.driver import Driver
from tests.sim.laboratory import Patch


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken adze, the kind of episodes that should tell, and how many may be needed at most."""

    name: str
    patches: Callable[[], list[Patch]]
    profile: str
    episodes: int
    driver: type[Driver] = Driver


def chores_with(**changes: Any) -> Any:
    """`upkeep.chores` with some of its answer exchanged."""
    original = upkeep.chores
    return lambda *arguments: replace(original(*arguments), **changes)
