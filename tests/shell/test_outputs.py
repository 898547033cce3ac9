"""The receiver of large outputs: 200 means stored, and its body is what the step writes."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from adze.core import fanout, outputs
from adze.core.model import Attempt, ItemsStatus, ItemStatus, OutputPage, Phase, RunStatus, StepStatus
from adze.shell.access import TOKENS
from adze.shell.outputs import IN_FLIGHT, PATH, POD_NAME, POD_UID, Receiver
from tests.builders import NAMESPACE, UID, pod, running, succeeded
from tests.shell.fake_cluster import FakeCluster, Object, error

Client = TestClient[Any, Any]
POD = "hello-1-a-1"
PAGE = f"{POD}-output"
TOKEN = {"Authorization": "Bearer good"}


class World:
    """A cluster with a run, of which a Pod of step a runs, and a token for it."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.cluster.answers = {TOKENS: self._review}
        self.audiences = ["adze.dev"]
        self.user: Object = {
            "username": f"system:serviceaccount:{NAMESPACE}:default",
            "extra": {POD_NAME: [POD], POD_UID: [f"pod-{POD}"]},
        }
        self.put_pod(running(pod(POD)))
        self.put_run(StepStatus(name="a", phase=Phase.RUNNING, attempts=(Attempt(number=1, pod=POD),)))
        cluster: Any = self.cluster
        self.receiver = Receiver(cluster, (NAMESPACE,))

    def _review(self, body: Object) -> Object:
        assert body["spec"]["audiences"] == ["adze.dev"]
        known = body["spec"]["token"] == "good"
        status = {"authenticated": known, "user": self.user, "audiences": self.audiences}
        return {"status": status if known else {"authenticated": False}}

    def put_pod(self, one: Any) -> None:
        self.cluster.objects["pods", NAMESPACE, one.name] = msgspec.to_builtins(one)

    def put_run(self, *steps: StepStatus, uid: str = UID) -> None:
        status = msgspec.to_builtins(RunStatus(phase=Phase.RUNNING, steps=steps))
        metadata = {"name": "hello-1", "namespace": NAMESPACE, "uid": uid}
        self.cluster.objects["workflowruns", NAMESPACE, "hello-1"] = {
            "metadata": metadata,
            "spec": {},
            "status": status,
        }

    @property
    def pages(self) -> list[Object]:
        return self.cluster.of("configmaps")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    async with TestClient(TestServer(world.receiver.server().app), auto_decompress=False) as client:
        yield client


async def send(client: Client, body: Any = b'{"n": 1}', headers: dict[str, str] = TOKEN) -> tuple[int, Any]:
    """Status and body of the answer."""
    async with client.post(PATH, data=body, headers=headers) as answer:
        found = json.loads(await answer.read())
        if answer.status >= 400:
            assert answer.content_type == "application/problem+json"
        return answer.status, found


async def test_an_output_becomes_a_page_of_the_run(client: Client, world: World) -> None:
    text = '{"n": 1,  "text": "ü"}'
    status, said = await send(client, text.encode())
    assert (status, said) == (200, outputs.refer(text.encode()))
    (page,) = world.pages
    assert (page["metadata"]["name"], page["immutable"], page["data"]) == (PAGE, True, {"outputs.json": text})
    (owner,) = page["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (UID, True)
    assert outputs.read(text, said["adze.dev/output"]["sha256"]) == {"n": 1, "text": "ü"}


async def test_a_repeat_says_the_same_and_another_output_is_refused(client: Client, world: World) -> None:
    first = await send(client)
    assert await send(client) == first
    status, said = await send(client, b'{"n": 2}')
    assert (status, said["detail"]) == (409, "this attempt has handed over another output before")
    assert len(world.pages) == 1


@pytest.mark.parametrize("change", [{"immutable": False}, {"metadata": {"name": PAGE, "ownerReferences": []}}])
async def test_somebody_elses_page_is_no_answer(client: Client, world: World, change: Object) -> None:
    await send(client)
    world.pages[0].update(change)
    assert (await send(client))[0] == 409


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_answer_that_is_lost_is_no_200(client: Client, world: World, moment: str) -> None:
    def fail(method: str, path: str) -> None:
        if method == "POST" and path.endswith("configmaps"):
            raise error(0, "Unreachable")

    setattr(world.cluster, moment, fail)
    assert (await send(client))[0] == 503
    setattr(world.cluster, moment, lambda method, path: None)
    assert (await send(client))[0] == 200
    assert len(world.pages) == 1


async def test_a_quota_is_told_of(client: Client, world: World) -> None:
    def refuse(method: str, path: str) -> None:
        if path.endswith("configmaps"):
            raise error(403, "Forbidden", "exceeded quota: configmaps=10")

    world.cluster.before = refuse
    status, said = await send(client)
    assert (status, said["detail"]) == (429, "exceeded quota: configmaps=10")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[1]", 400),
        (b"{", 400),
        (b'{"a": "\xff"}', 400),
        (b'{"a":' * 100 + b"1" + b"}" * 100, 400),
        (b"[" * 900_000, 400),
        (json.dumps({"a": "x" * (outputs.LARGEST - 9)}).encode(), 200),
        (json.dumps({"a": "x" * (outputs.LARGEST - 8)}).encode(), 413),
    ],
    ids=str,
)
async def test_what_is_an_output(client: Client, world: World, body: bytes, status: int) -> None:
    assert (await send(client, body))[0] == status
    assert len(world.pages) == (status == 200)


async def test_a_chunked_body_has_the_same_limit(client: Client, world: World) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    assert (await send(client, chunks()))[0] == 413
    assert not world.pages


async def test_an_item_has_less_room(client: Client, world: World) -> None:
    item = ItemStatus(name="a[3]", phase=Phase.RUNNING, attempts=(Attempt(number=1, pod=POD),))
    items = ItemsStatus(total=5, digest="d", active=(item,))
    world.put_run(StepStatus(name="a", phase=Phase.RUNNING, items=items))
    assert (await send(client, json.dumps({"a": "x" * fanout.PAGE_LIMIT}).encode()))[0] == 413
    assert (await send(client))[0] == 200


async def test_a_run_that_is_full_takes_no_more(client: Client, world: World) -> None:
    page = OutputPage(name="b-output", sha256="0" * 64, bytes=outputs.TOGETHER - 7)
    last = (Attempt(number=1, pod=POD),)
    full = StepStatus(name="b", phase=Phase.SUCCEEDED, output_page=page)
    world.put_run(StepStatus(name="a", attempts=last), full)
    assert (await send(client))[0] == 413
    items = ItemsStatus(
        total=5, digest="d", paged=fanout.OUTPUTS_LIMIT, active=(ItemStatus(name="a[3]", attempts=last),)
    )
    world.put_run(StepStatus(name="a", phase=Phase.RUNNING, items=items))
    assert (await send(client))[0] == 413
    assert not world.pages


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Authorization": "Bearer other"}, 401), ({"Authorization": "Basic Z29vZA=="}, 401), ({}, 401)],
)
async def test_who_is_nobody(client: Client, world: World, headers: dict[str, str], status: int) -> None:
    assert (await send(client, headers=headers))[0] == status
    assert not world.pages


async def test_a_token_for_another_audience_is_nobodys(client: Client, world: World) -> None:
    world.audiences = []
    assert (await send(client))[0] == 401


def _outsider(world: World) -> None:
    world.user = {"username": "ada", "extra": {}}


def _unbound(world: World) -> None:
    world.user["extra"] = {}


def _other_namespace(world: World) -> None:
    world.user["username"] = "system:serviceaccount:other:default"


def _gone(world: World) -> None:
    world.cluster.objects.pop(("pods", NAMESPACE, POD))


def _replaced(world: World) -> None:
    world.user["extra"][POD_UID] = ["an older one"]


def _ended(world: World) -> None:
    world.put_pod(succeeded(pod(POD)))


def _closed(world: World) -> None:
    last = Attempt(number=1, pod=POD, finish_time="2026-03-01T12:00:00Z")  # type: ignore[arg-type]
    world.put_run(StepStatus(name="a", attempts=(last,)))


def _unknown(world: World) -> None:
    world.put_run(StepStatus(name="a", attempts=(Attempt(number=2, pod="another"),)))


def _other_run(world: World) -> None:
    world.put_run(StepStatus(name="a", attempts=(Attempt(number=1, pod=POD),)), uid="another")


def _no_run(world: World) -> None:
    world.cluster.objects.pop(("workflowruns", NAMESPACE, "hello-1"))


def _nobodys(world: World) -> None:
    world.cluster.objects["pods", NAMESPACE, POD]["metadata"]["ownerReferences"] = []


@pytest.mark.parametrize(
    "change",
    [
        *(_outsider, _unbound, _other_namespace, _gone, _replaced, _ended),
        *(_closed, _unknown, _other_run, _no_run, _nobodys),
    ],
)
async def test_only_the_pod_of_an_open_attempt_may_send(client: Client, world: World, change: Any) -> None:
    change(world)
    assert (await send(client))[0] == 403
    assert not world.pages


async def test_compressed_bodies_are_refused(client: Client) -> None:
    assert (await send(client, headers={**TOKEN, "Content-Encoding": "gzip"}))[0] == 415


async def test_no_more_than_a_few_at_a_time(client: Client, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [world.receiver._turns.take("outputs") for _ in range(IN_FLIGHT)]
    for turn in held:
        turn.__enter__()
    assert (await send(client))[0] == 429
    held[0].__exit__(None, None, None)
    assert (await send(client))[0] == 200


async def test_there_is_nothing_else_to_ask(client: Client) -> None:
    async with client.get(PATH) as answer:
        assert answer.status == 405
    async with client.get("/") as answer:
        assert answer.status == 404
