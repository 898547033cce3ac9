"""A run survives the end of its adze: Ctrl-C, a kill at any write, a machine that went down."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from adze.cli.progress import Silent
from adze.core.model import Metadata, Phase, Run
from adze.local import state as states
from adze.local.runner import Runner
from adze.local.state import Folder, Order
from adze.shell.outside import utcnow
from tests.cli.command import PATIENCE, adze, start
from tests.e2e.kube import Object, run
from tests.local.waiting import alive, said, until


def waiting(folder: Path, beside: str) -> Object:
    """A run whose first step notes each of its starts and goes on once the file `go` is there, and one beside."""
    source = f"""
import os, pathlib, time
here = pathlib.Path({str(folder)!r})
with open(here / "starts", "a") as starts:
    starts.write(os.environ["ADZE_ATTEMPT"])
(here / f"started-{{os.environ['ADZE_ATTEMPT']}}").write_text(str(os.getpid()))
while not (here / "go").exists():
    time.sleep(0.02)
"""
    steps = {"wait": source, "next": beside}
    return run("waiting", *({"name": name, "script": {"source": source}} for name, source in steps.items()))


def begun(tmp_path: Path, state: Path, beside: str = "1") -> tuple[Any, Path]:
    """The run under way, its first step started; adze's process."""
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps(waiting(tmp_path, beside)))
    process = start("run", str(file), state=state)
    until("started", (tmp_path / "started-1").exists)
    return process, file


def resumed(file: Path, state: Path) -> dict[str, Any]:
    done = adze("run", str(file), "--resume", "-o", "json", state=state)
    assert done.returncode == 0, done.stderr
    return {step["name"]: step for step in json.loads(done.stdout)["status"]["steps"]}


def test_a_killed_adze_leaves_its_steps_running_and_the_next_takes_them_over(tmp_path: Path, state: Path) -> None:
    process, file = begun(tmp_path, state)
    process.kill()
    process.communicate()
    assert alive(int((tmp_path / "started-1").read_text()))
    process = start("run", str(file), "--resume", state=state)
    said(process, "wait  running")
    (tmp_path / "go").touch()
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told
    assert (tmp_path / "starts").read_text() == "1"


def test_a_step_that_ended_while_no_adze_ran_has_succeeded(tmp_path: Path, state: Path) -> None:
    process, file = begun(tmp_path, state)
    process.kill()
    process.communicate()
    (tmp_path / "go").touch()
    until("ended", lambda: list(state.glob("adze/runs/*/pods/*wait*/exit")))
    steps = resumed(file, state)
    assert [step["phase"] for step in steps.values()] == ["Succeeded", "Succeeded"]
    assert len(steps["wait"]["attempts"]) == 1
    assert (tmp_path / "starts").read_text() == "1"


def test_the_end_of_one_step_does_not_start_another_again(tmp_path: Path, state: Path) -> None:
    ending = f"import pathlib, time\nwhile not pathlib.Path({str(tmp_path / 'end')!r}).exists(): time.sleep(0.02)"
    process, file = begun(tmp_path, state, ending)
    until("both run", lambda: list(state.glob("adze/runs/*/pods/*next*/pid")))
    process.kill()
    process.communicate()
    (tmp_path / "end").touch()
    until("ended", lambda: list(state.glob("adze/runs/*/pods/*next*/exit")))
    process = start("run", str(file), "--resume", state=state)
    said(process, "next  Succeeded")
    (tmp_path / "go").touch()
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told
    assert (tmp_path / "starts").read_text() == "1"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_adze_ends_its_steps_and_they_use_up_no_retry(
    tmp_path: Path, state: Path, number: signal.Signals
) -> None:
    process, file = begun(tmp_path, state)
    process.send_signal(number)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert told.splitlines()[-2:] == [
        "ending the steps that run; once more kills them",
        "waiting was interrupted; adze run --resume goes on",
    ]
    assert not alive(int((tmp_path / "started-1").read_text()))
    (tmp_path / "go").touch()
    first, second = resumed(file, state)["wait"]["attempts"]
    assert (first["reason"], first["infrastructure"]) == ("Terminated", True)
    assert "reason" not in second


def test_a_process_that_vanished_is_lost_not_failed(tmp_path: Path, state: Path) -> None:
    process, file = begun(tmp_path, state)
    process.kill()
    process.communicate()
    pid = int((tmp_path / "started-1").read_text())
    os.killpg(os.getpgid(pid), signal.SIGKILL)
    until("dead", lambda: not alive(pid))
    (tmp_path / "go").touch()
    first, second = resumed(file, state)["wait"]["attempts"]
    assert (first["reason"], first["infrastructure"]) == ("NodeLost", True)
    assert "reason" not in second


def test_nobody_resumes_a_run_that_is_under_way_or_over(tmp_path: Path, state: Path) -> None:
    process, file = begun(tmp_path, state)
    refused = adze("run", "--resume", state=state)
    assert (refused.returncode, refused.stderr) == (2, "Error: there is no interrupted run\n")
    (tmp_path / "go").touch()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert adze("run", str(file), "--resume", state=state).returncode == 2


class Killed(Runner):
    """A runner whose process ends at its nth write, before or after it is done."""

    def __init__(self, folder: Folder, writes: int, *, done: bool) -> None:
        super().__init__(folder, Silent())
        save = folder.save

        def dying(name: str, item: Any) -> None:
            nonlocal writes
            writes -= 1
            if writes == 0 and not done:
                os._exit(9)
            save(name, item)
            if writes == 0:
                os._exit(9)

        folder.save = dying  # type: ignore[method-assign]


def in_a_process_of_its_own(path: Path, writes: int, *, done: bool) -> bool:
    """Go on with a run until that write; whether it came to an end before."""
    child = os.fork()
    if child == 0:
        asyncio.run(Killed(Folder(path), writes, done=done).run())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_kill_at_any_write_loses_and_doubles_nothing(tmp_path: Path, done: bool) -> None:
    ledger = tmp_path / "ledger"
    command = {"image": "x:1", "command": ["sh", "-c", f'echo "$ADZE_STEP $ADZE_ATTEMPT" >> {ledger}']}
    item = msgspec.convert(run("r", {"name": "a", **command}, {"name": "b", "parents": ["a"], **command}), Run)
    writes, ended = 0, False
    while not ended:
        writes += 1
        ledger.unlink(missing_ok=True)
        metadata = Metadata(name="r", namespace="default", uid=str(uuid4()), creation_timestamp=utcnow())
        folder = states.create(msgspec.structs.replace(item, metadata=metadata), Order(files=(), runtime="host"))
        folder.close()
        ended = in_a_process_of_its_own(folder.path, writes, done=done)
        if not ended:
            assert in_a_process_of_its_own(folder.path, 1000, done=done)
        status = states.load(folder.path / "run.json", Run).status
        assert (status.phase, [len(step.attempts) for step in status.steps]) == (Phase.SUCCEEDED, [1, 1]), writes
        assert ledger.read_text() == "a 1\nb 1\n", writes
    assert writes > 10
