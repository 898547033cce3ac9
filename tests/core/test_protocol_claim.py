"""Claim, create, read, open: the order of calls that keeps an attempt from being lost or doubled."""

from collections.abc import Callable

import msgspec
import pytest

from adze.core.calls import CreatePod, DeletePod, OpenGate, ReadPod, ReadRun, ReadWorkflow, WriteStatus
from adze.core.model import Phase, Run
from tests.builders import UID, asking, deleting, named, opened, pod, run, step, stored, workflow
from tests.core.dialogue import (
    CONFLICT,
    EXISTS,
    NOT_FOUND,
    UNKNOWN,
    after,
    claimed,
    pod_name,
    reconcile,
)

ONE = workflow(step("a"))
TWO = workflow(step("a"), step("b"))


def test_claim_then_create_then_read_then_open() -> None:
    talk = reconcile(run(ONE))
    assert talk.kinds == ["WriteStatus"]
    write = talk.call(WriteStatus)
    name = write.status.steps[0].attempts[0].pod
    assert write.status.workflow_spec is not None, "the frozen workflow and the first claims are one write"

    talk.accept()
    assert talk.kinds == ["CreatePod"]
    manifest = talk.call(CreatePod).manifest
    assert manifest["metadata"]["name"] == name
    assert manifest["metadata"]["finalizers"] == ["adze.dev/outcome"]
    assert manifest["spec"]["schedulingGates"] == [{"name": "adze.dev/claim"}]

    created = pod(name, version="77")
    talk.answer(created)
    assert talk.calls == [ReadRun("shop", "hello-1", UID)]
    talk.answer(after(write))
    assert talk.calls == [OpenGate(created)], "with the version read before the run was"
    talk.answer(opened(created))
    assert talk.result is not None


def test_a_named_workflow_is_read_first() -> None:
    talk = reconcile(run("hello"))
    assert talk.calls == [ReadWorkflow("shop", "hello")]
    assert talk.answer(stored(ONE)).kinds == ["WriteStatus"]


def test_a_workflow_that_cannot_be_read_now_is_read_again_soon() -> None:
    talk = reconcile(run("hello")).answer(UNKNOWN)
    assert talk.result is not None
    assert talk.result.again


def test_a_run_without_its_workflow_says_so_and_waits() -> None:
    talk = reconcile(run("hello")).answer(NOT_FOUND)
    assert talk.call(WriteStatus).status.reason == "WorkflowNotFound"
    talk.accept()
    while talk.result is None:
        talk.nothing()
    assert talk.result.wake is not None
    assert "CreatePod" not in talk.heard


def test_a_refused_run_is_written_and_told() -> None:
    talk = reconcile(run(workflow(step("a", when="wat"))))
    assert talk.call(WriteStatus).status.phase == "Failed"
    assert talk.accept().kinds == ["Say"]
    assert talk.nothing().result is not None


@pytest.mark.parametrize("subject", [run(TWO), run(workflow(step("a", when="wat")))], ids=["claims", "refused run"])
@pytest.mark.parametrize("seen", [run(TWO), run(TWO, uid="another"), NOT_FOUND, UNKNOWN])
def test_a_lost_compare_and_swap_stops_before_any_call_about_pods(subject: Run, seen: object) -> None:
    talk = reconcile(subject).answer(CONFLICT)
    assert talk.calls == [ReadRun("shop", "hello-1", UID)], "what is there now decides, not the watch"
    talk.answer(seen)
    assert talk.heard == ["WriteStatus", "ReadRun"]
    assert talk.result is not None
    assert talk.result.again


def test_a_status_write_of_unknown_fate_stops_too() -> None:
    talk = reconcile(run(TWO)).answer(UNKNOWN)
    assert talk.heard == ["WriteStatus"]
    assert talk.result is not None
    assert talk.result.again


def test_a_wave_is_one_claim_one_read_and_its_creates_go_out_together() -> None:
    talk = reconcile(run(workflow(*(step(f"s{number}") for number in range(20)))))
    write = talk.call(WriteStatus)
    talk.accept()
    assert talk.kinds == ["CreatePod"] * 20
    talk.accept()
    assert talk.kinds == ["ReadRun"]
    assert talk.answer(after(write)).kinds == ["OpenGate"] * 20


def test_a_pass_over_a_claim_of_another_process_creates_the_same_pod() -> None:
    talk = reconcile(run(ONE))
    write = talk.call(WriteStatus)
    first = talk.accept().call(CreatePod).manifest
    again = reconcile(after(write)).call(CreatePod).manifest
    assert again == first


def test_a_gated_pod_that_a_crash_left_is_opened() -> None:
    subject = claimed(ONE)
    left = pod(pod_name(subject, "a"))
    talk = reconcile(subject, pods=named([left]))
    assert talk.kinds == ["ReadRun"]
    assert talk.answer(subject).calls == [OpenGate(left)]


def withdrawn(subject: Run) -> Run:
    """The run after another process has cancelled its step."""
    return after(reconcile(asking(subject, cancel=True)).call(WriteStatus))


def final(subject: Run) -> Run:
    status = msgspec.structs.replace(subject.status, phase=Phase.FAILED)
    return msgspec.structs.replace(subject, status=status)


@pytest.mark.parametrize(
    "seen",
    [
        withdrawn,
        final,
        deleting,
        lambda subject: run(ONE),
        lambda subject: run(ONE, uid="another"),
        lambda subject: NOT_FOUND,
        lambda subject: UNKNOWN,
    ],
    ids=["withdrawn", "final", "deleting", "unclaimed", "another", "gone", "unreadable"],
)
def test_the_gate_stays_shut_unless_the_run_stands_behind_the_attempt(seen: Callable[[Run], object]) -> None:
    subject = claimed(ONE)
    talk = reconcile(subject, pods=named([pod(pod_name(subject, "a"))])).answer(seen(subject))
    assert talk.heard == ["ReadRun"]
    assert talk.result is not None


def test_a_gate_that_could_not_be_opened_is_tried_again_soon() -> None:
    subject = claimed(ONE)
    talk = reconcile(subject, pods=named([pod(pod_name(subject, "a"))])).answer(subject).answer(CONFLICT)
    assert talk.result is not None
    assert talk.result.again


def test_a_pod_that_is_there_already_is_adopted() -> None:
    talk = reconcile(run(ONE))
    write = talk.call(WriteStatus)
    name = write.status.steps[0].attempts[0].pod
    talk.accept().answer(EXISTS)
    assert talk.calls == [ReadPod("shop", name)]
    found = pod(name, version="42")
    assert talk.answer(found).kinds == ["ReadRun"]
    assert talk.answer(after(write)).calls == [OpenGate(found)]


@pytest.mark.parametrize("change", [opened, deleting])
def test_an_adopted_pod_that_needs_no_opening_is_left_alone(change: object) -> None:
    talk = reconcile(run(ONE))
    name = talk.call(WriteStatus).status.steps[0].attempts[0].pod
    talk.accept().answer(EXISTS).answer(change(pod(name)))  # type: ignore[operator]
    assert talk.heard == ["WriteStatus", "CreatePod", "ReadPod"]
    assert talk.result is not None


def test_a_pod_of_somebody_else_under_our_name_fails_the_step() -> None:
    talk = reconcile(run(ONE))
    name = talk.call(WriteStatus).status.steps[0].attempts[0].pod
    talk.accept().answer(EXISTS).answer(pod(name, owner="somebody"))
    assert talk.kinds == ["ListPods"]
    status = talk.accept().call(WriteStatus).status
    assert (status.steps[0].phase, status.steps[0].reason) == ("Failed", "NameCollision")
    assert name in (status.steps[0].message or "")
    talk.accept()
    while talk.result is None:
        assert not {OpenGate, DeletePod} & {type(call) for call in talk.calls}
        talk.accept()
    assert talk.heard[-2:] == ["WriteStatus", "Say"]


def test_a_foreign_pod_with_our_labels_fails_the_step_too() -> None:
    subject = claimed(ONE)
    foreign = pod(pod_name(subject, "a"), owner="somebody")
    talk = reconcile(subject, pods=named([foreign]))
    assert talk.kinds == ["CreatePod"]
    talk.answer(EXISTS).answer(foreign)
    assert talk.accept().call(WriteStatus).status.steps[0].reason == "NameCollision"
