"""Runs as a version of adze left them, at every quiet moment, for later versions to go on with (F44).

`python -m tests.core.traces` writes those of the present version to `golden/traces-VERSION.jsonl`. It refuses to write
over a file: after a release, what is in it lies in somebody's cluster. Before, delete it first.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from adze import __version__
from adze.core.model import Run, WorkflowSpec
from adze.core.pods import Pod
from tests.builders import Drive, step, workflow

GOLDEN = Path(__file__).parent / "golden"


class Snapshot(msgspec.Struct):
    """What the API server held: a run and its Pods."""

    what: str
    now: datetime
    run: Run
    pods: dict[str, Pod]


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


def _diamond(drive: Drive) -> Iterator[str]:
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


def _guarded(drive: Drive) -> Iterator[str]:
    drive.fail("a", exit_code=64, message="usage")
    yield "onFailure"
    drive.succeed("alarm")
    yield "finally"
    drive.succeed("clean")
    yield "half of finally"
    drive.succeed("report")
    yield "failed"


def _cancelled(drive: Drive) -> Iterator[str]:
    drive.node_answers = False
    drive.start("a").pass_time(5)
    drive.ask(cancel=True)
    yield "its Pod terminates"


def _suspended(drive: Drive) -> Iterator[str]:
    drive.ask(suspend=True)
    drive.succeed("a", output={"n": 1})
    yield "suspended"


SCENARIOS: dict[str, tuple[Callable[[Drive], Iterator[str]], WorkflowSpec]] = {
    "diamond": (_diamond, DIAMOND),
    "guarded": (_guarded, GUARDED),
    "cancelled": (_cancelled, GUARDED),
    "suspended": (_suspended, DIAMOND),
}


def record() -> Iterator[Snapshot]:
    """The snapshots of all scenarios."""
    for name, (scenario, spec) in SCENARIOS.items():
        drive = Drive(spec).until_quiet()
        for moment in scenario(drive):
            yield Snapshot(f"{name}: {moment}", drive.now, drive.run, dict(drive.pods))


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
