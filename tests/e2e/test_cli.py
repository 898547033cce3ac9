"""The command line on a real cluster, as a person uses it: a process of its own, with a kubeconfig."""

import os
import pty
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from adze.cli import exits
from tests.cli.command import ENTRY, ROOT
from tests.e2e.kube import Kube, Object, run, run_of, shell, steps, workflow

PATIENCE = 120.0
COPIES = {
    "type": "object",
    "required": ["copies"],
    "additionalProperties": False,
    "properties": {"copies": {"type": "integer", "minimum": 1}, "loud": {"type": "boolean"}},
}
COUNT = {"name": "count", **shell('echo "{\\"n\\": ${input.copies}}" > $ADZE_OUTPUT; test ${input.copies} -lt 9')}


class Adze:
    """The command in the namespace of a test."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self.environment = {**kube.adze.environment, "PYTHONPATH": str(ROOT / "operator"), "COLUMNS": "100"}

    def words(self, *words: str) -> list[str]:
        """The whole command line."""
        return [sys.executable, "-c", ENTRY, *words, "-n", self._kube.namespace]

    def __call__(self, *words: str, stdin: str = "", **more: str) -> "subprocess.CompletedProcess[str]":
        """Run it to its end; the caller looks at the outcome."""
        environment = {**self.environment, **more}
        return subprocess.run(
            self.words(*words),
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def must(self, *words: str) -> str:
        """Run it; it must succeed. What it printed."""
        done = self(*words)
        assert done.returncode == 0, f"adze {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def going(self, *words: str) -> "Iterator[subprocess.Popen[str]]":
        """Run it beside the test."""
        process = subprocess.Popen(
            self.words(*words),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell starts what it has in the background with SIGINT ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        with process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def adze_command(kube: Kube) -> Adze:
    """The command."""
    return Adze(kube)


def timeless(table: str) -> str:
    """The table with all ages the same, for they go on."""
    return re.sub(r"\b(\d+m)?\d+s\b *", "1s ", table)


def test_get_prints_what_kubectl_prints(kube: Kube, adze_command: Adze) -> None:
    kube.apply(workflow("w", {"name": "a", **shell("true")}), run_of("good", "w"))
    kube.apply(run("bad", {"name": "a", **shell("echo no luck; exit 3")}))
    kube.ended("good")
    kube.ended("bad")
    for kind, *words in (
        ("workflowruns",),
        ("workflowruns", "-o", "wide"),
        ("awr", "bad", "good"),
        ("workflowruns", "--field-selector", "status.phase=Failed"),
        ("workflows", "-o", "wide"),
        ("workflowruns", "-o", "name"),
    ):
        ours = adze_command.must("get", "runs" if kind == "workflowruns" else kind, *words)
        assert timeless(ours) == timeless(kube.must("get", kind, *words))
    same = yaml.safe_load(adze_command.must("get", "run", "bad", "-o", "yaml"))
    assert same == kube.get("workflowrun", "bad")


def test_submit_waits_and_tells_how_it_ended(kube: Kube, adze_command: Adze) -> None:
    kube.apply(workflow("w", COUNT, input=COPIES))
    kube.must("wait", "--for=condition=Ready", "workflow/w", "--timeout=10s")
    good = adze_command("submit", "w", "-i", "copies=3", "-i", "loud=true", "--name", "good", "--wait")
    assert (good.returncode, good.stderr) == (exits.OK, "")
    assert re.fullmatch(r"workflowrun.adze.dev/good created\ngood Succeeded in \d+s\n", good.stdout)
    assert kube.get("workflowrun", "good")["spec"]["input"] == {"copies": 3, "loud": True}
    bad = adze_command("submit", "w", "-i", "copies=9", "--wait", "-o", "json")
    assert bad.returncode == exits.FAILED
    assert yaml.safe_load(bad.stdout)["status"]["reason"] == "StepFailed"
    assert [item["metadata"]["name"].startswith("w-") for item in kube.list("workflowruns")] == [False, True]


def test_wrong_input_starts_nothing(kube: Kube, adze_command: Adze) -> None:
    kube.apply(workflow("w", COUNT, input=COPIES), workflow("broken", {"name": "a", "parents": ["b"], **shell("true")}))
    kube.must("wait", "--for=condition=Ready", "workflow/w", "--timeout=10s")
    kube.must("wait", "--for=condition=Ready=False", "workflow/broken", "--timeout=10s")
    for words, code, message in (
        (("w",), exits.USAGE, 'input: "copies" is a required property'),
        (("w", "-i", "copies=two"), exits.USAGE, 'input.copies: "two" is not of type "integer"'),
        (("w", "-i", "copies=1", "-i", "copies=2"), exits.USAGE, "--input copies is given twice"),
        (("broken",), exits.USAGE, "there is no step 'b'"),
        (("brokn",), exits.NOT_FOUND, "there is no workflow 'brokn'"),
        (("w", "-i", "copies=1", "--name", "Not A Name"), exits.USAGE, "metadata.name"),
    ):
        done = adze_command("submit", *words)
        assert (done.returncode, done.stdout) == (code, "")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    adze_command.must("submit", "w", "-i", "copies=1", "--dry-run")
    assert kube.list("workflowruns") == []


def test_a_file_is_submitted_and_watched(kube: Kube, adze_command: Adze, tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(yaml.safe_dump(workflow("w", COUNT, input=COPIES)))
    done = adze_command("submit", "-f", str(file), "-i", "copies=3", "--watch")
    assert done.returncode == exits.OK, done.stderr
    name = done.stdout.split()[0].partition("/")[2]
    assert kube.get("workflowrun", name)["status"]["output"] == {"n": 3}
    told = [line.split()[1:3] for line in done.stdout.splitlines()[1:]]
    assert told[-2:] == [["count", "Succeeded"], [name, "Succeeded"]]


def test_watch_without_a_terminal_tells_each_change(kube: Kube, adze_command: Adze) -> None:
    a = {"name": "a", **shell('test "$ADZE_ATTEMPT" = 2'), "retries": 1, "backoff": {"base": "5s"}}
    kube.apply(run("r", a, {"name": "b", "parents": ["a"], **shell("exit 4")}))
    done = adze_command("watch", "r")
    assert done.returncode == exits.FAILED
    told = [line.split(maxsplit=3)[1:] for line in done.stdout.splitlines()]
    backoff = next(line for line in told if line[0] == "a" and line[1:] and "Backoff" in line[-1])
    assert "attempt 1 of 2 failed: ExitCode: exit code 1" in backoff[-1]
    ends = [line[:2] for line in told if line[1] in ("Succeeded", "Failed")]
    assert ends == [["a", "Succeeded"], ["b", "Failed"], ["r", "Failed"]]
    assert "\x1b" not in done.stdout


def test_watch_on_a_terminal_draws_and_leaves_the_tree(kube: Kube, adze_command: Adze) -> None:
    kube.apply(run("r", {"name": "a", **shell("true")}))
    ours, theirs = pty.openpty()
    with subprocess.Popen(adze_command.words("watch", "r"), env=adze_command.environment, stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
        assert process.wait(PATIENCE) == exits.OK
    os.close(ours)
    screens, final = shown.decode().split("\x1b[?1049l")
    assert screens.startswith("\x1b[?1049h")
    assert "\x1b[32mSucceeded\x1b[0m" in final
    assert re.findall(r"^(r|└─ a) ", final, re.M) == ["r", "└─ a"]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other side is closed
        return b""


def test_ctrl_c_ends_the_watching_not_the_run(kube: Kube, adze_command: Adze) -> None:
    kube.apply(run("r", {"name": "a", "sleep": {"duration": "1h"}}))
    with adze_command.going("watch", "r") as process:
        assert process.stdout
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == exits.INTERRUPTED
    assert kube.get("workflowrun", "r")["status"]["phase"] == "Running"
    assert "cancel" not in kube.get("workflowrun", "r")["spec"]


def test_logs_come_in_order_and_are_followed(kube: Kube, adze_command: Adze) -> None:
    say = 'for i in 1 2 3; do echo "$ADZE_STEP says $i"; sleep 0.4; done'
    kube.apply(
        run(
            "r",
            {"name": "z-first", **shell(f"{say}; test $ADZE_ATTEMPT = 2"), "retries": 1, "backoff": {"base": "1s"}},
            {"name": "a-second", "parents": ["z-first"], **shell(say)},
        )
    )
    followed = adze_command("logs", "r", "-f")
    assert followed.returncode == exits.OK, followed.stderr
    expected = [
        f"{step}/{attempt}".ljust(10) + f" | {step} says {number}"
        for step, attempt in (("z-first", 1), ("z-first", 2), ("a-second", 1))
        for number in (1, 2, 3)
    ]
    assert followed.stdout.splitlines() == expected
    assert adze_command.must("logs", "r").splitlines() == expected
    only = adze_command.must("logs", "r", "z-first", "--attempt", "2", "--tail", "1", "--no-prefix")
    assert only == "z-first says 3\n"
    wrong = adze_command("logs", "r", "second")
    assert (wrong.returncode, "did you mean a-second?" in wrong.stderr) == (exits.NOT_FOUND, True)


def test_items_have_their_logs_and_other_runs_are_named(kube: Kube, adze_command: Adze) -> None:
    kube.apply(
        workflow("child", {"name": "a", **shell("true")}),
        run(
            "r",
            {"name": "fetch", "forEach": "['x', 'y']", **shell("echo got ${item}")},
            {"name": "nested", "workflow": {"name": "child"}},
        ),
    )
    child = kube.ended("r")["steps"][1]["attempts"][0]["run"]
    assert adze_command.must("logs", "r").splitlines() == ["fetch[0]/1 | got x", "fetch[1]/1 | got y"]
    assert adze_command.must("logs", "r", "fetch[1]", "--no-prefix") == "got y\n"
    assert f"nested/1 is a run: adze logs {child}" in adze_command("logs", "r").stderr
    assert f"run {child}" in adze_command.must("describe", "run", "r")
    assert "Trigger:    Step: nested of run r\n" in adze_command.must("describe", "run", child)


def test_logs_before_there_are_any_say_why(kube: Kube, adze_command: Adze) -> None:
    kube.apply(run("r", {"name": "a", "image": "localhost/adze/nowhere:1"}))
    kube.step("r", "a", lambda step: step.get("reason") == "ImagePullBackOff", timeout=20)
    done = adze_command("logs", "r")
    assert (done.returncode, done.stdout) == (exits.OK, "")
    assert "a/1 has not started" in done.stderr


@pytest.mark.parametrize(
    ("fields", "reason", "words"),
    [
        ({**shell("true"), "resources": {"requests": {"cpu": "1000"}}}, "Unschedulable", "Insufficient cpu"),
        ({"image": "localhost/adze/nowhere:1"}, "ImagePullBackOff", "localhost/adze/nowhere:1"),
    ],
    ids=["unschedulable", "image"],
)
def test_describe_says_why_a_run_waits(kube: Kube, adze_command: Adze, fields: Object, reason: str, words: str) -> None:
    kube.apply(run("r", {"name": "a", **fields}, {"name": "b", "parents": ["a"], **shell("true")}))
    kube.step("r", "a", lambda step: step.get("reason") == reason, timeout=20)
    lines = adze_command.must("describe", "run", "r").splitlines()
    row = next(line for line in lines if line.startswith("├─ a "))
    assert f"{reason}: " in row
    assert words in row
    assert next(line for line in lines if line.startswith("└─ b ")).endswith("after a")
    assert any(line.startswith("Reason: ") and words in line for line in lines)


def test_describe_tells_the_story_of_a_run_and_of_its_workflow(kube: Kube, adze_command: Adze) -> None:
    step = {"name": "a", **shell("exit 7"), "retries": 1, "backoff": {"base": "1s"}}
    kube.apply(workflow("w", step, input=COPIES), run_of("r", "w", input={"copies": 2}))
    kube.ended("r")
    text = adze_command.must("describe", "run", "r")
    assert re.search(r"^└─ a +Failed +2/2 .* ExitCode: exit code 7$", text, re.M)
    assert re.search(r"^   ├─ attempt 1 +Failed .* ExitCode: exit code 7$", text, re.M)
    assert re.search(r"^\d+\w+ +Warning +StepRetrying +a: attempt 1 of 2 failed", text, re.M)
    about = adze_command.must("describe", "workflow", "w")
    assert re.search(r"^copies +integer +yes", about, re.M)
    assert re.search(r"^r +w +Failed ", about, re.M)


def test_cancel_by_selector_after_a_dry_run(kube: Kube, adze_command: Adze) -> None:
    kube.apply(workflow("w", {"name": "a", **shell("sleep 300")}), workflow("quick", {"name": "a", **shell("true")}))
    labelled = [run_of(name, "w") for name in ("one", "two")]
    done = run_of("done", "quick")
    for item in (*labelled, done):
        item["metadata"]["labels"] = {"team": "x"}
    kube.apply(*labelled, done, run_of("other", "w"))
    before = kube.ended("done")
    for name in ("one", "two", "other"):
        kube.until("begun", "workflowrun", name, lambda item: bool(item.get("status", {}).get("steps")))
    said = adze_command.must("cancel", "-l", "team=x", "--dry-run")
    assert said.split("\n")[:2] == [f"workflowrun.adze.dev/{name} would be cancelled" for name in ("one", "two")]
    assert not any(item["spec"].get("cancel") for item in kube.list("workflowruns"))
    said = adze_command.must("cancel", "-l", "team=x")
    assert said.splitlines() == [f"workflowrun.adze.dev/{name} cancelling" for name in ("one", "two")]
    assert {kube.ended(name)["phase"] for name in ("one", "two")} == {"Cancelled"}
    assert kube.get("workflowrun", "done")["status"] == before
    assert kube.get("workflowrun", "other")["status"]["phase"] in ("Pending", "Running")
    again = adze_command.must("cancel", "one", "done").splitlines()
    assert again == [
        "workflowrun.adze.dev/one left alone: it has ended (Cancelled)",
        "workflowrun.adze.dev/done left alone: it has ended (Succeeded)",
    ]
    assert "cancel" not in kube.get("workflowrun", "done")["spec"]


def test_suspend_and_resume(kube: Kube, adze_command: Adze) -> None:
    kube.apply(run("r", {"name": "a", **shell("sleep 20")}, {"name": "b", "parents": ["a"], **shell("true")}))
    kube.step("r", "a", lambda step: bool(step.get("attempts")))
    assert adze_command.must("suspend", "r") == "workflowrun.adze.dev/r suspended\n"
    kube.step("r", "a", lambda step: step["phase"] == "Succeeded")
    kube.until("suspended", "workflowrun", "r", lambda item: item["status"].get("reason") == "Suspended")
    assert "Suspended" in adze_command.must("describe", "run", "r")
    assert "attempts" not in steps(kube.get("workflowrun", "r")["status"])["b"]
    assert adze_command.must("resume", "r") == "workflowrun.adze.dev/r resumed\n"
    assert kube.ended("r")["phase"] == "Succeeded"


def kubeconfig(adze_command: Adze, path: Path, user: Object | None = None, cluster: Object | None = None) -> str:
    """The cluster's kubeconfig with another user or another server."""
    document: Any = yaml.safe_load(Path(adze_command.environment["KUBECONFIG"]).read_text())
    document["users"][0]["user"] |= user or {}
    server = document["clusters"][0]["cluster"] | (cluster or {})
    document["clusters"][0]["cluster"] = {field: value for field, value in server.items() if value is not None}
    path.write_text(yaml.safe_dump(document))
    return str(path)


def test_who_may_not_is_told_what(kube: Kube, adze_command: Adze, tmp_path: Path) -> None:
    kube.apply(run("r", {"name": "a", **shell("true")}))
    kube.ended("r")
    jane = kubeconfig(adze_command, tmp_path / "jane", user={"as": "jane"})
    for words, verb, resource in (
        (("get", "runs"), "list", "workflowruns"),
        (("describe", "run", "r"), "get", "workflowruns"),
        (("submit", "-f", "-"), "create", "workflowruns"),
        (("cancel", "r"), "get", "workflowruns"),
    ):
        text = yaml.safe_dump(run("s", {"name": "a", **shell("true")}))
        done = adze_command(*words, stdin=text, KUBECONFIG=jane)
        assert (done.returncode, done.stdout) == (exits.FORBIDDEN, "")
        assert f'User "jane" cannot {verb} resource "{resource}"' in done.stderr
        assert done.stderr.count("\n") == 1
    kube.must("create", "role", "reader", "--verb=get,list,watch", "--resource=workflowruns.adze.dev")
    kube.must("create", "rolebinding", "reader", "--role=reader", "--user=jane")
    end = time.monotonic() + 30
    while (done := adze_command("get", "runs", KUBECONFIG=jane)).returncode and time.monotonic() < end:
        time.sleep(0.3)
    assert done.returncode == exits.OK, done.stderr
    assert (
        "Events:\nnot shown: no permission to list events"
        in adze_command("describe", "run", "r", KUBECONFIG=jane).stdout
    )
    assert 'cannot list resource "pods"' in adze_command("logs", "r", KUBECONFIG=jane).stderr
    kube.apply(run("going", {"name": "a", **shell("sleep 60")}))
    assert 'cannot patch resource "workflowruns"' in adze_command("cancel", "going", KUBECONFIG=jane).stderr


def test_no_way_to_the_cluster(adze_command: Adze, tmp_path: Path) -> None:
    away = kubeconfig(adze_command, tmp_path / "away", cluster={"server": "https://127.0.0.1:9"})
    stranger = kubeconfig(
        adze_command,
        tmp_path / "stranger",
        cluster={"certificate-authority-data": None, "insecure-skip-tls-verify": False},
    )
    for words, more, message in (
        (("get", "runs"), {"KUBECONFIG": away}, "can't reach the cluster at https://127.0.0.1:9"),
        (("get", "runs"), {"KUBECONFIG": stranger}, "CERTIFICATE_VERIFY_FAILED"),
        (("get", "runs"), {"KUBECONFIG": "/nowhere"}, "there is no kubeconfig /nowhere"),
        (("get", "runs", "--context", "nope"), {}, "there is no context 'nope'"),
    ):
        done = adze_command(*words, **more)
        assert (done.returncode, done.stdout) == (exits.UNREACHABLE, "")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_kubectl_finds_the_plugin_and_its_completion(kube: Kube, adze_command: Adze, tmp_path: Path) -> None:
    kube.apply(run("order-1", {"name": "a", **shell("true")}))
    for script, function in (("kubectl-adze", "main"), ("kubectl_complete-adze", "complete")):
        path = tmp_path / script
        path.write_text(f"#!{sys.executable}\nfrom adze.cli.kubectl import {function}\n{function}()\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    environment = {**adze_command.environment, "PATH": f"{tmp_path}:{adze_command.environment['PATH']}"}

    def kubectl(*words: str) -> str:
        done = subprocess.run(
            ["kubectl", *words], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout

    assert "order-1" in kubectl("adze", "get", "runs", "-n", kube.namespace)
    offered = kubectl("__complete", "adze", "su")
    assert [line.partition("\t")[0] for line in offered.splitlines()] == ["submit", "suspend", ":4"]
    offered = kubectl("__complete", "adze", "get", "-n", kube.namespace, "runs", "")
    assert offered.splitlines() == ["order-1", ":4"]
