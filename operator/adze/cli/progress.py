"""A run as it goes: a table that is drawn anew on a terminal, else a line for each change."""

import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from adze.core import duration
from adze.core.model import Phase, Run, StepStatus
from adze.core.pods import Pod

COLOURS = {
    Phase.SUCCEEDED: "green",
    Phase.FAILED: "red",
    Phase.CANCELLED: "yellow",
    Phase.RUNNING: "cyan",
    Phase.SKIPPED: "bright_black",
    Phase.PENDING: "bright_black",
}
MARKS = {
    Phase.SUCCEEDED: "✔",
    Phase.FAILED: "✘",
    Phase.CANCELLED: "■",
    Phase.RUNNING: "▶",
    Phase.SKIPPED: "–",
    Phase.PENDING: "·",
}
REDRAW = 0.5
"""Seconds after which a table is drawn anew for the passing of time alone."""
_CONTROL = re.compile(r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]")


def tell(text: str, *, colour: bool | None = None) -> None:
    """To stderr, as long as somebody listens: a run doesn't end because nobody looks any more."""
    try:
        click.echo(text, err=True, nl=False, color=colour)
    except OSError:
        # What is buffered would be tried again at the end, and spoil the exit code.
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)


class Lines:
    """A line on stderr for each change, and the steps' own lines behind their names."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def change(self, run: Run, pods: Iterable[Pod]) -> None:
        """The run or one of its Pods has changed."""
        by_name = {pod.name: pod for pod in pods}
        width = max((len(step.name) for step in run.status.steps), default=0)
        for step in run.status.steps:
            phase, text = describe(step, by_name)
            if text != "pending" and text != self._seen.get(step.name):
                self._seen[step.name] = text
                now = datetime.now(UTC).astimezone()
                self.print(f"{now:%H:%M:%S} {step.name:<{width}}  {click.style(text, COLOURS[phase])}")

    def line(self, pod: Pod, text: str) -> None:
        """A Pod has printed a line."""
        self.print(f"{click.style(label(pod), dim=True)} {_CONTROL.sub('', text)}")

    def print(self, text: str) -> None:
        """Show a line."""
        tell(f"{text}\n")

    def tick(self) -> None:
        """Time has passed."""


class Silent(Lines):
    """Nothing at all."""

    def print(self, text: str) -> None:
        """Keep it."""


class Table(Lines):
    """The same lines above a table of all steps, which is drawn over itself."""

    def __init__(self) -> None:
        super().__init__()
        self._height = 0
        self._drawn = 0.0
        self._run: Run | None = None
        self._pods: dict[str, Pod] = {}

    def change(self, run: Run, pods: Iterable[Pod]) -> None:
        """Draw the table."""
        self._run = run
        self._pods = {pod.name: pod for pod in pods}
        self._erase()
        self._draw()

    def print(self, text: str) -> None:
        """Show a line above the table."""
        self._erase()
        super().print(text)
        self._draw()

    def tick(self) -> None:
        """Draw anew for the seconds that have passed."""
        if time.monotonic() - self._drawn > REDRAW:
            self._erase()
            self._draw()

    def _erase(self) -> None:
        if self._height:
            tell(f"\x1b[{self._height}F\x1b[J", colour=True)
            self._height = 0

    def _draw(self) -> None:
        if self._run is None:
            return
        columns, height = shutil.get_terminal_size()
        steps = self._run.status.steps
        width = max((len(step.name) for step in steps), default=0)
        rows = [(step.name, *describe(step, self._pods)) for step in steps]
        if len(rows) > height - 2:
            # What is over and what hasn't begun is of less interest.
            going = [row for row in rows if row[1] is Phase.RUNNING or row[1] is Phase.FAILED]
            rows = (going or rows)[: height - 3]
        for name, phase, text in rows:
            shown = f"{name:<{width}}  {text}"[: columns - 3]
            tell(click.style(f"{MARKS[phase]} {shown}", COLOURS[phase]) + "\n")
        self._height = len(rows)
        self._drawn = time.monotonic()


def label(pod: Pod) -> str:
    """Whose line it is: the step, and the attempt where it isn't the first."""
    labels = pod.metadata.labels
    step, attempt = labels.get("adze.dev/step", ""), labels.get("adze.dev/attempt", "1")
    return f"{step}#{attempt} |" if attempt != "1" else f"{step} |"


def describe(step: StepStatus, pods: Mapping[str, Pod]) -> tuple[Phase, str]:
    """A step's phase and a line about it, from the status and from what its Pod tells already."""
    attempt = step.open_attempt
    pod = pods.get(attempt.pod) if attempt else None
    why = ": ".join(text for text in (step.reason, step.message) if text)
    if attempt and pod and (pod.main.running or pod.ended):
        return Phase.RUNNING, "running" + (f", attempt {attempt.number}" if attempt.number > 1 else "")
    if step.phase is Phase.SUCCEEDED:
        return step.phase, f"Succeeded{_took(step)}"
    if step.phase.final:
        return step.phase, f"{step.phase.value}{f': {why}' if why else ''}"
    if step.retry_at:
        return Phase.PENDING, f"waits until {step.retry_at.astimezone():%H:%M:%S}: {step.message or step.reason}"
    if attempt or step.reason in (None, "Starting"):
        return Phase.PENDING, "pending"
    return Phase.PENDING, why


def _took(step: StepStatus) -> str:
    last = step.attempts[-1] if step.attempts else None
    if last is None or last.start_time is None or last.finish_time is None:
        return ""
    tries = f", {last.number} attempts" if last.number > 1 else ""
    return f" in {duration.show(last.finish_time - last.start_time)}{tries}"


def summary(run: Run) -> str:
    """How a run stands, in one line."""
    status = run.status
    if status.phase is Phase.SUCCEEDED:
        took = (status.finish_time - status.start_time) if status.finish_time and status.start_time else None
        return f"{run.metadata.name} Succeeded: {status.progress} steps{f' in {duration.show(took)}' if took else ''}"
    why = ": ".join(text for text in (status.reason, status.message) if text)
    return f"{run.metadata.name} {status.phase.value}{f': {why}' if why else ''}"
