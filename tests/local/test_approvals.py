"""Steps that wait for somebody, without a cluster."""

import json
import os
import pty
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest

from tests.cli.command import PATIENCE, ROOT, adze, environment, words_of
from tests.e2e.kube import run
from tests.local.waiting import said

ASK = {"name": "ask", "approval": {"message": "Release ${run.name}?", "approvers": ["ada"]}}
WORK = {"name": "work", "parents": ["ask"], "script": {"source": "1"}}
WAIT = {"name": "paid", "waitFor": {"event": "order:paid"}}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps(run("release", ASK, WORK)))
    return str(path)


def test_an_approval_that_nobody_can_give_is_refused_before_anything_starts(file: str, tmp_path: Path) -> None:
    done = adze("run", file, state=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "step ask waits for an approval: add --approve ask, or run this on a terminal" in done.stderr
    assert list(tmp_path.glob("adze/runs/*")) == []


def test_an_approval_can_be_given_beforehand(file: str, tmp_path: Path) -> None:
    done = adze("run", file, "--approve", "ask", "-o", "json", state=tmp_path)
    assert done.returncode == 0, done.stderr
    (decision,) = json.loads(done.stdout)["spec"]["approvals"]
    assert (decision["step"], decision["by"], decision["decision"]) == ("ask", "ada", "Approved")


def test_only_a_step_that_asks_can_be_approved(file: str, tmp_path: Path) -> None:
    done = adze("run", file, "--approve", "ask", "--approve", "work", state=tmp_path)
    assert done.returncode == 2
    assert "--approve work: no step of that name waits for an approval" in done.stderr


@pytest.mark.parametrize(("answers", "code", "reason"), [("maybe\ny\n", 0, None), ("n\n", 1, "Denied")])
def test_the_terminal_is_asked(file: str, tmp_path: Path, answers: str, code: int, reason: Any) -> None:
    keyboard, terminal = pty.openpty()
    words, env = words_of("run", file, "-o", "json"), environment(tmp_path)
    process = Popen(words, cwd=ROOT, env=env, stdin=terminal, stdout=PIPE, stderr=PIPE, text=True)
    os.close(terminal)
    said(process, "ask: Release release? Approvers: ada. Approve? [y/n]")
    os.write(keyboard, answers.encode())
    out, told = process.communicate(timeout=PATIENCE)
    os.close(keyboard)
    assert process.returncode == code, told
    assert json.loads(out)["status"]["steps"][0].get("reason") == reason
    assert ("y approves it, n denies it" in told) is (answers[0] == "m")


def test_a_wait_for_an_event_needs_a_cluster(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(json.dumps(run("r", WAIT)))
    done = adze("run", str(tmp_path / "run.yaml"), state=tmp_path)
    assert done.returncode == 2
    assert "step paid: waitFor steps need a cluster" in done.stderr
