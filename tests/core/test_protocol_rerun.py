"""The first pass over a rerun: its source is read, pages are copied, and one write makes it stand on its own."""

from typing import Any

import msgspec
import pytest

from adze.core import fanout
from adze.core.calls import CreatePage, Failure, Problem, ReadPage, ReadRun, WriteStatus
from adze.core.model import RerunOf, Run, RunSpec
from tests.builders import Drive, run, step, workflow
from tests.core.dialogue import EXISTS, NOT_FOUND, UNKNOWN, Dialogue, reconcile

SPEC = workflow(step("a", for_each="input.list"), step("b", parents=["a"]), step("c"))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages after a few bytes."""
    monkeypatch.setattr(fanout, "INLINE_LIMIT", 5)


def ended(failed: str = "b") -> Drive:
    """A run whose step a has its outputs in two pages; of a[1] there is an error if that is what `failed`."""
    drive = Drive(SPEC, input={"list": [1, 2]}).until_quiet().succeed("a[0]", output={"text": "x"}).succeed("c")
    if failed == "b":
        return drive.succeed("a[1]", output={"text": "y"}).fail("b")
    return drive.fail("a[1]")


def rerun(start: str | None = "Failed") -> Run:
    spec = RunSpec(rerun_of=RerunOf(run="hello-1", from_=start))
    return msgspec.structs.replace(run("hello", name="hello-2", uid="new-uid"), spec=spec)


def read(source: Drive, dialogue: Dialogue) -> Dialogue:
    """The source and its pages are answered as they are."""
    call = dialogue.call(ReadRun)
    assert (call.name, call.uid) == ("hello-1", "")
    dialogue.answer(source.run)
    while dialogue.kinds and set(dialogue.kinds) == {"ReadPage"}:
        dialogue.answer(*(source.pages[call.name] for call in dialogue.calls if isinstance(call, ReadPage)))
    return dialogue


def contents(dialogue: Dialogue) -> dict[str, Any]:
    """The pages that are to be created, all of them the rerun's."""
    manifests = [call.manifest for call in dialogue.calls if isinstance(call, CreatePage)]
    assert all(manifest["metadata"]["ownerReferences"][0]["uid"] == "new-uid" for manifest in manifests)
    return {
        manifest["metadata"]["name"]: msgspec.json.decode(manifest["data"]["outputs.json"]) for manifest in manifests
    }


def test_pages_are_copied_before_the_status_that_names_the_copies() -> None:
    source = ended()
    dialogue = read(source, reconcile(rerun()))
    copies = contents(dialogue)
    assert list(copies.values()) == [{"0": {"text": "x"}}, {"1": {"text": "y"}}]
    assert not copies.keys() & source.pages.keys()
    dialogue.nothing()
    items = dialogue.call(WriteStatus).status.steps[0].items
    assert items is not None
    assert (items.pages, items.paged) == (tuple(copies), 2 * len('{"0":{"text":"x"}}'))


def test_errors_of_items_that_run_again_are_not_copied() -> None:
    source = ended("a[1]")
    assert [*source.pages.values()][-1]["1"]["error"]
    dialogue = read(source, reconcile(rerun()))
    assert list(contents(dialogue).values()) == [{"0": {"text": "x"}}]


def test_a_pass_that_died_anywhere_is_repeated_with_the_same_result() -> None:
    source = ended()
    whole = read(source, reconcile(rerun())).nothing()
    wanted = whole.call(WriteStatus).status
    for answers in ((None, EXISTS), (EXISTS, EXISTS)):
        dialogue = read(source, reconcile(rerun()))
        assert dialogue.answer(*answers).call(WriteStatus).status == wanted


@pytest.mark.parametrize("lost", [UNKNOWN, Problem(Failure.LATER, "QuotaExceeded", "exceeded quota")])
def test_without_its_copies_nothing_begins(lost: Problem) -> None:
    dialogue = read(ended(), reconcile(rerun())).answer(None, lost)
    assert dialogue.result is not None
    assert dialogue.result.again
    assert "WriteStatus" not in dialogue.heard


def test_a_source_that_can_not_be_read_now_is_read_later() -> None:
    dialogue = reconcile(rerun()).answer(UNKNOWN)
    assert dialogue.result is not None
    assert dialogue.result.again
    dialogue = reconcile(rerun()).answer(ended().run).answer(UNKNOWN, UNKNOWN)
    assert dialogue.result is not None
    assert dialogue.result.again


def test_no_source_and_no_outputs_are_told() -> None:
    status = reconcile(rerun()).answer(NOT_FOUND).call(WriteStatus).status
    assert (status.reason, "there is no run 'hello-1'" in status.message) == ("RerunRefused", True)
    status = reconcile(rerun()).answer(ended().run).answer({}, NOT_FOUND).call(WriteStatus).status
    assert (status.phase, status.reason) == ("Failed", "RerunRefused")
    assert status.message == "outputs of step a are lost: not found"


def test_what_runs_again_as_a_whole_copies_nothing() -> None:
    assert read(ended(), reconcile(rerun(None))).kinds == ["WriteStatus"]


def test_once_begun_nobody_asks_for_the_source_again() -> None:
    dialogue = read(ended(), reconcile(rerun())).nothing()
    status = dialogue.call(WriteStatus).status
    begun = msgspec.structs.replace(rerun(), status=status)
    assert reconcile(begun).kinds == ["CreatePod"]
