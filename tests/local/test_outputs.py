"""Large outputs without a cluster: who may send them, over plain HTTP too, and what becomes of them after a kill."""

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adze.core import names, outputs
from adze.local.api import Api
from adze.local.outputs import PATH, Receiver
from adze.local.state import Folder
from adze.shell.outside import utcnow
from tests.builders import pod, run, running, step, succeeded, workflow
from tests.cli.command import adze, start
from tests.e2e.kube import run as manifest
from tests.local.waiting import until

POD = "hello-1-a-1"
TEXT = b'{"n":  1}'


class World:
    """A run whose step a runs, with its token, and the receiver."""

    def __init__(self, path: Path) -> None:
        self.folder = Folder(path)
        self.folder.save("run", run(workflow(step("a", large_output=True))))
        self.api = Api(self.folder, {}, utcnow)
        self.api.pods = {POD: running(pod(POD))}
        inside = self.folder.pod(POD) / "adze"
        inside.mkdir(parents=True)
        (inside / "token").write_text("good")
        self.receiver = Receiver(self.api, self.folder)
        self.receiver.start()

    async def send(self, body: bytes = TEXT, token: str = "good", path: str = PATH, **headers: str) -> tuple[int, Any]:
        """Status and content of the answer."""
        return await asyncio.to_thread(self._send, body, token, path, headers)

    def _send(self, body: bytes, token: str, path: str, headers: dict[str, str]) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", path, body, {"Authorization": f"Bearer {token}", **headers})
        answer = connection.getresponse()
        found = json.loads(answer.read())
        connection.close()
        return answer.status, found

    @property
    def port(self) -> int:
        return int(self.receiver.url.rpartition(":")[2].partition("/")[0])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path / "run")
    yield world
    await asyncio.to_thread(world.receiver.stop)
    world.folder.close()


async def test_an_output_is_stored_and_referred_to(world: World) -> None:
    assert await world.send() == (200, outputs.refer(TEXT))
    assert world.api.page(f"{POD}-output") == TEXT.decode()
    assert await world.send() == (200, outputs.refer(TEXT))
    status, said = await world.send(b'{"n": 2}')
    assert (status, said["detail"]) == (409, "this attempt has handed over another output before")


@pytest.mark.parametrize(
    ("body", "token", "path", "status"),
    [
        (TEXT, "other", PATH, 401),
        (TEXT, "", PATH, 401),
        (TEXT, "ü", PATH, 401),
        (TEXT, "good", "/", 404),
        (b"[1]", "good", PATH, 400),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "good", PATH, 400),
        (json.dumps({"a": "x" * outputs.LARGEST}).encode(), "good", PATH, 413),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_nothing_else_is_taken(world: World, body: bytes, token: str, path: str, status: int) -> None:
    assert (await world.send(body, token, path))[0] == status
    assert world.api.page(f"{POD}-output") is None


async def test_the_end_of_the_process_ends_its_token(world: World) -> None:
    world.api.pods = {POD: succeeded(pod(POD))}
    assert (await world.send())[0] == 401


async def test_an_item_has_less_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adze.core.fanout.PAGE_LIMIT", 5)
    one = running(pod(POD))
    labels = {**one.metadata.labels, names.ITEM: "3"}
    world.api.pods = {POD: msgspec.structs.replace(one, metadata=msgspec.structs.replace(one.metadata, labels=labels))}
    assert (await world.send())[0] == 413


async def test_the_address_stays_unless_it_is_taken(tmp_path: Path) -> None:
    world = World(tmp_path / "run")
    port = world.port
    await asyncio.to_thread(world.receiver.stop)
    again = Receiver(world.api, world.folder)
    assert again.url.startswith(f"http://127.0.0.1:{port}/")
    again._server.server_close()
    with socket.create_server(("127.0.0.1", port)):
        other = Receiver(world.api, world.folder)
        assert not other.url.startswith(f"http://127.0.0.1:{port}/")
        other._server.server_close()
    world.folder.close()


def test_a_step_sends_to_the_adze_that_has_resumed_its_run(tmp_path: Path, state: Path) -> None:
    source = f"""
import time
from pathlib import Path
from adze.sdk import output
while not Path({str(tmp_path / "go")!r}).exists():
    time.sleep(0.02)
output({{"text": "x" * 5000}})
"""
    item = manifest(
        "again",
        {"name": "a", "largeOutput": True, "script": {"source": source}},
        output={"n": "${size(steps.a.output.text)}"},
    )
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps(item))
    process = start("run", str(file), state=state)
    until("started", lambda: list(state.glob("adze/runs/*/pods/*/pid")))
    process.kill()
    process.communicate()
    (tmp_path / "go").touch()
    done = adze("run", str(file), "--resume", state=state)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"n": 5000}), done.stderr


def test_many_outputs_of_items_come_as_files(tmp_path: Path, state: Path) -> None:
    write = "from adze.sdk import output\noutput({'text': 'x' * 4000})"
    read = """
import json
from pathlib import Path
from adze.sdk import context, output
pages = Path(context()["steps"]["a"]["outputs"]).glob("*.json")
output({"found": sorted(index for page in pages for index in json.loads(page.read_text()))})
"""
    each = {"name": "a", "forEach": "input.list", "script": {"source": write}}
    count = {"name": "b", "parents": ["a"], "script": {"source": read}}
    item = manifest(
        "files", each, count, spec={"input": {"list": list(range(20))}}, output={"n": "${size(steps.b.output.found)}"}
    )
    (tmp_path / "run.yaml").write_text(json.dumps(item))
    done = adze("run", str(tmp_path / "run.yaml"), state=state)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"n": 20}), done.stderr


def test_containers_can_not_send_to_this_machine(tmp_path: Path, state: Path) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "docker").chmod(0o755)
    item = manifest("c", {"name": "a", "largeOutput": True, "image": "x:1", "command": ["true"]})
    (tmp_path / "run.yaml").write_text(json.dumps(item))
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = adze("run", str(tmp_path / "run.yaml"), "--containers", state=state, more=path)
    assert (done.returncode, "step a: largeOutput in a container needs a cluster" in done.stderr) == (2, True), (
        done.stderr
    )
