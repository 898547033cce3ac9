"""A step says in its output that it was told to come back later; then nobody takes of its keys before that.

    {"rateLimited": {"retryAfter": 30}}                              seconds from the attempt's end, as in HTTP
    {"rateLimited": {"until": "2026-03-05T12:00:00Z", "key": "acme"}}   of one key only

It counts whether the attempt succeeds or fails.
"""

from datetime import datetime, timedelta
from typing import Any

from adze.core.carrier import Outcome
from adze.core.draft import Draft
from adze.core.rates import InvalidRate
from adze.core.revision import Node
from adze.core.rules.admit import wanted_units
from adze.core.slots import Closing

FIELD = "rateLimited"
LONGEST = timedelta(hours=24)


class _Unclear(ValueError):
    """What the step says can't be understood."""


def noted(draft: Draft, node: Node, outcome: Outcome) -> tuple[str | None, str | None]:
    """Reason and message of the outcome, once the keys that it closes are noted."""
    said = (outcome.output or {}).get(FIELD)
    if not node.rates or said is None:
        return outcome.reason, outcome.message
    try:
        draft.closings += _closings(draft, node, said, outcome.finish or draft.now)
    except (_Unclear, InvalidRate) as error:
        message = f"output.{FIELD}: {error}"
        if outcome.reason is None:
            return "OutputInvalid", message
        return outcome.reason, f"{outcome.message} ({message})"
    return outcome.reason, outcome.message


def _closings(draft: Draft, node: Node, said: Any, finish: datetime) -> list[Closing]:
    given = [field for field in MOMENTS if isinstance(said, dict) and field in said]
    if len(given) != 1 or said.keys() - {"key", *given}:
        raise _Unclear("it must have either retryAfter or until, and may have key")
    until = MOMENTS[given[0]](said[given[0]], finish)
    takes = list(wanted_units(draft, node).values())
    if "key" in said:
        takes = [take for take in takes if take.key == said["key"]]
        if not takes:
            raise _Unclear(f"the step takes of no key {said['key']!r}")
    return [Closing(take, min(until, finish + LONGEST)) for take in takes]


def _after(value: Any, finish: datetime) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise _Unclear(f"retryAfter must be a number of seconds from 0 up, not {value!r}")
    return finish + min(timedelta(seconds=min(value, 10**9)), LONGEST)


def _moment(value: Any, _finish: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _Unclear(f"until must be a time such as 2026-03-05T12:00:00Z, not {value!r}")
    return moment


MOMENTS = {"retryAfter": _after, "until": _moment}
