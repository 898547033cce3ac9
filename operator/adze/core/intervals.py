"""Sets of indexes as text: `0-41,43`. What succeeds in order stays short, however many there are."""

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache

Range = tuple[int, int]


@lru_cache(maxsize=64)
def ranges(text: str) -> tuple[Range, ...]:
    """First and last index of each interval, ascending."""
    pairs = (part.partition("-") for part in text.split(",") if part)
    return tuple((int(first), int(last or first)) for first, _, last in pairs)


def _show(pairs: Iterable[Range]) -> str:
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in pairs)


def add(text: str, indexes: Collection[int]) -> str:
    """The set with those indexes in it too."""
    if not indexes:
        return text
    merged: list[Range] = []
    for first, last in sorted([*ranges(text), *((index, index) for index in indexes)]):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return _show(merged)


def rest(total: int, *texts: str) -> str:
    """The indexes below `total` that are in none of the sets."""
    free: list[Range] = []
    at = 0
    for first, last in sorted(pair for text in texts for pair in ranges(text)):
        if first > at:
            free.append((at, first - 1))
        at = max(at, last + 1)
    return _show([*free, (at, total - 1)] if at < total else free)


@lru_cache(maxsize=64)
def size(text: str) -> int:
    """How many indexes are in the set."""
    return sum(last - first + 1 for first, last in ranges(text))


def end(text: str) -> int:
    """The index after the last one."""
    found = ranges(text)
    return found[-1][1] + 1 if found else 0


def holds(text: str, index: int) -> bool:
    """Whether the index is in the set."""
    found = ranges(text)
    low, high = 0, len(found)
    while low < high:
        middle = (low + high) // 2
        first, last = found[middle]
        if first <= index <= last:
            return True
        low, high = (middle + 1, high) if last < index else (low, middle)
    return False


def members(text: str) -> Iterator[int]:
    """The indexes, ascending."""
    for first, last in ranges(text):
        yield from range(first, last + 1)
