"""How a run must end: a model of the design's sections 3 and 4, written from them and not from the code."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Fate:
    """What the attempts of a step, or of one item, come to in turn: succeed, fail or lose. After these it succeeds."""

    ends: tuple[str, ...]

    def fails(self, retries: int) -> bool:
        """Whether it fails for good, if it's tried until it can't be any more. Lost attempts use up no retry."""
        failures = 0
        for end in self.ends:
            failures += end == "fail"
            if end == "succeed" or failures > retries:
                return end != "succeed"
        return False


@dataclass(frozen=True)
class Plot:
    """A step: what it waits for, and what happens to it. Without `policy` it's one task, else one for each fate."""

    fates: tuple[Fate, ...]
    parents: tuple[str, ...] = ()
    when: bool = True
    retries: int = 0
    policy: str | None = None
    run_if: str = "Succeeded"

    def barred(self, met: set[str]) -> str | None:
        """The phase that it ends with by what its parents came to; None if they let it start."""
        bad = "Cancelled" if met & {"Failed", "Cancelled"} else None
        if not met or self.run_if == "Always" or (self.run_if == "AnySucceeded" and "Succeeded" in met):
            return None
        if self.run_if == "Failed":
            return None if bad else "Skipped"
        return bad or ("Skipped" if "Succeeded" not in met else None)

    def play(self) -> str:
        """The phase that it ends with, once its parents let it start."""
        if not self.when:
            return "Skipped"
        failed = any(fate.fails(self.retries) for fate in self.fates)
        return "Failed" if failed and self.policy != "Continue" else "Succeeded"


def ending(graph: Mapping[str, Plot], alarm: Plot | None, tidy: Plot | None) -> tuple[dict[str, str], str]:
    """Phases of the steps and of the run."""
    phases: dict[str, str] = {}
    while ready := [name for name in graph if name not in phases and set(graph[name].parents) <= phases.keys()]:
        for name in ready:
            met = {phases[parent] for parent in graph[name].parents}
            phases[name] = graph[name].barred(met) or graph[name].play()
    phases |= {"alarm": alarm.play()} if alarm and "Failed" in phases.values() else {}
    phases |= {"tidy": tidy.play()} if tidy else {}
    return phases, "Failed" if "Failed" in phases.values() else "Succeeded"


def items(plot: Plot) -> Iterator[tuple[int, bool]]:
    """The index of each item, and whether it fails if it's ever tried to the end."""
    return ((index, fate.fails(plot.retries)) for index, fate in enumerate(plot.fates))
