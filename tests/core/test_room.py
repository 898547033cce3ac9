"""How large a run may get, and how one ends that the API server finds too large."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from adze.core import names, planner, rerun, room
from adze.core.calls import (
    TOO_LARGE,
    CreatePod,
    DeletePod,
    Failure,
    ListEvents,
    ListPods,
    OpenGate,
    Problem,
    ReadRun,
    WriteStatus,
)
from adze.core.carrier import Carrier
from adze.core.model import Phase, RerunOf, Run
from tests.builders import NOW, Drive, failed, opened, run, step, stored, succeeded, workflow
from tests.core.dialogue import accepted, after, claimed, reconcile
from tests.core.test_wait_for import tell, wait

REFUSED = Problem(Failure.REFUSED, TOO_LARGE, "etcdserver: request is too large")


def size(subject: Run) -> int:
    return len(msgspec.json.encode(subject))


class Small:
    """An API server that takes no run of more than `limit` bytes, and what its Pods and events are."""

    def __init__(self, subject: Run, limit: int, pods: Mapping[str, Carrier] | None = None, events: Any = ()) -> None:
        self.run, self.limit, self.events = subject, limit, list(events)
        self.pods: dict[str, Any] = dict(pods or {})
        self.refused = 0

    def settle(self, **outputs: Any) -> Run:
        """Passes until they change nothing more; Pods that run end with their step's output."""
        for _ in range(40):
            before, pods = self.run, dict(self.pods)
            talk = reconcile(self.run, pods=pods)
            while talk.calls:
                talk.answer(*map(self._answer, talk.calls))
            self.pods = {
                name: one if one.gated or one.ended else succeeded(one, outputs.get(one.metadata.labels[names.STEP]))
                for name, one in self.pods.items()
            }
            if (before, pods) == (self.run, self.pods):
                return self.run
        raise AssertionError(f"no rest: {self.run.status.phase} {self.run.status.reason}")

    def _answer(self, call: Any) -> Any:
        match call:
            case WriteStatus():
                written = after(call)
                if size(written) > self.limit:
                    self.refused += 1
                    return REFUSED
                self.run = written
                return written
            case ListPods():
                return dict(self.pods)
            case ListEvents():
                return [event for event in self.events if any(awaited.means(event) for awaited in call.awaits)]
            case ReadRun():
                return self.run
            case CreatePod():
                created = accepted(call)
                self.pods[created.name] = created
                return created
            case OpenGate():
                self.pods[call.pod.name] = opened(self.pods[call.pod.name])
                return self.pods[call.pod.name]
            case DeletePod():
                del self.pods[call.pod.name]
        return None


def test_an_input_that_leaves_no_room_is_refused_with_its_size() -> None:
    one = workflow(step("a"))
    status = planner.begin(run(one, input={"text": "x" * 1_200_000}), None, NOW).status
    assert status is not None
    assert (status.phase, status.reason, status.workflow_spec) == (Phase.FAILED, "RunTooLarge", None)
    assert "spec.input leaves too little room: of " in (status.message or "")
    assert "its input 1200011" in (status.message or "")
    kept = planner.begin(run(one, input={"text": "x" * 1_000_000}), None, NOW).status
    assert kept is not None
    assert kept.workflow_spec is not None


def test_an_inline_workflow_counts_twice_and_a_named_one_once() -> None:
    large = workflow(*(step(f"s{name}", args=["x" * 30000]) for name in "abcdefghijkl"))
    given = {"text": "x" * 500_000}
    inline = planner.begin(run(large, input=given), None, NOW).status
    named = planner.begin(run("hello", input=given), stored(large), NOW).status
    assert inline is not None
    assert named is not None
    assert (inline.reason, named.reason) == ("RunTooLarge", None)
    assert "the workflow 72" in (inline.message or "")


def test_outputs_get_what_the_input_leaves() -> None:
    waits = [wait(f"a{n}", event=f"e{n}") for n in range(5)]
    drive = Drive(workflow(*waits), input={"text": "x" * 1_000_000}).until_quiet()
    for n in range(5):
        tell(drive, f"e{n}", f"e{n}", **{f"k{n}": "y" * 60_000})
    assert [drive.step(f"a{n}").reason for n in range(5)] == [None, None, None, "OutputTooLarge", "OutputTooLarge"]
    message = drive.step("a3").message or ""
    assert message == "the outputs of the run's steps together are larger than 233 KiB"
    assert size(drive.run) < room.LIMIT


def test_texts_are_cut_before_a_run_is_too_large() -> None:
    many = {"retries": 9, "backoff": {"type": "Constant", "base": "1s"}, "env": [{"name": "N", "value": "x" * 1500}]}
    drive = Drive(workflow(*(step(f"s{n}", **many) for n in range(200)))).until_quiet()
    sizes = [size(drive.run)]
    for _ in range(10):
        for n in range(200):
            name = drive.attempt(f"s{n}").pod
            drive.pods[name] = failed(drive.pods[name], message="m" * 2000, at=drive.now)
        sizes.append(size(drive.until_quiet().run))
        drive.pass_time(2)
    assert drive.phase is Phase.FAILED
    assert drive.step("s199").attempts[-1].number == 10
    assert max(sizes) < room.LIMIT + 1000
    assert any(late < early for early, late in pairwise(sizes)), "some texts went"


@pytest.mark.parametrize("spare", range(2000, 16000, 500))
def test_whatever_room_there_is_a_run_ends(spare: int) -> None:
    spec = workflow(
        *(step("a"), step("b"), step("c", parents=["a"]), step("d", for_each="input.list", max_parallel=2)),
        on_failure=step("alarm"),
        finally_=[step("tidy")],
    )
    subject = claimed(spec, input={"list": [1, 2, 3]})
    world = Small(subject, size(subject) + spare)
    ended = world.settle(**{name: {"k": "y" * 1500} for name in ("a", "b", "c", "d", "tidy")})
    assert ended.status.phase.final
    assert (ended.status.phase is Phase.SUCCEEDED) is (world.refused == 0)
    assert all(one.phase.final for one in ended.status.steps)
    assert all(one.ended for one in world.pods.values())


def test_a_run_whose_status_is_refused_as_too_large_ends_as_by_its_deadline() -> None:
    subject = claimed(workflow(step("a"), step("b", parents=["a"]), finally_=[step("tidy")]))
    world = Small(subject, size(subject) + 3500)
    ended = world.settle(a={"k": "y" * 4000})
    assert world.refused > 0
    assert {one.name: (one.phase, one.reason) for one in ended.status.steps} == {
        "a": ("Failed", "RunTooLarge"),
        "b": ("Cancelled", "RunTooLarge"),
        "tidy": ("Succeeded", None),
    }
    assert (ended.status.phase, ended.status.reason) == (Phase.FAILED, "RunTooLarge")


def test_a_run_that_has_no_room_at_all_gives_its_outputs_up() -> None:
    spec = workflow(wait("a", event="one"), wait("b", event="two", parents=["a"]))
    drive = tell(Drive(spec).until_quiet(), "one", "e1", text="y" * 3000)
    events = tell(Drive(spec).until_quiet(), "two", "e2", text="z" * 3000).events
    world = Small(drive.run, size(drive.run), events=events)
    ended = world.settle()
    assert (ended.status.phase, ended.status.reason) == (Phase.FAILED, "RunTooLarge")
    a = ended.status.steps[0]
    assert (a.phase, a.output, a.reason) == (Phase.SUCCEEDED, None, "RunTooLarge")
    again = run(spec, name="again", rerun_of=RerunOf(run="hello-1", from_="b"))
    assert "lost outputs" in (rerun.refusal(again, ended) or "")
    whole = run(spec, name="again", rerun_of=RerunOf(run="hello-1"))
    assert rerun.refusal(whole, ended) is None


def test_an_output_of_the_run_that_is_refused_is_left_out() -> None:
    subject = claimed(workflow(step("a"), step("b", parents=["a"]), output={"all": "${steps.a.output}"}))
    ended = Small(subject, size(subject) + 5000).settle(a={"k": "y" * 3000})
    assert (ended.status.phase, ended.status.reason, ended.status.output) == (Phase.FAILED, "RunTooLarge", None)
    assert [one.phase for one in ended.status.steps] == [Phase.SUCCEEDED, Phase.SUCCEEDED]
    assert ended.status.steps[0].output is not None


def test_a_run_that_is_refused_before_it_starts_ends_without_its_workflow() -> None:
    subject = run(workflow(step("a", args=["x" * 3000])))
    world = Small(subject, size(subject) + 2500)
    ended = world.settle()
    assert (ended.status.phase, ended.status.reason) == (Phase.FAILED, "RunTooLarge")
    assert (ended.status.workflow_spec, ended.status.steps) == (None, ())


def test_the_end_of_a_fan_out_that_is_too_large_lasts() -> None:
    subject = claimed(workflow(step("a", for_each="input.list", max_parallel=2)), input={"list": list(range(9))})
    world = Small(subject, size(subject) + 3000)
    ended = world.settle(a={"k": "y" * 1000})
    items = ended.status.steps[0].items
    assert items is not None
    assert (ended.status.phase, ended.status.reason) == (Phase.FAILED, "StepFailed")
    assert "RunTooLarge: the run has grown larger than" in (ended.status.message or "")
    assert (items.succeeded, items.failed, items.cancelled) == ("0-1", "2-3", "4-8")
