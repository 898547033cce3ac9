"""Where a step's container runs: here, or in docker or podman, which a script plays in these tests."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adze.core.model import WorkflowSpec
from adze.local import runtimes
from adze.local.runtimes import NotStarted
from adze.local.variables import Objects
from tests.cli.command import PATIENCE, adze, start
from tests.e2e.kube import Object, run, shell
from tests.local.waiting import until

SCRIPT = {"script": {"source": "x"}}
ENGINE = """#!{python}
import json, os, pathlib, subprocess, sys
words = sys.argv[1:]
with open({calls!r}, "a") as file:
    print(json.dumps(words), file=file)
if words[0] == "version":
    print({trouble!r}, file=sys.stderr)
    sys.exit(1 if {trouble!r} else 0)
if words[0] == "rm":
    sys.exit(0)
mounts, env, rest = {{}}, {{}}, words[1:]
while rest[0].startswith("--"):
    option = rest.pop(0)
    if option != "--rm":
        value = rest.pop(0)
        if option == "--mount":
            fields = dict(field.partition("=")[::2] for field in value.split(","))
            mounts[fields["dst"]] = fields["src"]
        elif option == "--env":
            name, _, text = value.partition("=")
            env[name] = text
        elif option == "--entrypoint":
            entrypoint = value
if rest[0] == "no/such:1":
    print("Unable to find image", file=sys.stderr)
    sys.exit(125)
inside = {{name: text.replace("/dev/termination-log", mounts["/dev/termination-log"]) for name, text in env.items()}}
sys.exit(subprocess.run([entrypoint, *rest[1:]], env={{"PATH": os.environ["PATH"], **inside}}).returncode)
"""


def spec(*steps: Object, **fields: Any) -> WorkflowSpec:
    return msgspec.convert({"steps": list(steps), **fields}, WorkflowSpec)


REFUSALS = {
    "an image needs a choice": (
        spec({"name": "a", "image": "x:1"}),
        "scripts",
        ["step a brings an image: add --containers"],
    ),
    "several images": (
        spec(
            {"name": "a", "image": "x:1"},
            {"name": "b", **SCRIPT},
            {"name": "c", "script": {"source": "x", "image": "y:1"}},
        ),
        "scripts",
        ["steps a, c bring an image"],
    ),
    "an entrypoint is unknown here": (
        spec({"name": "a", "image": "x:1"}),
        "host",
        ["step a: its image's own entrypoint"],
    ),
    "a program isn't here": (
        spec({"name": "a", "image": "x:1", "command": ["no-such-program"]}),
        "host",
        ["step a: there is no 'no-such-program' on this machine"],
    ),
    "an interpreter isn't here": (
        spec({"name": "a", "script": {"source": "x", "command": ["no-such-shell"]}}),
        "scripts",
        ["step a: there is no 'no-such-shell'"],
    ),
    "a secret isn't there": (
        spec({"name": "a", **SCRIPT, "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
        "scripts",
        ["step a: there is no Secret 's' in the files"],
    ),
    "a handler counts": (
        spec(
            {"name": "a", **SCRIPT},
            onFailure={"name": "f", "image": "x:1"},
            **{"finally": [{"name": "g", "image": "x:1"}]},
        ),
        "scripts",
        ["steps f, g bring an image"],
    ),
    "an engine takes every image": (spec({"name": "a", "image": "x:1"}), "docker", []),
    "scripts run here": (spec({"name": "a", **SCRIPT}), "scripts", []),
}


@pytest.mark.parametrize(("workflow", "runtime", "wanted"), REFUSALS.values(), ids=REFUSALS)
def test_what_can_not_run_here_is_said_before_anything_does(
    workflow: WorkflowSpec, runtime: str, wanted: list[str]
) -> None:
    found = list(runtimes.refusals(workflow, runtime, Objects()))
    assert len(found) == len(wanted)
    assert all(said.startswith(start) for said, start in zip(found, wanted, strict=True)), found


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs a docker that does what it's told without containers; the calls that it got."""
    calls = tmp_path / "calls"
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    def install(trouble: str = "") -> Path:
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin" / "docker"
        program.write_text(ENGINE.format(python=sys.executable, calls=str(calls), trouble=trouble))
        program.chmod(0o755)
        return calls

    return install


def test_an_image_step_runs_in_the_container_engine(tmp_path: Path, state: Path, engine: Any) -> None:
    calls = engine()
    step = shell('printf \'{"said": "%s $(WHO)"}\' "$GREETING" > "$ADZE_OUTPUT"', imagePullPolicy="Never")
    step |= {"env": [{"name": "WHO", "value": "Ada"}, {"name": "GREETING", "value": "two\nlines"}]}
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps(run("r", {"name": "a", **step}, {"name": "b", "script": {"source": "print(1)"}})))
    done = adze("run", str(file), "--containers", state=state)
    assert done.returncode == 1, done.stderr  # a line break isn't JSON
    assert "OutputInvalid" in done.stderr
    version, ran = [json.loads(line) for line in calls.read_text().splitlines()]
    assert version == ["version"]
    assert ran[0] == "run"
    assert ran[-3:] == ["localhost/adze/busybox:1", "-c", step["command"][2].replace("$(WHO)", "Ada")]
    for pair in (["--pull", "never"], ["--cap-drop", "ALL"], ["--env", "GREETING=two\nlines"], ["--entrypoint", "sh"]):
        assert pair in [ran[index : index + 2] for index in range(len(ran))]


def test_a_container_whose_client_vanished_is_removed(tmp_path: Path, state: Path, engine: Any) -> None:
    calls = engine()
    step = shell(f"echo $$$$ > {tmp_path}/started-$ADZE_ATTEMPT; test $ADZE_ATTEMPT = 2 || exec sleep 60")
    (tmp_path / "run.yaml").write_text(json.dumps(run("r", {"name": "a", **step})))
    process = start("run", str(tmp_path / "run.yaml"), "--containers", "-o", "json", state=state)
    started = tmp_path / "started-1"
    until("started", lambda: started.exists() and started.read_text().strip())
    os.killpg(os.getpgid(int(started.read_text())), signal.SIGKILL)
    said, told = process.communicate(timeout=PATIENCE)
    first, second = json.loads(said)["status"]["steps"][0]["attempts"]
    assert (first["reason"], first["infrastructure"], second["exitCode"]) == ("NodeLost", True, 0), told
    assert ["rm", "--force", first["pod"]] in [json.loads(line) for line in calls.read_text().splitlines()]


def test_an_engine_that_does_not_answer_is_told_before_anything_starts(
    tmp_path: Path, state: Path, engine: Any
) -> None:
    engine(trouble="Cannot connect to the Docker daemon")
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps(run("r", {"name": "a", **shell("true")})))
    done = adze("run", str(file), "--containers", state=state)
    assert done.returncode == 2
    assert done.stderr == (
        "Error: --containers needs docker or podman, and none answers (docker: Cannot connect to the Docker daemon)\n"
    )
    assert not state.exists()


def test_a_script_without_python3_on_the_path_gets_adzes_own() -> None:
    assert runtimes.executable("python3", "/nowhere") == sys.executable
    with pytest.raises(NotStarted, match="there is no 'sh' on this machine"):
        runtimes.executable("sh", "/nowhere")
