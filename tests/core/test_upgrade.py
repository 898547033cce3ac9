"""A run that an earlier version of adze left on its way is brought to its end by this one (F44)."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from adze.core.model import Attempt, Run
from tests.builders import failed
from tests.core.keeper import Keeper
from tests.core.traces import GOLDEN, Snapshot, read, record

FILES = sorted(GOLDEN.glob("traces-*.jsonl"))
LEFT = [(file, snapshot) for file in FILES for snapshot in read(file)]


def resumed(snapshot: Snapshot) -> Keeper:
    """The run where it was left, with its Pods."""
    drive = Keeper(snapshot.run, snapshot.workflow)
    drive.now = snapshot.now
    drive.pods, drive.pages, drive.slots = dict(snapshot.pods), dict(snapshot.pages), list(snapshot.slots)
    # A Pod that was created once and is claimed no more must not come again.
    drive.created = list(snapshot.pods)
    drive.until_quiet()
    return drive


def to_end(drive: Keeper) -> Keeper:
    """All goes well from here."""
    for _ in range(50):
        if drive.phase.final:
            return drive
        if dying := [pod for pod in drive.pods.values() if pod.deleting and not pod.ended]:
            drive.pods[dying[0].name] = failed(dying[0], 137, at=drive.now)
            drive.until_quiet()
        elif drive.run.spec.suspend:
            drive.ask(suspend=False)
        elif drive.live:
            drive.succeed(min(drive.live))
        else:
            drive.until_wake()
    raise AssertionError(f"the run never ends: {drive.run.status}")


def closed(run: Run) -> dict[str, Attempt]:
    return {a.pod: a for status in run.status.steps for a in status.attempts if a.finish_time}


@pytest.mark.parametrize(("file", "snapshot"), LEFT, ids=lambda item: item.what if isinstance(item, Snapshot) else "")
def test_a_run_goes_on_where_an_earlier_version_left_it(file: Path, snapshot: Snapshot) -> None:
    drive = to_end(resumed(snapshot))
    before, after = snapshot.run, drive.run
    assert {pod: closed(after)[pod] for pod in closed(before)} == closed(before), "a recorded outcome changed"
    ended = {status.name: status.phase for status in before.status.steps if status.phase.final}
    assert {name: drive.step(name).phase for name in ended} == ended, "an ended step changed"
    if before.status.phase.final:
        assert after == before, "a finished run changed"
    assert before.status.workflow_spec in (None, after.status.workflow_spec)
    assert drive.run.status.progress == f"{len(after.status.steps)}/{len(after.status.steps)}"


@pytest.mark.parametrize("snapshot", [snapshot for _, snapshot in LEFT if snapshot.slots], ids=lambda one: one.what)
def test_slots_that_an_earlier_version_took_are_the_ones_that_are_wanted(snapshot: Snapshot) -> None:
    """Another name for a key would let one more in, for as long as runs of both versions are there."""
    drive = resumed(snapshot)
    named = {(slot.metadata.name, slot.holder) for slot in snapshot.slots}
    holders = {slot.holder for slot in snapshot.slots}
    assert {(slot.metadata.name, slot.holder) for slot in drive.slots if slot.holder in holders} <= named


def missing(before: Any, after: Any, place: str = "") -> list[str]:
    """The places where something of `before` isn't in `after`."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = (missing(value, after.get(name), f"{place}.{name}") for name, value in before.items())
        return [one for some in found for one in some]
    return [] if before == after else [place]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_trace_loses_nothing_when_it_is_read(file: Path) -> None:
    """A field that this version no longer knows would be dropped from a stored status."""
    for line, snapshot in zip(file.read_bytes().splitlines(), read(file), strict=True):
        assert missing(msgspec.json.decode(line), msgspec.json.decode(msgspec.json.encode(snapshot))) == []


def test_this_version_brings_its_own_runs_to_their_end() -> None:
    for snapshot in record():
        assert to_end(resumed(snapshot)).phase.final
