"""RoundRobin: the keys take turns under one limit, however many runs each of them has waiting."""

from collections import Counter, defaultdict

from adze.core.strategies.base import Line, Member, Ranking


def rank(line: Line) -> Ranking:
    """In turn from each key that waits: the one with the fewest slots, then the one served longest ago."""
    held = Counter(member.key for member in line.holding)
    turns = dict(line.turns)
    queues: dict[str, list[Member]] = defaultdict(list)
    for member in reversed(line.waiting):
        queues[member.key].append(member)
    ranked: list[Member] = []
    while queues and len(ranked) < line.free:
        key = min(queues, key=lambda key: (held[key], turns.get(key, 0), queues[key][-1].order))
        ranked.append(queues[key].pop())
        if not queues[key]:
            del queues[key]
        held[key] += 1
        turns[key] = max(turns.values(), default=0) + 1
    return Ranking(ranked)
