"""CancelNewest: what finds no free slot is cancelled; what runs is never touched."""

from adze.core.strategies.base import LIMIT_REACHED, Line, Ranking


def rank(line: Line) -> Ranking:
    """As many as there are slots; nobody waits."""
    lucky, others = line.waiting[: line.free], line.waiting[line.free :]
    holder = next((member.run for member in (*line.holding, *lucky)), "")
    return Ranking(lucky, {member.uid: (LIMIT_REACHED, holder) for member in others})
