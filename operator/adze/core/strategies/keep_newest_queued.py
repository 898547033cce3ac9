"""KeepNewestQueued: what runs goes on, and of those that wait only the newest stays."""

from adze.core.strategies.base import Line, Ranking
from adze.core.verdict import SUPERSEDED


def rank(line: Line) -> Ranking:
    """As many as there are slots; of the rest the newest waits."""
    lucky, others = line.waiting[: line.free], line.waiting[line.free :]
    if not others:
        return Ranking(lucky)
    newest = max(others, key=lambda member: member.age)
    dismiss = {member.uid: (SUPERSEDED, newest.run) for member in others if member is not newest}
    return Ranking([*lucky, newest], dismiss)
