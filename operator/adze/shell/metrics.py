"""Prometheus metrics. Labels come from closed sets, never from names of runs."""

from datetime import datetime

from prometheus_client import Counter, Gauge, Histogram

from adze.core import intervals, names, origin
from adze.core.model import Run, RunStatus

passes = Counter("adze_passes_total", "Passes over runs")
failed_passes = Counter("adze_failed_passes_total", "Passes over runs that raised")
api_calls = Counter("adze_api_calls_total", "Calls to the API server", ["method", "code"])
runs_finished = Counter("adze_runs_finished_total", "Runs that ended", ["phase"])
attempts_finished = Counter("adze_attempts_finished_total", "Attempts that ended", ["result"])
events_processed = Counter("adze_events_processed_total", "WorkflowEvents whose runs were created", ["reason"])
clock_skew = Gauge("adze_clock_skew_seconds", "How far the clock here is ahead of the API server's, at least")
gateway_requests = Counter("adze_gateway_requests_total", "Requests to the gateway", ["endpoint", "code"])
output_requests = Counter("adze_output_requests_total", "Large outputs that steps sent", ["code"])
run_seconds = Histogram(
    "adze_run_seconds", "From a run's start to its end", buckets=(1, 3, 10, 30, 100, 300, 1000, 3600, 14400, 86400)
)
tick_lateness = Histogram(
    "adze_tick_lateness_seconds",
    "From a schedule's tick to the creation of its run",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10, 60, 3600),
)


def observe_tick(run: Run, now: datetime) -> None:
    """Note how late the run of a tick was created."""
    trigger = origin.of(run)
    if trigger.time:
        tick_lateness.observe((now - trigger.time).total_seconds())


def count(before: Run, after: Run) -> None:
    """Count what a status write has ended."""
    if after.status.phase.final and not before.status.phase.final:
        runs_finished.labels(after.status.phase.value).inc()
        if after.status.start_time and after.status.finish_time:
            run_seconds.observe((after.status.finish_time - after.status.start_time).total_seconds())
    old = {(part.name, one.number) for part in before.status.parts() for one in part.attempts if one.finish_time}
    for part in after.status.parts():
        for attempt in part.attempts:
            if attempt.finish_time and (part.name, attempt.number) not in old:
                result = "succeeded" if attempt.reason is None else "lost" if attempt.infrastructure else "failed"
                attempts_finished.labels(result).inc()
    _count_folded(before.status, after.status)


def _count_folded(before: RunStatus, after: RunStatus) -> None:
    """Items whose open attempt has ended and that have left the status for the intervals."""
    steps = {step.name: step.items for step in after.steps if step.items}
    left = {part.name for part in before.parts() if part.open_attempt} - {part.name for part in after.parts()}
    for name in left:
        items, index = steps.get(names.step_of(name)), names.index(name)
        if items and index is not None:
            attempts_finished.labels("succeeded" if intervals.holds(items.succeeded, index) else "failed").inc()
