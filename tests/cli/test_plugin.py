"""The same commands as `kubectl adze`, completion, and what a quick answer must not import."""

import subprocess
import sys
from pathlib import Path

import pytest

from adze.cli import kubectl
from tests.cli.api import CLUSTER, Answer, Api
from tests.cli.command import ROOT, environment
from tests.cli.test_cluster import listed, run

ON_A_CLUSTER = ("get", "describe", "watch", "logs", "submit", "cancel", "suspend", "resume")


def completed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """What kubectl would offer after these words."""
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-adze", *words])
    kubectl.complete()
    *lines, directive = capsys.readouterr().out.splitlines()
    assert directive == ":4"
    return [line.partition("\t")[0] for line in lines]


def test_kubectl_completes_commands_options_and_names(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig(tmp_path / "k"))
    api.on("GET", rf"{CLUSTER}/workflowruns\?.*", listed(run("order-1"), run("order-2"), run("report-1")))
    api.on("GET", f"{CLUSTER}/workflowruns/order-1", Answer({**run("order-1"), "status": {"steps": [{"name": "pay"}]}}))

    def after(*words: str) -> list[str]:
        return completed(capsys, monkeypatch, *words)

    assert after("su") == ["submit", "suspend"]
    assert after("get", "") == ["runs", "workflows"]
    assert after("get", "runs", "ord") == ["order-1", "order-2"]
    assert after("cancel", "order-1", "re") == ["report-1"]
    assert after("logs", "order-1", "") == ["pay"]
    assert "--field-selector" in after("cancel", "--f")


def test_completion_is_silent_without_a_cluster(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    assert completed(capsys, monkeypatch, "get", "runs", "") == []


def test_the_plugin_calls_itself_as_people_do() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from adze.cli.kubectl import main; main()", "watch", "-h"],
        env=environment(ROOT),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("Usage: kubectl adze watch [OPTIONS] RUN")


@pytest.mark.parametrize("command", ["--help", *(f"{command} --help" for command in ON_A_CLUSTER)])
def test_help_imports_nothing_heavy(command: str) -> None:
    code = f"""
import sys
from adze.cli import main
try:
    main({command.split()!r}, prog_name="adze")
except SystemExit:
    pass
heavy = {{"kubernetes", "urllib3", "yaml", "jsonschema_rs", "cel_expr_python", "kopf", "aiohttp", "asyncio"}}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(ROOT), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
