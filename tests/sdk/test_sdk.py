"""The SDK of steps: small outputs are written, large ones are sent until they are taken or refused."""

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from adze import sdk
from adze.core import outputs, pods
from adze.sdk import NotAStep, Refused
from adze.sdk.__main__ import main

ROOT = Path(__file__).parents[2]
BIG = {"text": "ü" * 3000}
REFERENCE = {"adze.dev/output": {"sha256": "0" * 64, "bytes": 1}}


class Receiver:
    """Answers as told, one answer for each request: a status, or None to hang up."""

    def __init__(self) -> None:
        self.answers: list[tuple[int | None, dict[str, str]]] = []
        self.heard: list[tuple[str, bytes]] = []
        self.url = ""


@contextmanager
def serving() -> Iterator[Receiver]:
    """A receiver, until the end of the block."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.heard.append((self.headers["Authorization"], body))
            status, headers = receiver.answers.pop(0)
            if status is None:
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            said: Any = REFERENCE if status == 200 else {"detail": "no room"}
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_port}/v1/outputs"
        yield receiver
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a step's output goes."""
    monkeypatch.setenv("ADZE_OUTPUT", str(tmp_path / "output"))
    monkeypatch.delenv("ADZE_OUTPUTS_URL", raising=False)
    return tmp_path / "output"


@pytest.fixture
def receiver(target: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that this step may send to."""
    target.with_name("token").write_text("secret\n")
    with serving() as receiver:
        monkeypatch.setenv("ADZE_OUTPUTS_URL", receiver.url)
        monkeypatch.setenv("ADZE_OUTPUTS_TOKEN", str(target.with_name("token")))
        yield receiver


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time goes by only in pauses."""
    made: list[float] = []
    monkeypatch.setattr(sdk.time, "sleep", made.append)
    monkeypatch.setattr(sdk.time, "monotonic", lambda: sum(made))
    return made


def test_the_limits_are_the_operators() -> None:
    assert (sdk.INLINE_LIMIT, sdk.LARGEST) == (pods.INLINE_LIMIT, outputs.LARGEST)


def test_a_small_output_is_written(target: Path) -> None:
    sdk.output({"text": "ü", "n": 1})
    assert target.read_bytes() == '{"text":"ü","n":1}'.encode()
    sdk.output({"text": "x" * (sdk.INLINE_LIMIT - 11)})
    assert len(target.read_bytes()) == sdk.INLINE_LIMIT


def test_a_large_output_is_sent_and_the_answer_is_written(target: Path, receiver: Receiver) -> None:
    receiver.answers = [(200, {})]
    sdk.output(BIG)
    assert json.loads(target.read_bytes()) == REFERENCE
    ((authorization, body),) = receiver.heard
    assert (authorization, json.loads(body)) == ("Bearer secret", BIG)


def test_no_proxy_is_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    receiver.answers = [(200, {})]
    sdk.output(BIG)
    assert len(receiver.heard) == 1


def test_it_is_sent_again_until_it_is_taken(receiver: Receiver, target: Path, pauses: list[float]) -> None:
    receiver.answers = [(None, {}), (503, {"Retry-After": "5"}), (429, {"Retry-After": "900"}), (500, {}), (200, {})]
    sdk.output(BIG)
    assert pauses == [0.5, 5, 10, 4]
    assert json.loads(target.read_bytes()) == REFERENCE


def test_nobody_there_is_waited_for_and_not_for_ever(
    target: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    with serving() as receiver:
        monkeypatch.setenv("ADZE_OUTPUTS_URL", receiver.url)
    target.with_name("token").write_text("secret")
    monkeypatch.setenv("ADZE_OUTPUTS_TOKEN", str(target.with_name("token")))
    with pytest.raises(Refused, match="not taken within 120 s"):
        sdk.output(BIG)
    assert 100 < sum(pauses) <= sdk.PATIENCE
    assert not target.exists()


@pytest.mark.parametrize("status", [400, 401, 403, 409, 413])
def test_a_no_is_final(receiver: Receiver, target: Path, pauses: list[float], status: int) -> None:
    receiver.answers = [(status, {})]
    with pytest.raises(Refused, match=f"{status}: no room"):
        sdk.output(BIG)
    assert not target.exists()
    assert not pauses


def test_without_large_output_the_error_says_what_to_do(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADZE_STEP", "list")
    with pytest.raises(Refused, match="6011 bytes, and 4096 are the limit: set largeOutput: true on step list"):
        sdk.output(BIG)
    assert not target.exists()


def test_what_is_too_large_is_not_even_sent(receiver: Receiver) -> None:
    with pytest.raises(Refused, match="1000000 are the limit"):
        sdk.output({"text": "x" * 1_000_000})
    assert not receiver.heard


@pytest.mark.parametrize("value", [[1], "text", None, {"a": float("nan")}, {"a": object()}, {"a": "\ud800"}])
def test_what_is_no_json_object_is_refused(target: Path, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        sdk.output(value)
    assert not target.exists()


def test_outside_a_step_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADZE_OUTPUT", "ADZE_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NotAStep, match="ADZE_OUTPUT is not set"):
        sdk.output({})
    with pytest.raises(NotAStep, match="ADZE_CONTEXT is not set"):
        sdk.context()


def test_the_context_has_parents_large_outputs_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_text(json.dumps(BIG))
    given = {"steps": {"a": {"outputFile": str(tmp_path / "a.json")}, "b": {"output": {"n": 1}}, "c": {}}}
    (tmp_path / "context.json").write_text(json.dumps(given))
    monkeypatch.setenv("ADZE_CONTEXT", str(tmp_path / "context.json"))
    found = sdk.context()["steps"]
    assert (found["a"]["output"], found["b"], found["c"]) == (BIG, {"output": {"n": 1}}, {})


# The command


def test_the_command_hands_over_the_text_as_it_is(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file.json").write_text('{"n":  1}\n')
    assert main(["output", str(tmp_path / "file.json")]) == 0
    assert target.read_text() == '{"n":  1}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"n": 2}')))
    assert main(["output"]) == 0
    assert target.read_text() == '{"n": 2}'
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "must be a JSON object"),
        ("{", "is not JSON"),
        ("[" * 100_000, "nested too deep"),
        ("\xff", "is not JSON"),
    ],
)
def test_the_command_says_what_is_wrong(
    target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (tmp_path / "file.json").write_bytes(text.encode("latin-1"))
    assert main(["output", str(tmp_path / "file.json")]) == 2
    assert said in capsys.readouterr().err
    assert not target.exists()


def test_the_command_fails_where_the_output_is_not_taken(
    receiver: Receiver, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file.json").write_text(json.dumps(BIG))
    receiver.answers = [(409, {})]
    assert main(["output", str(tmp_path / "file.json")]) == 1
    assert "409: no room" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["input"], ["output", "a", "b"]])
def test_the_command_knows_nothing_else(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "Usage: adze output" in capsys.readouterr().err


def test_the_sdk_works_where_nothing_else_is(tmp_path: Path) -> None:
    """As in the worker image: no adze around it, no third-party package, any directory."""
    (tmp_path / "adze").mkdir()
    (tmp_path / "adze" / "sdk").symlink_to(ROOT / "operator" / "adze" / "sdk")
    done = subprocess.run(
        [sys.executable, "-S", "-c", "from adze.sdk import output; output({'n': 1})"],
        env={"PYTHONPATH": str(tmp_path), "ADZE_OUTPUT": str(tmp_path / "output")},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "output").read_text() == '{"n":1}'
