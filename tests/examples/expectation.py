"""How a run should end: the format of the examples' `expect*.yaml`, and the comparison with a run's status.

An expectation names the parts of the status that matter; all others are left alone. Maps are compared as subsets,
everything else must be equal, except that

- `steps` is a map from a step's name to its end;
- `attempts` is their number (those lost to infrastructure aside), `exitCode` is that of the last one;
- `message` is a part of the actual message;
- null stands for what must not be there.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def matches(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """The differences between an expectation and the status of a WorkflowRun; empty when it is met."""
    steps = {step["name"]: _step(step) for step in actual.get("steps", ())}
    return list(_differences(expected, {**actual, "steps": steps}, ""))


def _step(status: Mapping[str, Any]) -> dict[str, Any]:
    attempts = [attempt for attempt in status.get("attempts", ()) if not attempt.get("infrastructure")]
    return {**status, "attempts": len(attempts), "exitCode": attempts[-1].get("exitCode") if attempts else None}


def _differences(expected: Any, actual: Any, place: str) -> Iterator[str]:
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for key, value in expected.items():
            where = f"{place}.{key}".lstrip(".")
            if key not in actual:
                if value is not None:
                    yield f"{where}: expected {value!r}, but there is none"
            elif key == "message" and isinstance(value, str):
                if value not in str(actual[key]):
                    yield f"{where}: expected {value!r} in {actual[key]!r}"
            else:
                yield from _differences(value, actual[key], where)
    elif expected != actual:
        yield f"{place}: expected {expected!r}, not {actual!r}"
