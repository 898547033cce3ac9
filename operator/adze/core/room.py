"""How much fits in a run: one object, of which etcd takes 1.5 MiB. No run may come to a status that can't be written.

What is given (input, workflow) is measured before the run begins, and outputs get what is left beside the steps' own
needs. Where texts would be too many, they are cut. If the API server refuses a status all the same, as annotations
aren't known here, the run is ended with a smaller one.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from adze.core import fanout
from adze.core.model import Attempt, ItemStatus, Run, RunStatus, StepStatus
from adze.core.revision import Revision
from adze.core.schema import json_size
from adze.core.verdict import FULL

LIMIT = 1280 * 1024
"""Bytes of a run's spec and status; the rest of 1.5 MiB is for annotations. managedFields don't matter.

The API server leaves them out where an object would else be too large."""
STEP_ROOM = 1024
ENTRY_ROOM = 256
"""Bytes that a step, or an item that has an entry, may come to take, texts cut."""
OUTPUT_ROOM = 64 * 1024
"""Bytes of the run's own output."""
LEAST = 64 * 1024
"""Bytes that must be left for outputs of steps, or the run doesn't begin."""
SHORT = 64
"""Bytes of a message where texts are cut."""
MESSAGE = "the run has grown larger than an object can be: 1.5 MiB"

Part = TypeVar("Part", bound=ItemStatus)


def problem(run: Run, given: Mapping[str, Any] | None, workflow: Any, revision: Revision) -> str | None:
    """Why what a run is given leaves too little room for what it has to say; None if it leaves enough."""
    room = LIMIT - _needed(revision) - LEAST
    copies = 2 if run.spec.workflow_spec else 1
    taken = {"its input": json_size(given), "the workflow": copies * json_size(workflow)}
    if sum(taken.values()) <= room:
        return None
    words = ", ".join(f"{what} {count}" for what, count in taken.items())
    return f"spec.input leaves too little room: of {room} bytes {words} are taken; hand over a reference to larger data"


def for_outputs(run: Run, revision: Revision) -> int:
    """Bytes that outputs of steps may take besides what a run was given, and lists of items."""
    given = json_size(run.spec) + json_size(run.status.workflow_spec) + json_size(run.status.input)
    return LIMIT - given - _needed(revision)


def _needed(revision: Revision) -> int:
    entries = (fanout.ENTRIES + fanout.FAILURES) * ENTRY_ROOM if revision.lists else 0
    return OUTPUT_ROOM + STEP_ROOM * len(revision.nodes) + entries


def fitted(run: Run, status: RunStatus, refused: int = 0) -> RunStatus:
    """The status with its texts cut, if the run would be too large with them: older attempts go first.

    `refused` is how often in a row the API server has found larger ones too large: then all that can go goes, the
    second time outputs too.
    """
    room = LIMIT - json_size(run.spec)
    for cut in (_whole, _without_history, _short, _without_output)[2 * bool(refused) : 3 + (refused > 1)]:
        status = msgspec.structs.replace(status, steps=tuple(map(cut, status.steps)))
        if not refused and json_size(status) <= room:
            break
    return status


def _whole(step: StepStatus) -> StepStatus:
    return step


def _without_history(step: Part) -> Part:
    return msgspec.structs.replace(step, attempts=step.attempts[-1:])


def _short(step: StepStatus) -> StepStatus:
    items = step.items
    if items:
        active, failures = tuple(map(_terse, items.active)), tuple(map(_terse, items.failures))
        items = msgspec.structs.replace(items, active=active, failures=failures)
    return msgspec.structs.replace(_terse(step), items=items)


def _terse(part: Part) -> Part:
    attempts = tuple(map(_terse_attempt, part.attempts[-1:]))
    return msgspec.structs.replace(part, message=_first(part.message), attempts=attempts)


def _terse_attempt(attempt: Attempt) -> Attempt:
    return msgspec.structs.replace(attempt, message=_first(attempt.message))


def _first(text: str | None) -> str | None:
    return text and text.encode()[:SHORT].decode(errors="ignore")


def _without_output(step: StepStatus) -> StepStatus:
    """A step that loses what it handed over says so: nobody may take it for a step without an output."""
    items = step.items
    if not step.output and not (items and items.outputs):
        return step
    items = msgspec.structs.replace(items, outputs=None) if items else None
    return msgspec.structs.replace(step, output=None, items=items, reason=FULL, message=None)
