"""Queue: first come, first served within a priority. Nobody is ever cancelled."""

from adze.core.strategies.base import Line, Ranking


def rank(line: Line) -> Ranking:
    """Those who wait, in their order."""
    return Ranking(line.waiting)
