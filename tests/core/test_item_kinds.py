"""forEach over every kind of step: each item has a wait, a Job or a child run of its own."""

from typing import Any

import pytest

from adze.core.calls import CreatePod, WriteStatus
from adze.core.names import ITEM
from tests.builders import NOW, Drive, bare_step, run, seconds, step, workflow
from tests.core.dialogue import reconcile
from tests.core.test_objects import WORK
from tests.core.test_wait_for import tell


def over(*items: Any, **fields: Any) -> Drive:
    """A run of one forEach step over these items."""
    return Drive(workflow(bare_step("a", for_each="input.items", **fields)), input={"items": list(items)}).until_quiet()


def test_each_item_sleeps_its_own_time() -> None:
    drive = over("2s", "1s", sleep={"duration": "${item}"})
    assert drive.live == {"a[0]", "a[1]"}
    assert drive.until_wake().now == NOW + seconds(1)
    assert drive.items("a").succeeded == "1"
    assert drive.step("a").message == "1/2 items; a[0]: Sleeping: until 2026-03-01T12:00:02Z"
    assert drive.until_wake().phase == "Succeeded"


def test_each_item_waits_for_its_own_event() -> None:
    drive = over("o-1", "o-2", wait_for={"event": "paid", "filter": "event.data.order == item"})
    tell(drive, "paid", order="o-2")
    assert drive.items("a").succeeded == "1"
    tell(drive, "paid", "first", order="o-1")
    outputs = drive.items("a").outputs or {}
    assert [outputs[index]["id"] for index in ("0", "1")] == ["id-first", "id-e"]


JOB = {"spec": {"template": {"spec": {"containers": [WORK | {"command": ["go", "${item}"]}]}}}}


@pytest.mark.parametrize(
    ("kind", "field", "fields"),
    [
        ("WorkflowRun", "run", {"workflow": {"name": "child", "input": {"n": "${item}", "place": "${index}"}}}),
        ("Job", "job", {"job": JOB}),
    ],
)
def test_each_item_has_an_object_of_its_own(kind: str, field: str, fields: Any) -> None:
    subject = run(workflow(step("a", for_each="input.list", **fields)), input={"list": [5, 7], "n": 0})
    talk = reconcile(subject)
    claims = {part.name: part.attempts[-1] for part in talk.call(WriteStatus).status.parts() if part.attempts}
    talk.accept()
    made = [call.manifest for call in talk.calls if isinstance(call, CreatePod)]
    assert [one["kind"] for one in made] == [kind, kind]
    assert {one["metadata"]["labels"][ITEM]: one["metadata"]["name"] for one in made} == {
        "0": getattr(claims["a[0]"], field),
        "1": getattr(claims["a[1]"], field),
    }
    if kind == "Job":
        commands = [one["spec"]["template"]["spec"]["containers"][0]["command"] for one in made]
        assert commands == [["go", "5"], ["go", "7"]]
    else:
        assert [one["spec"]["input"] for one in made] == [{"n": 5, "place": 0}, {"n": 7, "place": 1}]
