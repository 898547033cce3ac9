"""The command line of the bench: ``python -m tests.bench`` from the repository's root."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adze import __version__
from adze.shell.cluster import ApiError, Cluster
from tests.cluster import provider
from tests.cluster.progress import CommandError

from . import admission, client, lateness, scenarios, table, wide
from .measure import Bench, Measure
from .observer import Observer
from .process import Operator
from .progress import say
from .scenarios import Scenario
from .writes import Log

NOTES: dict[str, Callable[[Cluster, str, Operator], Awaitable[object]]] = {
    "schedules": lateness.measure,
    "items": wide.measure,
}
"""What has a line of its own below the table."""
ADMISSION = "admission"


@dataclass
class Report:
    """All that was measured. `results` is in the order of measurement."""

    results: list[tuple[Scenario, table.Figures]] = field(default_factory=list)
    samples: dict[str, dict[str, list[Measure]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> int:
    """Bench; 0 even if figures miss their targets, 1 if nothing could be measured."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_bench(options))
    except asyncio.CancelledError:
        say("stopped")
        return 130
    except (client.Refused, ApiError, CommandError, RuntimeError, OSError) as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure what adze costs.")
    known = [*(scenario.name for scenario in scenarios.ALL), *NOTES, ADMISSION]
    parser.add_argument("--only", nargs="+", choices=known, metavar="NAME", help=f"some of: {', '.join(known)}")
    parser.add_argument("--repeat", type=int, metavar="N", help="passes over each scenario [3 of chain, else 1]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and raw samples there too")
    parser.add_argument(
        "--limit", type=float, default=400, metavar="S", help="begin no further pass after these seconds [400]"
    )
    return parser


async def _bench(options: argparse.Namespace) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    chosen = provider.choose()
    await asyncio.to_thread(chosen.up)
    log: Path | None = getattr(chosen, "audit_log", None)
    say(f"{chosen.kind} cluster, load {_load()}")
    if log is None:
        say("this cluster's audit log can't be read: no API writes, and reactions by the watch's clock")
    report = Report()
    try:
        async with client.place(chosen.kubeconfig) as place:
            await _with_operator(place, Log(log, place.namespace), options, report)
    finally:
        if report.notes:
            _show(report, options.json)


async def _with_operator(place: client.Place, log: Log, options: argparse.Namespace, report: Report) -> None:
    cluster, namespace, kubeconfig = place
    operator = Operator(kubeconfig, namespace)
    observer = Observer(cluster, namespace)
    try:
        await operator.ready()
        say(f"operator {__version__} is ready, pid {operator.pid}, {operator.rss()[0]:.0f} MiB")
        await observer.start()
        bench = Bench(cluster, observer, namespace, log)
        await _measure(bench, operator, options, report)
        for name, note in NOTES.items():
            if not options.only or name in options.only:
                report.notes.append(str(await note(cluster, namespace, operator)))
        if not options.only or ADMISSION in options.only:
            report.notes += await admission.measure(cluster, namespace, operator, log)
    except Exception:
        say(f"the operator's output ends with:\n{operator.log() or '(nothing)'}")
        raise
    finally:
        await observer.stop()
        operator.stop()
        if report.results and (output := operator.log()):
            say(f"the operator printed:\n{output}")


async def _measure(bench: Bench, operator: Operator, options: argparse.Namespace, report: Report) -> None:
    start = time.monotonic()
    say("warm-up")
    await bench.adze(scenarios.WARM_UP, operator)
    await bench.bare(scenarios.WARM_UP)
    await bench.clear()
    report.notes.append(f"before: RSS {operator.rss()[0]:.0f} MiB, idle CPU {await _idle(operator):.1f} ms/s")
    for scenario in scenarios.ALL:
        if options.only and scenario.name not in options.only:
            continue
        samples: dict[str, list[Measure]] = {"adze": [], "bare": []}
        for number in range(options.repeat or scenario.repeats):
            if time.monotonic() - start > options.limit:
                report.notes.append(
                    f"{scenario.name}: {number} passes only, the limit of {options.limit:.0f} s is over"
                )
                break
            await _pass(bench, operator, scenario, number, samples)
        if samples["adze"]:
            audited = bool(samples["adze"][0].purposes)
            report.results.append(
                (scenario, table.figures(scenario, samples["adze"], samples["bare"], audited=audited))
            )
            report.samples[scenario.name] = samples
    now, peak = operator.rss()
    report.notes.append(
        f"after: RSS {now:.0f} MiB, at its highest {peak:.0f}, idle CPU {await _idle(operator):.1f} ms/s"
    )


async def _pass(
    bench: Bench, operator: Operator, scenario: Scenario, number: int, samples: dict[str, list[Measure]]
) -> None:
    """Once by adze and once bare; the order changes from pass to pass, as the machine drifts."""
    kinds = ["adze"] if scenario.skipped else ["adze", "bare"][:: 1 if number % 2 == 0 else -1]
    for kind in kinds:
        measure = await (bench.adze(scenario, operator) if kind == "adze" else bench.bare(scenario))
        samples[kind].append(measure)
        say(f"{scenario.name} {number + 1}, {kind}: {measure.seconds:.1f} s, load {measure.load:.1f}")
        if not scenario.skipped:
            await bench.clear()


async def _idle(operator: Operator, seconds: float = 3.0) -> float:
    before = operator.cpu()
    await asyncio.sleep(seconds)
    return (operator.cpu() - before) / seconds * 1000


def _load() -> str:
    return "/".join(f"{one:.1f}" for one in os.getloadavg())


def _show(report: Report, file: Path | None) -> None:
    machine = f"{os.cpu_count()} CPUs, Python {platform.python_version()}, adze {__version__}, load {_load()}"
    print(f"{machine}\n")
    if report.results:
        print(f"{table.render(report.results)}\n")
        print(
            f"{table.MISS} misses its target; writes to CPU are per step, p50 and p99 from a step's end to the next Pod"
        )
    print("\n".join(report.notes))
    if file:
        content: dict[str, Any] = {
            "machine": machine,
            "notes": report.notes,
            "figures": {scenario.name: some for scenario, some in report.results},
            "samples": {
                name: {kind: [asdict(one) for one in measures] for kind, measures in kinds.items()}
                for name, kinds in report.samples.items()
            },
        }
        file.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
