"""Prometheus metrics. Labels come from closed sets, never from names of runs."""

from prometheus_client import Counter, Histogram

from adze.core.model import Run

passes = Counter("adze_passes_total", "Passes over runs")
failed_passes = Counter("adze_failed_passes_total", "Passes over runs that raised")
api_calls = Counter("adze_api_calls_total", "Calls to the API server", ["method", "code"])
runs_finished = Counter("adze_runs_finished_total", "Runs that ended", ["phase"])
attempts_finished = Counter("adze_attempts_finished_total", "Attempts that ended", ["result"])
run_seconds = Histogram(
    "adze_run_seconds", "From a run's start to its end", buckets=(1, 3, 10, 30, 100, 300, 1000, 3600, 14400, 86400)
)


def count(before: Run, after: Run) -> None:
    """Count what a status write has ended."""
    if after.status.phase.final and not before.status.phase.final:
        runs_finished.labels(after.status.phase.value).inc()
        if after.status.start_time and after.status.finish_time:
            run_seconds.observe((after.status.finish_time - after.status.start_time).total_seconds())
    old = {(step.name, one.number) for step in before.status.steps for one in step.attempts if one.finish_time}
    for step in after.status.steps:
        for attempt in step.attempts:
            if attempt.finish_time and (step.name, attempt.number) not in old:
                result = "succeeded" if attempt.reason is None else "lost" if attempt.infrastructure else "failed"
                attempts_finished.labels(result).inc()
