"""A run as rows of a tree: its steps, their attempts, how long they took and why they wait. Pure: `now` is given.

Works on plain objects, so that an operator newer than this command is still shown.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from adze.cli.table import Cell, header, phase
from adze.core import duration

Object = Mapping[str, Any]
TITLES = header("STEP", "PHASE", "ATTEMPTS", "TIME", "WHY")
PATIENCE = timedelta(seconds=10)
"""How long an operator may take for its first look at a run."""
ITEMS = 10
"""Items of a step that have rows of their own."""
FINAL = frozenset({"Succeeded", "Failed", "Cancelled", "Skipped"})


def moment(text: str | None) -> datetime | None:
    """A time of the API, or None."""
    return datetime.fromisoformat(text) if text else None


def took(start: str | None, finish: str | None, now: datetime) -> str:
    """How long from start to finish, or to now; empty before the start."""
    begun = moment(start)
    return short((moment(finish) or now) - begun) if begun else ""


def short(span: timedelta) -> str:
    """A duration in its two biggest units: `2d4h`, `1h30m`, `12s`."""
    seconds = max(round(span.total_seconds()), 0)
    if seconds >= 86400:
        return f"{seconds // 86400}d{seconds % 86400 // 3600}h"
    return duration.show(timedelta(seconds=seconds if seconds < 3600 else seconds - seconds % 60))


def ended(run: Object) -> bool:
    """Whether the run has reached its end."""
    return run.get("status", {}).get("phase") in FINAL


def one_line(*parts: str | None) -> str:
    """The parts that there are, joined by colons, on one line."""
    return " ".join(": ".join(part for part in parts if part).split())


def rows(run: Object, now: datetime, brief: bool = False) -> list[tuple[Cell, ...]]:
    """The titles, the run, then each step that it has so far, with the attempts that tell something.

    `brief` leaves out the steps that have nothing to tell now: those that are over and didn't fail, and those whose
    turn hasn't come.
    """
    status = run.get("status", {})
    top = (
        Cell(run["metadata"]["name"]),
        phase(status.get("phase", "Pending")),
        Cell(status.get("progress", "")),
        Cell(took(status.get("startTime"), status.get("finishTime"), now)),
        Cell(why_run(run, now)),
    )
    steps = [step for step in status.get("steps", ()) if not brief or _live(step)]
    return [TITLES, top, *_steps(status, steps, now)]


def _live(step: Object) -> bool:
    step_phase = step.get("phase", "Pending")
    return step_phase == "Failed" or (step_phase not in FINAL and bool(step.get("attempts") or step.get("reason")))


def why_run(run: Object, now: datetime) -> str:
    """Why the run stands where it does; empty if there is nothing to say."""
    status = run.get("status", {})
    created = moment(run["metadata"].get("creationTimestamp")) or now
    if not status.get("phase"):
        return "the operator does not look at it: does it serve this namespace?" if now - created > PATIENCE else ""
    asked = [word for field, word in (("cancel", "cancel"), ("suspend", "suspend")) if run["spec"].get(field)]
    why = one_line(status.get("reason"), status.get("message"))
    return why or (f"asked to {' and '.join(asked)}" if asked and not ended(run) else "")


def _steps(status: Object, steps: list[Object], now: datetime) -> Iterator[tuple[Cell, ...]]:
    definitions = Definitions(status.get("workflowSpec") or {})
    phases = {step["name"]: step.get("phase", "Pending") for step in status.get("steps", ())}
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        name, attempts = step["name"], step.get("attempts", ())
        yield (
            Cell(f"{'└─' if last else '├─'} {definitions.stage(name)}{name}"),
            phase(phases[name]),
            Cell(_count(step, definitions.allowed(name))),
            Cell(took(attempts[0].get("startTime"), _finish(step), now) if attempts else ""),
            Cell(why_step(step, now) or _parents(step, definitions.parents(name), phases) or _carrier(attempts)),
        )
        margin = "   " if last else "│  "
        yield from _attempts(attempts, margin, now)
        yield from _items(step, margin, definitions.allowed(name), now)


def _count(step: Object, allowed: int) -> str:
    """`2/4` where retries are allowed; lost attempts are counted apart, as they use up none."""
    attempts = step.get("attempts", ())
    if not attempts:
        return ""
    number, lost = attempts[-1]["number"], step.get("lost", 0)
    counted = f"{number - lost}/{allowed}" if allowed > 1 else f"{number - lost}"
    return f"{counted} +{lost} lost" if lost else counted


def _finish(step: Object) -> str | None:
    """When the step ended, if it has."""
    return step["attempts"][-1].get("finishTime") if step.get("phase") in FINAL else None


def why_step(step: Object, now: datetime) -> str:
    """Why the step stands where it does, with the time of its next attempt; empty if there is nothing to say."""
    if again := moment(step.get("retryAt")):
        wait = f"again in {short(again - now)}" if again > now else "again now"
        return one_line(step.get("reason"), wait, step.get("message"))
    return one_line(step.get("reason"), step.get("message"))


def _parents(step: Object, parents: tuple[str, ...], phases: Mapping[str, str]) -> str:
    """The parents that a step still waits for."""
    waits = [parent for parent in parents if phases.get(parent) not in FINAL]
    return f"after {', '.join(waits)}" if waits and step.get("phase", "Pending") == "Pending" else ""


def _carrier(attempts: tuple[Object, ...]) -> str:
    """The Job or child run that the step is, if it's no Pod."""
    last: Object = attempts[-1] if attempts else {}
    return next((f"{kind} {last[field]}" for field, kind in (("job", "Job"), ("run", "run")) if last.get(field)), "")


def _items(step: Object, margin: str, allowed: int, now: datetime) -> Iterator[tuple[Cell, ...]]:
    """A row for each of the first items of a forEach step that have failed or are in flight; the others are counted."""
    fan = step.get("items") or {}
    told = [*fan.get("failures", ()), *fan.get("active", ())]
    for item in told[:ITEMS]:
        attempts = item.get("attempts", ())
        yield (
            Cell(f"{margin}{'└─' if item is told[-1] else '├─'} {item['name']}"),
            phase(item.get("phase", "Pending")),
            Cell(_count(item, allowed)),
            Cell(took(attempts[0].get("startTime"), _finish(item), now) if attempts else ""),
            Cell(why_step(item, now) or _carrier(attempts)),
        )
    if len(told) > ITEMS:
        yield Cell(f"{margin}└─ {len(told) - ITEMS} more"), Cell(""), Cell(""), Cell(""), Cell("")


def _attempts(attempts: tuple[Object, ...], margin: str, now: datetime) -> Iterator[tuple[Cell, ...]]:
    """A row for each attempt, unless the only one says nothing that its step doesn't."""
    if len(attempts) == 1 and not attempts[0].get("infrastructure"):
        return
    for attempt in attempts:
        branch = "└─" if attempt is attempts[-1] else "├─"
        yield (
            Cell(f"{margin}{branch} attempt {attempt['number']}"),
            phase(attempt_phase(attempt)),
            Cell(""),
            Cell(took(attempt.get("startTime"), attempt.get("finishTime"), now)),
            Cell(one_line(attempt.get("reason"), attempt.get("message"))),
        )


def attempt_phase(attempt: Object) -> str:
    """One word for where an attempt stands; the API has none of its own."""
    if not attempt.get("finishTime"):
        return "Running" if attempt.get("startTime") else "Pending"
    if attempt.get("infrastructure"):
        return "Lost"
    return "Failed" if attempt.get("reason") else "Succeeded"


class Definitions:
    """What a workflow's spec says of its steps."""

    def __init__(self, spec: Object) -> None:
        self._defaults: Object = spec.get("defaults") or {}
        self._stages: dict[str, str] = {}
        self._steps: dict[str, Object] = {}
        handler = [spec["onFailure"]] if spec.get("onFailure") else []
        for stage, steps in (
            ("", spec.get("steps", ())),
            ("onFailure: ", handler),
            ("finally: ", spec.get("finally", ())),
        ):
            for step in steps or ():
                self._stages[step["name"]] = stage
                self._steps[step["name"]] = step

    def names(self) -> tuple[str, ...]:
        """The steps in order: the graph, then onFailure, then finally."""
        return tuple(self._steps)

    def step(self, name: str) -> Object:
        """The step as it is written."""
        return self._steps.get(name, {})

    def stage(self, name: str) -> str:
        """What to write before the name of a step outside the graph."""
        return self._stages.get(name, "")

    def parents(self, name: str) -> tuple[str, ...]:
        """Names of its parents."""
        return tuple(self.step(name).get("parents") or ())

    def allowed(self, name: str) -> int:
        """How many attempts it has, lost ones not counted."""
        retries: int = self.step(name).get("retries", self._defaults.get("retries")) or 0
        return retries + 1
