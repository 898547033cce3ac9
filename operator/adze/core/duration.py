"""Durations as Kubernetes users write them: `90s`, `1h30m`, `250ms`."""

import re
from datetime import timedelta

PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
"""Go's duration syntax without signs and sub-millisecond units; also the pattern in the CRDs."""

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_LONGEST = 10 * 365 * 24 * 3600


def parse(text: str) -> timedelta:
    """Read a duration; ValueError names the text when it isn't one."""
    if not re.match(PATTERN, text):
        raise ValueError(f"{text!r} is not a duration such as 90s or 1h30m")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if seconds > _LONGEST:
        raise ValueError(f"{text} is longer than ten years")
    return timedelta(seconds=seconds)


def show(duration: timedelta) -> str:
    """The shortest text for people: `1h30m`, `12s`, `0.4s`."""
    seconds = duration.total_seconds()
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    whole = round(seconds)
    parts = [(whole // 3600, "h"), (whole % 3600 // 60, "m"), (whole % 60, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
