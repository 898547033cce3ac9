"""CancelInProgress: the newest runs win; older ones are cancelled, whether they wait, run or back off."""

from adze.core.strategies.base import Line, Ranking
from adze.core.verdict import SUPERSEDED


def rank(line: Line) -> Ranking:
    """By age of the run alone: a retry doesn't make a run young."""
    newest = sorted((*line.waiting, *line.holding), key=lambda member: member.age, reverse=True)
    winners = {member.uid for member in newest[: line.limit]}
    dismiss = {member.uid: (SUPERSEDED, newest[0].run) for member in newest[line.limit :]}
    return Ranking([member for member in line.waiting if member.uid in winners], dismiss)
