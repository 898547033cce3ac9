"""The sleep step: time goes by, and nothing is paid for it."""

from collections.abc import Iterator
from typing import Any

from adze.core import duration
from adze.core.kinds.base import Done, View, Waiting, Waits
from adze.core.model import Step


def _texts(step: Step) -> dict[str, Any]:
    assert step.sleep is not None
    return {"sleep": {"duration": step.sleep.duration}}


def _look(view: View) -> Waiting | Done:
    try:
        end = view.start + duration.parse(str(view.texts["sleep"]["duration"]))
    except ValueError as error:
        return Done("InvalidDuration", f"sleep.duration: {error}")
    return Done() if view.now >= end else Waiting("Sleeping", f"until {end:%Y-%m-%dT%H:%M:%SZ}", end)


def _problems(step: Step) -> Iterator[tuple[str, str]]:
    assert step.sleep is not None
    if "${" not in step.sleep.duration:
        try:
            duration.parse(step.sleep.duration)
        except ValueError as error:
            yield "sleep.duration", str(error)


KIND = Waits(_look, _texts, _problems)
