"""`adze run` as a person uses it: input, output, and one clear line for each mistake."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.command import PATIENCE, adze, environment, start, words_of
from tests.e2e.kube import Object, run, run_of, workflow

ECHO = """
import json, os
context = json.load(open(os.environ["ADZE_CONTEXT"]))
json.dump({"got": context["input"]}, open(os.environ["ADZE_OUTPUT"], "w"))
"""
STEP = {"name": "echo", "script": {"source": ECHO}}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string"},
        "count": {"type": "integer"},
        "list": {"type": "array"},
        "word": {"type": "string", "default": "none"},
    },
}
WORKFLOW = workflow("echo", STEP, input=SCHEMA)


@pytest.fixture
def files(tmp_path: Path) -> Any:
    """Writes documents into a file; its name."""

    def write(*documents: Object | str, name: str = "f.yaml") -> str:
        texts = [item if isinstance(item, str) else yaml.safe_dump(item) for item in documents]
        (tmp_path / name).write_text("---\n".join(texts))
        return str(tmp_path / name)

    return write


def test_input_comes_from_words_and_files_and_takes_the_schemas_types(files: Any, tmp_path: Path) -> None:
    file = files(WORKFLOW)
    values = files('count: 1\nlist: ["no"]\n', name="input.yaml")
    words = ["-i", "id=007", "--input", "count=5"]
    done = adze("run", file, "--input-file", values, *words, state=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"got": {"id": "007", "count": 5, "list": ["no"], "word": "none"}}


def test_a_run_of_the_file_keeps_its_name_and_takes_more_input(files: Any, tmp_path: Path) -> None:
    file = files(WORKFLOW, run_of("mine", "echo", input={"id": "a", "count": 1}))
    done = adze("run", file, "-i", "count=2", "-o", "yaml", state=tmp_path)
    whole = yaml.safe_load(done.stdout)
    assert (whole["kind"], whole["metadata"]["name"], whole["status"]["phase"]) == ("WorkflowRun", "mine", "Succeeded")
    assert whole["status"]["output"] == {"got": {"id": "a", "count": 2, "word": "none"}}


def test_stdin_is_a_file_too(tmp_path: Path) -> None:
    done = adze("run", "-", "-i", "count=2", state=tmp_path, stdin=yaml.safe_dump(WORKFLOW))
    assert json.loads(done.stdout) == {"got": {"count": 2, "word": "none"}}


def test_progress_is_on_stderr_a_line_for_each_change_and_quiet_without(files: Any, tmp_path: Path) -> None:
    file = files(run("r", {"name": "say", "script": {"source": "print('hello'); print('\\x1b]0;title\\x07')"}}))
    done = adze("run", file, state=tmp_path)
    lines = [line.partition(" ")[2] if line[2:3] == ":" else line for line in done.stderr.splitlines()]
    assert done.stdout == ""
    assert lines[:3] == ["say  running", "say | hello", "say | ]0;title"]
    assert lines[3].startswith("say  Succeeded in ")
    assert lines[4].startswith("r Succeeded: 1/1 steps in ")
    quiet = adze("run", file, "--quiet", state=tmp_path)
    assert len(quiet.stderr.splitlines()) == 1


def test_a_run_goes_on_when_nobody_reads_its_progress(files: Any, tmp_path: Path) -> None:
    file = files(run("r", {"name": "a", "script": {"source": "print(1)"}}, {"name": "b", "script": {"source": ECHO}}))
    done = subprocess.run(
        ["sh", "-c", 'exec 3>&1; ("$@" 2>&1 >&3; echo $? >&3) | true', "sh", *words_of("run", file)],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    *output, code = done.stdout.splitlines()
    assert json.loads("".join(output)) == {"got": {}}
    assert code == "0"


def test_a_failed_run_exits_with_1_and_says_why(files: Any, tmp_path: Path) -> None:
    done = adze("run", files(run("r", {"name": "a", "script": {"source": "exit('no disk')"}})), state=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("r Failed: StepFailed: a: ExitCode: exit code 1: no disk\n")


def test_secrets_and_config_maps_come_with_the_files(files: Any, tmp_path: Path) -> None:
    source = {"secretKeyRef": {"name": "keys", "key": "token"}}
    script = "import os, json; json.dump({'t': os.environ['TOKEN']}, open(os.environ['ADZE_OUTPUT'], 'w'))"
    step = {"name": "a", "env": [{"name": "TOKEN", "valueFrom": source}], "script": {"source": script}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"token": "t0"}}
    done = adze("run", files(run("r", step)), files(secret, name="s.yaml"), state=tmp_path)
    assert json.loads(done.stdout) == {"t": "t0"}, done.stderr


def broken(files: Any) -> dict[str, tuple[list[str], str]]:
    """Words, and the last line that they lead to."""
    file = files(WORKFLOW)
    return {
        "no file": ([], "no FILE is given"),
        "a file that isn't there": (["nowhere.yaml"], "nothing was started"),
        "two inputs for one name": ([file, "-i", "count=1", "-i", "count=2"], "--input count is given twice"),
        "an input without a value": ([file, "-i", "count"], "--input count: NAME=VALUE is expected"),
        "an input file that isn't there": ([file, "-f", "none"], "--input-file none: No such file or directory"),
        "an input file without an object": (
            [file, "-f", files("[1]", name="list.yaml")],
            f"--input-file {files('[1]', name='list.yaml')}: one JSON or YAML object is expected",
        ),
        "an input that breaks the schema": (
            [file, "-i", "count=many"],
            'Failed: InvalidInput: spec.input.count: "many" is not of type "integer"',
        ),
        "an unknown input": (
            [file, "-i", "m=1"],
            "Failed: InvalidInput: spec.input: Additional properties are not allowed ('m' was unexpected)",
        ),
        "no workflow in the file": (
            [files("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n", name="c.yaml")],
            "there is no Workflow and no WorkflowRun in the files",
        ),
        "a choice of runs": (
            [files(run("r1", STEP), run("r2", STEP), name="two.yaml")],
            "the files hold 2 WorkflowRuns: choose with --run r1 or --run r2",
        ),
        "a run that isn't there": ([file, "--run", "ecko"], "there is no 'ecko' in the files; did you mean 'echo'?"),
        "a run without its workflow": (
            [files(run_of("r", "elsewhere"), name="r.yaml")],
            "r runs the Workflow 'elsewhere', which is not in the files: add its file",
        ),
        "a suspended run": (
            [files(run("r", STEP, spec={"suspend": True}), name="s.yaml")],
            "r has spec.suspend: true, so nothing of it would start",
        ),
        "an image without a choice": (
            [files(run("r", {"name": "a", "image": "x:1"}), name="i.yaml")],
            "step a brings an image: add --containers to run it with docker or podman, or --host-processes to run its "
            "command on this machine",
        ),
        "two choices": (
            [file, "--containers", "--host-processes"],
            "--containers and --host-processes exclude each other",
        ),
        "nothing to resume": (["--resume"], "there is no interrupted run"),
        "resume with input": (
            ["--resume", "-i", "count=1"],
            "--resume goes on with what there is: no --run and no input",
        ),
        "watch stdin": (["-", "--watch"], "--watch needs files that can change"),
    }


CASES = list(broken(lambda *_, name="f.yaml": name))


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_clear_line_and_nothing_starts(files: Any, tmp_path: Path, case: str) -> None:
    words, line = broken(files)[case]
    done = adze("run", *words, state=tmp_path / "state")
    assert done.returncode == 2
    assert line in done.stderr.splitlines()[-1], done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.glob("state/**/pods/*"))


def test_what_lint_refuses_is_not_run(files: Any, tmp_path: Path) -> None:
    file = files(run("good", STEP), "a: [\n", run("bad", {**STEP, "retires": 1}))
    done = adze("run", file, "--run", "good", state=tmp_path / "state")
    assert done.returncode == 2
    assert [line.rpartition("[")[2] for line in done.stderr.splitlines()[:2]] == ["yaml]", "unknown-field]"]
    assert done.stderr.splitlines()[2:] == ["Error: nothing was started"]
    assert not (tmp_path / "state").exists()


def test_watch_runs_again_when_the_file_has_changed(files: Any, tmp_path: Path) -> None:
    file = files(run("first", STEP))
    process = start("run", "--watch", "--quiet", file, state=tmp_path)
    assert process.stderr

    def two_lines() -> list[str]:
        return [process.stderr.readline().split(":")[0].rstrip() for _ in range(2)]  # type: ignore[union-attr]

    assert two_lines() == ["first Succeeded", "waiting for a change; Ctrl-C ends"]
    files("kind: [")
    assert two_lines()[1] == "Error"
    assert process.stderr.readline() == "waiting for a change; Ctrl-C ends\n"
    files(run("second", STEP))
    assert two_lines() == ["second Succeeded", "waiting for a change; Ctrl-C ends"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130


def test_a_full_disk_is_told(files: Any, tmp_path: Path) -> None:
    (tmp_path / "adze").write_text("no directory")
    done = adze("run", files(run("r", STEP)), state=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1


def test_no_more_processes_run_at_a_time_than_asked_for(files: Any, tmp_path: Path) -> None:
    source = f"""
import os, pathlib, time
here = pathlib.Path({str(tmp_path / "running")!r})
here.mkdir(exist_ok=True)
mine = here / os.environ["ADZE_STEP"]
mine.touch()
others = len(list(here.iterdir()))
time.sleep(0.2)
mine.unlink()
assert others <= 2, others
"""
    steps = [{"name": f"s{number}", "script": {"source": source}} for number in range(6)]
    done = adze("run", files(run("r", *steps)), "--parallel", "2", state=tmp_path)
    assert done.returncode == 0, done.stderr
