"""A command under its shell: told of its end, found again, ended for good."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from adze.local import process
from adze.local.process import Process
from tests.local.waiting import alive, until

ENV = {"PATH": os.environ["PATH"]}
PATIENCE = 30.0


async def ended(running: Process) -> None:
    end = asyncio.Event()
    running.when_ended(end.set)
    await asyncio.wait_for(end.wait(), PATIENCE)


@pytest.mark.parametrize(
    ("command", "code", "log"),
    [
        (["sh", "-c", "echo out; echo err >&2"], 0, "out\nerr\n"),
        (["sh", "-c", "exit 7"], 7, ""),
        (["sh", "-c", "kill -TERM $$"], 143, ""),
        (["sh", "-c", "kill -KILL $$"], 137, ""),
        (["sh", "-c", 'echo "$1|$2"', "x", "a b", "$(c) 'd'"], 0, "a b|$(c) 'd'\n"),
        (["pwd"], 0, "{}/work\n"),
        ([sys.executable, "-c", "print(repr(input.__name__), len(open(0).read()))"], 0, "'input' 0\n"),
    ],
)
async def test_exit_code_and_log_are_kept(tmp_path: Path, command: list[str], code: int, log: str) -> None:
    await ended(Process.start(tmp_path, command, ENV))
    assert process.noted(tmp_path, "exit") == code
    assert (tmp_path / "log").read_text() == log.format(tmp_path)


async def test_a_running_command_is_found_and_an_ended_one_is_not(tmp_path: Path) -> None:
    first = Process.start(tmp_path, ["sleep", "60"], ENV)
    found = Process.find(tmp_path)
    assert found
    first.send(signal.SIGKILL)
    await ended(found)
    await ended(first)
    assert Process.find(tmp_path) is None
    assert process.noted(tmp_path, "exit") is None


def test_what_was_never_started_is_not_found(tmp_path: Path) -> None:
    assert Process.find(tmp_path) is None
    os.mkfifo(tmp_path / "alive")
    assert Process.find(tmp_path) is None


async def test_what_a_command_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    running = Process.start(tmp_path, ["sh", "-c", "sleep 60 & echo $! > pid-of-child"], ENV)
    await ended(running)
    until("ended", lambda: not alive(int((tmp_path / "work" / "pid-of-child").read_text())))


async def test_a_request_to_end_reaches_the_command_not_only_the_shell(tmp_path: Path) -> None:
    script = "import signal, sys; signal.signal(15, lambda *_: sys.exit(3)); print('ready', flush=True); signal.pause()"
    running = Process.start(tmp_path, [sys.executable, "-c", script], ENV)
    for _ in range(1000):
        if (tmp_path / "log").exists() and (tmp_path / "log").read_text():
            break
        await asyncio.sleep(PATIENCE / 1000)
    running.send(signal.SIGTERM)
    await ended(running)
    assert process.noted(tmp_path, "exit") == 3
