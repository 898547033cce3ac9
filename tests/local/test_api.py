"""The API server in memory answers every call of the protocol."""

from pathlib import Path
from typing import get_args
from uuid import uuid4

import msgspec
import pytest

from adze.core import calls, names
from adze.core.calls import Failure, Problem
from adze.core.model import Metadata, Run, RunStatus
from adze.core.pods import Pod
from adze.local.api import Api
from adze.local.slots import NOT_FOUND
from adze.local.state import Folder
from adze.shell.outside import utcnow
from tests.e2e.kube import run, shell

MANIFEST = {
    "metadata": {"name": "p", "namespace": "default", "finalizers": ["adze.dev/outcome"]},
    "spec": {"schedulingGates": [{"name": "adze.dev/claim"}]},
}


@pytest.fixture
def api(tmp_path: Path) -> Api:
    item = msgspec.convert(run("r", {"name": "a", **shell("true")}), Run)
    folder = Folder(tmp_path / "r")
    metadata = Metadata(name="r", namespace="default", uid=str(uuid4()), resource_version="1")
    folder.save("run", msgspec.structs.replace(item, metadata=metadata))
    return Api(folder, {}, utcnow)


def test_no_call_of_the_protocol_is_unknown(api: Api) -> None:
    assert set(api._verbs) == set(get_args(calls.Call))


async def test_a_status_is_written_by_compare_and_swap(api: Api) -> None:
    old = api.run
    new = await api.do(calls.WriteStatus(old, RunStatus(progress="0/1")))
    assert new.status.progress == "0/1"
    refused = await api.do(calls.WriteStatus(old, RunStatus()))
    assert isinstance(refused, Problem)
    assert refused.failure is Failure.CONFLICT
    assert api.run == new


async def test_a_page_of_outputs_is_read_as_it_was_written(api: Api) -> None:
    assert await api.do(calls.ReadPage("default", "fetch-1")) == NOT_FOUND
    page = {"metadata": {"name": "fetch-1", "namespace": "default"}, "data": {names.PAGE: '{"0":{"rows":2}}'}}
    assert await api.do(calls.CreatePage(page)) is None
    assert await api.do(calls.ReadPage("default", "fetch-1")) == {"0": {"rows": 2}}


async def test_a_pod_is_created_once_opened_by_version_and_gone_when_let_go(api: Api) -> None:
    pod = await api.do(calls.CreatePod(api.run, MANIFEST))
    assert isinstance(pod, Pod)
    again = await api.do(calls.CreatePod(api.run, MANIFEST))
    assert again.failure is Failure.EXISTS
    opened = await api.do(calls.OpenGate(pod))
    assert not opened.gated
    stale = await api.do(calls.OpenGate(pod))
    assert stale.failure is Failure.CONFLICT
    assert await api.do(calls.DeletePod(opened)) is None
    assert api.pods["p"].deleting
    foreign = msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, uid="another"))
    assert (await api.do(calls.Release(foreign))).failure is Failure.CONFLICT


async def test_a_gated_pod_that_is_deleted_and_let_go_is_gone(api: Api) -> None:
    pod = await api.do(calls.CreatePod(api.run, MANIFEST))
    await api.do(calls.DeletePod(pod))
    await api.do(calls.Release(pod))
    assert api.pods == {}
    assert (await api.do(calls.ReadPod("default", "p"))).failure is Failure.NOT_FOUND


async def test_what_was_answered_is_on_disk(api: Api, tmp_path: Path) -> None:
    pod = await api.do(calls.CreatePod(api.run, MANIFEST))
    await api.do(calls.WriteStatus(api.run, RunStatus(progress="0/1")))
    api._folder.close()
    again = Api(Folder(tmp_path / "r"), {}, utcnow)
    assert again.run == api.run
    assert again.pods == {"p": pod}
    assert again.manifests == {"p": MANIFEST}
    later = await again.do(calls.OpenGate(pod))
    assert int(later.metadata.resource_version) > int(api.run.metadata.resource_version)
