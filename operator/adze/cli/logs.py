"""`adze logs`: what the Pods of a run have printed, in the order of steps and attempts."""

import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import click

from adze.cli import exits, tree
from adze.cli.cluster import Cluster, Object, Query, on_cluster
from adze.cli.complete import runs, steps
from adze.cli.lines import Lines, follow_all, owner, started
from adze.cli.resources import PODS, RUNS
from adze.core import names


@click.command()
@click.argument("run", shell_complete=runs)
@click.argument("step", required=False, shell_complete=steps)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended, with Pods that come later.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Only this attempt of each step.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of each Pod.")
@click.option("--no-prefix", is_flag=True, help="Lines as they were printed, without step and attempt in front.")
@on_cluster
def logs(
    cluster: Cluster, run: str, step: str | None, follow: bool, attempt: int | None, tail: int | None, no_prefix: bool
) -> None:
    """Print the logs of a run, or of one of its steps.

    Each line has its step and attempt in front. The Pods come in the order of steps and attempts; with --follow, lines
    come as they are printed. A run's Pods, and with them its logs, stay until the run is deleted.

    \b
    adze logs order-1001
    adze logs order-1001 charge --attempt 1
    adze logs order-1001 'fetch[42]'
    adze logs order-1001 -f
    """
    wanted = Wanted(cluster.get(RUNS, run), step, attempt)
    lines = Lines(wanted.order, prefix=not no_prefix)
    pods = wanted.sorted(cluster.items(PODS, wanted.query))
    lost = list(wanted.gone(pods))
    for step_name, number in lost:
        lines.note(step_name, number, "has no Pod any more, so its log is gone")
    for step_name, number, where in wanted.elsewhere():
        lines.note(step_name, number, where)
    if follow and not wanted.over(wanted.run):
        follow_all(cluster, wanted, pods, lines, tail)
    elif pods:
        print_all(cluster, pods, lines, tail)
    elif not lost:
        why = tree.one_line(_phase(wanted.run), tree.why_run(wanted.run, datetime.now(UTC)))
        click.echo(f"{run} has no Pod to read from: {why}", err=True)
    if lines.lost:
        sys.exit(exits.UNREACHABLE)


class Wanted:
    """Which Pods of a run are asked for, and their order."""

    def __init__(self, run: Object, step: str | None, attempt: int | None) -> None:
        self.run = run
        self._attempt = attempt
        status = run.get("status", {})
        written = tree.Definitions(status.get("workflowSpec") or run["spec"].get("workflowSpec") or {}).names()
        begun = [known["name"] for known in status.get("steps", ())]
        self.order = list(dict.fromkeys([*written, *begun]))
        item = re.fullmatch(r"(.+)\[(\d+)\]", step or "")
        self._step: str | None = item[1] if item else step
        self._item = item and item[2]
        if self._step and self._step not in self.order:
            near = exits.did_you_mean(self._step, self.order)
            raise exits.NotFound(f"run {run['metadata']['name']!r} has no step {step!r}{near}")
        fans = any(known.get("items") for known in self._steps(run))
        if attempt and not fans and tree.ended(run) and attempt > max(map(_newest, self._steps(run)), default=0):
            raise exits.NotFound(f"there is no attempt {attempt} of {step or 'any step'}")

    @property
    def query(self) -> Query:
        """Selects the Pods on the server."""
        labels = {
            names.RUN_UID: self.run["metadata"]["uid"],
            names.STEP: self._step,
            names.ITEM: self._item,
            names.ATTEMPT: self._attempt,
        }
        return {"labelSelector": ",".join(f"{label}={value}" for label, value in labels.items() if value is not None)}

    def sorted(self, pods: Iterable[Object]) -> list[Object]:
        """Pods in the order of steps, items and attempts."""
        places = {name: place for place, name in enumerate(self.order)}

        def key(pod: Object) -> tuple[int, int, int, str]:
            part, attempt = owner(pod)
            place = places.get(names.step_of(part), len(places))
            return place, names.index(part) or 0, attempt, pod["metadata"]["name"]

        return sorted(pods, key=key)

    def gone(self, pods: Iterable[Object]) -> Iterator[tuple[str, int]]:
        """Step and number of the attempts that have had a container but have no Pod any more."""
        there = {pod["metadata"]["name"] for pod in pods}
        for step in self._steps(self.run):
            for attempt in step.get("attempts", ()):
                asked = self._attempt in (None, attempt["number"])
                pod = attempt.get("pod")
                if asked and pod and attempt.get("startTime") and pod not in there:
                    yield step["name"], attempt["number"]

    def elsewhere(self) -> Iterator[tuple[str, int, str]]:
        """Step, number and whereabouts of the attempts that are no Pods of the run."""
        for step in self._steps(self.run):
            for attempt in step.get("attempts", ()):
                if job := attempt.get("job"):
                    yield step["name"], attempt["number"], f"is a Job: kubectl logs -l job-name={job} --prefix"
                elif child := attempt.get("run"):
                    yield step["name"], attempt["number"], f"is a run: adze logs {child}"

    def over(self, run: Object) -> bool:
        """Whether no further Pod of what is asked for can come."""
        if tree.ended(run):
            return True
        steps = list(self._steps(run))
        if self._step is None or not steps:
            return False
        if self._attempt is not None and any(_closed(steps[0], self._attempt)):
            return True
        return steps[0].get("phase") in tree.FINAL

    def _steps(self, run: Object) -> Iterator[Object]:
        return (step for step in run.get("status", {}).get("steps", ()) if self._step in (None, step["name"]))


def _newest(step: Object) -> int:
    attempts = step.get("attempts", ())
    return attempts[-1]["number"] if attempts else 0


def _closed(step: Object, number: int) -> Iterator[bool]:
    """Whether the attempt of that number has ended, as far as the step's attempts tell."""
    for attempt in step.get("attempts", ()):
        yield attempt["number"] > number or (attempt["number"] == number and bool(attempt.get("finishTime")))


def print_all(cluster: Cluster, pods: list[Object], lines: Lines, tail: int | None) -> None:
    """What there is now, Pod after Pod."""
    for pod in pods:
        if not started(pod):
            lines.note(*owner(pod), "has not started")
            continue
        try:
            for text in cluster.log(pod["metadata"]["name"], {"tailLines": tail}):
                lines.print(pod, text)
        except (exits.NotFound, exits.BadInput, exits.Unreachable) as error:
            lines.lose(pod, error)


def _phase(run: Object) -> str:
    phase: str = run.get("status", {}).get("phase", "Pending")
    return phase
