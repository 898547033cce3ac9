"""Pages of outputs: written before the status that names them, read when a plan needs them."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from adze.core import fanout
from adze.core.calls import CreatePage, CreatePod, ReadPage, WriteStatus
from adze.core.model import Run
from tests.builders import NOW, Drive, named, opened, step, succeeded, workflow
from tests.core.dialogue import EXISTS, NOT_FOUND, UNKNOWN, Dialogue, reconcile

SPEC = workflow(
    step("a", for_each="input.list"),
    step("b", parents=["a"], args=["${steps.a.output.map(o, o.text)}"]),
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages after a few bytes."""
    monkeypatch.setattr(fanout, "INLINE_LIMIT", 5)


def drive() -> Drive:
    return Drive(SPEC, input={"list": [1, 2]}).until_quiet()


def ending() -> Dialogue:
    """A pass in which the first of two items has ended."""
    one = drive()
    pod = one.pods[one.attempt("a[0]").pod]
    one.pods[pod.name] = succeeded(opened(pod), {"text": "x"})
    return reconcile(one.run, pods=one.pods)


def test_a_page_is_written_before_the_status_that_names_it() -> None:
    dialogue = ending()
    assert dialogue.kinds == ["CreatePage"]
    manifest = dialogue.call(CreatePage).manifest
    assert (manifest["kind"], manifest["immutable"]) == ("ConfigMap", True)
    assert msgspec.json.decode(manifest["data"]["outputs.json"]) == {"0": {"text": "x"}}
    dialogue.nothing()
    assert dialogue.kinds == ["WriteStatus"]
    items = dialogue.call(WriteStatus).status.steps[0].items
    assert items is not None
    assert (items.pages, items.outputs) == ((manifest["metadata"]["name"],), None)


def test_a_page_that_is_there_is_the_same() -> None:
    assert ending().answer(EXISTS).kinds == ["WriteStatus"]


def test_without_its_page_no_status_is_written() -> None:
    dialogue = ending().answer(UNKNOWN)
    assert dialogue.result is not None
    assert dialogue.result.again


def waiting() -> tuple[Run, dict[str, Any]]:
    """A run whose step b has been claimed by somebody whose Pod isn't there, and the pages that it reads."""
    one = drive()
    one.succeed("a[0]", output={"text": "x"}).succeed("a[1]", output={"text": "y"})
    assert one.live == {"b"}
    return one.run, one.pages


def test_a_manifest_waits_for_the_pages_that_it_reads() -> None:
    run, pages = waiting()
    dialogue = reconcile(run)
    assert dialogue.kinds == ["ReadPage", "ReadPage"]
    assert {call.name for call in dialogue.calls if isinstance(call, ReadPage)} == set(pages)
    dialogue.answer(*(pages[call.name] for call in dialogue.calls if isinstance(call, ReadPage)))
    assert dialogue.kinds == ["CreatePod"]
    container = dialogue.call(CreatePod).manifest["spec"]["containers"][0]
    assert container["args"] == ['["x","y"]']


def test_a_page_that_can_not_be_read_now_is_read_later() -> None:
    dialogue = reconcile(waiting()[0]).answer(UNKNOWN, UNKNOWN)
    assert dialogue.heard == ["ReadPage", "ReadPage"]
    assert dialogue.result is not None
    assert dialogue.result.again


def test_a_claimed_attempt_whose_pages_were_deleted_fails() -> None:
    dialogue = reconcile(waiting()[0]).answer(NOT_FOUND, NOT_FOUND)
    assert dialogue.kinds == ["ListPods"]
    status = dialogue.answer({}).call(WriteStatus).status.steps[1]
    assert (status.phase, status.reason) == ("Failed", "PodRejected")
    assert "a ConfigMap with outputs of the step's items was deleted" in (status.message or "")


def test_a_plan_reads_pages_too() -> None:
    run, pages = waiting()
    steps = [
        msgspec.structs.replace(status, attempts=()) if status.name == "b" else status for status in run.status.steps
    ]
    run = msgspec.structs.replace(run, status=msgspec.structs.replace(run.status, steps=tuple(steps)))
    dialogue = reconcile(run)
    assert dialogue.kinds == ["ReadPage", "ReadPage"]
    dialogue.answer(NOT_FOUND, *list(pages.values())[1:])
    status = dialogue.call(WriteStatus).status.steps[1]
    assert (status.phase, status.reason) == ("Failed", "ExpressionError")


def test_a_wide_run_rests_after_a_pass() -> None:
    one = Drive(workflow(step("a", for_each="input.list", max_parallel=2)), input={"list": list(range(400))})
    one.until_quiet()
    dialogue = reconcile(one.run, pods=named(map(opened, one.pods.values())))
    assert dialogue.result is not None
    assert dialogue.result.rest == timedelta(milliseconds=40)


def test_a_run_with_more_to_claim_does_not_rest() -> None:
    wide = Drive(workflow(step("a", for_each="input.list")), input={"list": list(range(400))})
    dialogue = reconcile(wide.run)
    while dialogue.result is None:
        if "ReadRun" in dialogue.kinds:
            dialogue.answer(NOT_FOUND)
        else:
            dialogue.accept()
    assert dialogue.heard.count("CreatePod") == fanout.WAVE
    assert (dialogue.result.wake, dialogue.result.rest) == (NOW, timedelta(0))
