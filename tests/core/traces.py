"""Runs as a version of adze left them, at every quiet moment, for later versions to go on with (F44).

`python -m tests.core.traces` writes those of the present version to `golden/traces-VERSION.jsonl`. It refuses to write
over a file: after a release, what is in it lies in somebody's cluster. Before, delete it first.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from adze import __version__
from adze.core import names
from adze.core.model import CronStatus, Run, TickRun, Workflow, WorkflowSpec
from adze.core.pods import Pod
from adze.core.slots import Slot
from tests.builders import NOW, UID, run, seconds, step, stored, workflow
from tests.core.keeper import Keeper

GOLDEN = Path(__file__).parent / "golden"


class Snapshot(msgspec.Struct, omit_defaults=True):
    """What the API server held: a run with its Pods, pages and slots, and its Workflow."""

    what: str
    now: datetime
    run: Run
    pods: dict[str, Pod]
    pages: dict[str, Any] = {}
    slots: tuple[Slot, ...] = ()
    workflow: Workflow | None = None


DIAMOND = workflow(
    step("a"),
    step("b", parents=["a"], when="steps.a.output.n == 1", retries=2),
    step("c", parents=["a"], when="steps.a.output.n == 2"),
    step("d", parents=["b", "c"], env=[{"name": "N", "value": "${steps.a.output.n}"}]),
    output={"n": "${steps.a.output.n}"},
)
GUARDED = workflow(
    step("a", timeout="10m", start_timeout="1m"),
    step("b", parents=["a"]),
    on_failure=step("alarm"),
    finally_=[step("clean"), step("report", script={"source": "print(1)"})],
    timeout="1h",
    retention={"ttl": "1h"},
)


def _diamond(drive: Keeper) -> Iterator[str]:
    yield "claimed"
    drive.start("a")
    yield "starting"
    drive.pass_time(5)
    yield "running"
    drive.succeed("a", output={"n": 1})
    yield "one skipped, one claimed"
    drive.start("b").fail("b")
    yield "backoff"
    drive.until_wake()
    yield "second attempt"
    drive.succeed("b")
    yield "last step"
    drive.succeed("d")
    yield "succeeded"


def _guarded(drive: Keeper) -> Iterator[str]:
    drive.fail("a", exit_code=64, message="usage")
    yield "onFailure"
    drive.succeed("alarm")
    yield "finally"
    drive.succeed("clean")
    yield "half of finally"
    drive.succeed("report")
    yield "failed"


def _cancelled(drive: Keeper) -> Iterator[str]:
    drive.node_answers = False
    drive.start("a").pass_time(5)
    drive.ask(cancel=True)
    yield "its Pod terminates"


def _suspended(drive: Keeper) -> Iterator[str]:
    drive.ask(suspend=True)
    drive.succeed("a", output={"n": 1})
    yield "suspended"


FAN = workflow(
    step("fetch", for_each="input.urls", retries=1, max_parallel=2, failure_policy="Continue", args=["${item}"]),
    step("join", parents=["fetch"], env=[{"name": "ALL", "value": "${steps.fetch.output}"}]),
)
KEYED = workflow(
    step("a", retries=1, concurrency=[{"key": "api", "maxRuns": 2}]),
    step("b", parents=["a"], for_each="[1, 2]", concurrency=[{"key": "item-${item}", "maxRuns": 1}]),
    concurrency=[{"key": "${input.user}", "maxRuns": 1}, {"maxRuns": 5, "scope": "Namespace"}],
)
PLAIN = workflow(step("a"))


def _fan(drive: Keeper) -> Iterator[str]:
    yield "two items claimed"
    drive.succeed("fetch[1]", output={"n": 1})
    yield "an item folded, the third claimed"
    drive.fail("fetch[0]")
    yield "an item in backoff"
    drive.succeed("fetch[2]").until_wake()
    yield "its second attempt"
    drive.fail("fetch[0]", exit_code=3)
    yield "a failed item left behind"
    drive.succeed("fetch[3]")
    yield "the fan-in"


def _keyed(drive: Keeper) -> Iterator[str]:
    yield "queued"
    drive.admit()
    yield "admitted, a step claimed"
    drive.fail("a")
    yield "backoff, the step's slot given back"
    drive.admits = False
    drive.until_wake()
    yield "the second attempt queues"
    drive.admit().succeed("a")
    yield "items with slots"
    drive.succeed("b[0]")
    yield "one of them left"


def _waiting(drive: Keeper) -> Iterator[str]:
    yield "not yet"
    drive.until_wake()
    yield "begun"


def _begun(drive: Keeper) -> Iterator[str]:
    yield "begun"


def _tick() -> Keeper:
    """The run of a tick, recorded as such."""
    schedule = "0 12 * * *"
    name = names.tick_run("nightly", schedule, "UTC", NOW)
    marks = {names.SCHEDULE: schedule, names.TIME_ZONE: "UTC", names.SCHEDULED_TIME: names.moment(NOW)}
    status = CronStatus(
        schedule=schedule, time_zone="UTC", decided_time=NOW, runs=(TickRun(name=name, uid=UID, time=NOW),)
    )
    return _of_workflow("nightly", name, marks, (status,), trigger="cron")


def _event() -> Keeper:
    """The run of an event."""
    name = names.event_run("welcome", "/shop", "4711")
    marks = {names.EVENT_SOURCE: "/shop", names.EVENT_ID: "4711"}
    return _of_workflow("welcome", name, marks, trigger="event", event="user-created")


def _of_workflow(
    workflow: str, name: str, marks: dict[str, str], cron: tuple[CronStatus, ...] = (), **labels: str
) -> Keeper:
    new = run(workflow, name=name)
    metadata = {
        **msgspec.to_builtins(new.metadata),
        "annotations": marks,
        "labels": {f"{names.GROUP}/{label}": value for label, value in labels.items()},
    }
    known = stored(PLAIN, workflow)
    known = msgspec.structs.replace(known, status=msgspec.structs.replace(known.status, cron=cron))
    return Keeper(msgspec.convert({**msgspec.to_builtins(new), "metadata": metadata}, Run), known)


def _with_key() -> Keeper:
    """A run that has taken its idempotency key and waits for its moment."""
    new = run(PLAIN, run_at=NOW + seconds(60), idempotency_key="order-7")
    return Keeper(msgspec.structs.replace(new, status=msgspec.structs.replace(new.status, key_time=NOW)))


Scenario = tuple[Callable[[Keeper], Iterator[str]], Callable[[], Keeper]]


def _of(spec: WorkflowSpec, **fields: Any) -> Callable[[], Keeper]:
    return lambda: Keeper(run(spec, **fields))


SCENARIOS: dict[str, Scenario] = {
    "diamond": (_diamond, _of(DIAMOND)),
    "guarded": (_guarded, _of(GUARDED)),
    "cancelled": (_cancelled, _of(GUARDED)),
    "suspended": (_suspended, _of(DIAMOND)),
    "fan": (_fan, _of(FAN, input={"urls": ["u", "v", "w", "x"]})),
    "keyed": (_keyed, lambda: Keeper(run(KEYED, input={"user": "ada"}), admits=False)),
    "scheduled": (_waiting, _with_key),
    "tick": (_begun, _tick),
    "event": (_begun, _event),
}


def record() -> Iterator[Snapshot]:
    """The snapshots of all scenarios."""
    for name, (scenario, start) in SCENARIOS.items():
        drive = start()
        drive.until_quiet()
        for moment in scenario(drive):
            what = f"{name}: {moment}"
            objects = (dict(drive.pods), dict(drive.pages), tuple(drive.slots), drive.workflow)
            yield Snapshot(what, drive.now, drive.run, *objects)


def read(file: Path) -> Iterator[Snapshot]:
    """The snapshots in a file."""
    for line in file.read_bytes().splitlines():
        yield msgspec.json.decode(line, type=Snapshot)


if __name__ == "__main__":
    target = GOLDEN / f"traces-{__version__}.jsonl"
    with target.open("xb") as out:
        for snapshot in record():
            out.write(msgspec.json.encode(snapshot) + b"\n")
    print(target)
