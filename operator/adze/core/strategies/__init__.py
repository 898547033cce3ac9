"""Strategies of concurrency keys. To add one: a file beside these, its name in `model.Strategy`, its line here."""

from adze.core.model import Strategy
from adze.core.strategies import cancel_in_progress, cancel_newest, keep_newest_queued, queue, round_robin
from adze.core.strategies.base import LIMIT_REACHED, Line, Member, Rank, Ranking

STRATEGIES: dict[Strategy, Rank] = {
    Strategy.QUEUE: queue.rank,
    Strategy.ROUND_ROBIN: round_robin.rank,
    Strategy.CANCEL_IN_PROGRESS: cancel_in_progress.rank,
    Strategy.CANCEL_NEWEST: cancel_newest.rank,
    Strategy.KEEP_NEWEST_QUEUED: keep_newest_queued.rank,
}

__all__ = ["LIMIT_REACHED", "STRATEGIES", "Line", "Member", "Rank", "Ranking"]
