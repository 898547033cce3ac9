"""Runs on disk: the newest are kept, one adze at a time."""

import os
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from adze.core.model import Metadata, Phase, Run, RunStatus
from adze.local import state as states
from adze.local.state import KEPT, Busy, Folder, Order
from adze.shell.outside import utcnow
from tests.e2e.kube import run, shell

ITEM = msgspec.convert(run("r", {"name": "a", **shell("true")}), Run)


def made(phase: Phase = Phase.PENDING, file: str = "/f.yaml") -> Folder:
    metadata = Metadata(name="r", namespace="default", uid=str(uuid4()), creation_timestamp=utcnow())
    item = msgspec.structs.replace(ITEM, metadata=metadata, status=RunStatus(phase=phase))
    return states.create(item, Order(files=(file,), runtime="scripts"))


def test_one_adze_at_a_time() -> None:
    folder = made()
    with pytest.raises(Busy):
        Folder(folder.path)
    folder.close()
    Folder(folder.path).close()


def test_the_newest_unfinished_run_of_a_file_is_gone_on_with() -> None:
    old, other, ended = made(), made(file="/other.yaml"), made(Phase.FAILED)
    assert states.unfinished([]) is None  # all are held
    for folder in (old, other, ended):
        folder.close()
    found = states.unfinished([])
    assert found
    assert found.path == other.path
    found.close()
    found = states.unfinished(["/f.yaml"])
    assert found
    assert found.path == old.path
    found.close()
    assert states.unfinished(["/nothing.yaml"]) is None


def test_the_oldest_go_and_those_that_are_held_stay() -> None:
    held = made()
    for number in range(KEPT + 3):
        folder = made()
        folder.close()
        os.utime(folder.path / "run.json", (number, number))
    os.utime(held.path / "run.json", (0, 0))
    newest = made()
    left = states.newest(states.root())
    assert newest.path in left
    assert held.path in left
    assert len(left) <= KEPT + 1


def test_a_broken_state_is_passed_over(state: Path) -> None:
    folder = made()
    folder.close()
    (folder.path / "run.json").write_text("{")
    assert states.unfinished([]) is None
    assert state in folder.path.parents


def test_nobody_else_may_read_it() -> None:
    assert made().path.stat().st_mode & 0o077 == 0


def test_a_file_is_replaced_as_a_whole() -> None:
    folder = made()
    with (folder.path / "run.json").open() as before:
        folder.save("run", {"half": True})
        assert msgspec.json.decode(before.read(), type=Run).metadata.name == "r"
    assert folder.load("run", dict) == {"half": True}
