"""What has changed from one state of a run to the next, as rows for a log. Pure: `now` is given."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from adze.cli import tree
from adze.cli.table import Cell, phase

Object = Mapping[str, Any]
Row = tuple[Cell, ...]
NOTHING: Object = {"phase": "Pending"}


def news(before: Object | None, after: Object, now: datetime) -> list[Row]:
    """A row for each step that has changed, then one for the run if it has: time, name, phase, and why."""
    old, new = (before or {}).get("status", {}), after.get("status", {})
    known = {step["name"]: step for step in old.get("steps", ())}
    changed = [step for step in new.get("steps", ()) if _facts(step) != _facts(known.get(step["name"], NOTHING))]
    rows = [(Cell(step["name"]), phase(step.get("phase", "Pending")), Cell(_of_step(step, now))) for step in changed]
    # A run's reason is that of a step, if one waits: said once is enough.
    told = old.get("phase") == new.get("phase") and (bool(rows) or old.get("reason") == new.get("reason"))
    if before is None or not told:
        rows.append((Cell(after["metadata"]["name"]), phase(new.get("phase", "Pending")), Cell(of_run(after, now))))
    stamp = Cell(f"{now:%Y-%m-%dT%H:%M:%SZ}")
    return [(stamp, *row) for row in rows]


def _facts(step: Object) -> tuple[object, ...]:
    """What makes a change worth a row."""
    attempts = step.get("attempts", ())
    return step.get("phase", "Pending"), step.get("reason"), attempts[-1]["number"] if attempts else 0


def _of_step(step: Object, now: datetime) -> str:
    attempts = step.get("attempts", ())
    if why := tree.why_step(step, now):
        return why
    if not attempts:
        return ""
    if step.get("phase") in tree.FINAL:
        span = tree.took(attempts[0].get("startTime"), attempts[-1].get("finishTime"), now)
        return f"in {span}" if span else ""
    node = attempts[-1].get("node")
    return f"attempt {attempts[-1]['number']}" + (f" on {node}" if node else "")


def of_run(run: Object, now: datetime) -> str:
    """How long a run took if it has ended, and why it stands where it does."""
    status = run.get("status", {})
    span = tree.took(status.get("startTime"), status.get("finishTime"), now)
    parts: Iterator[str] = filter(None, (f"in {span}" if span and tree.ended(run) else "", tree.why_run(run, now)))
    return ": ".join(parts)
