"""Refusals, outcomes and the end of a run, call by call."""

from datetime import timedelta

import pytest

from adze.core import protocol
from adze.core.calls import CreatePod, DeletePod, DeleteRun, Failure, ListPods, Problem, Release, WriteStatus
from adze.core.model import Run
from adze.core.observed import Refusal
from tests.builders import (
    NOW,
    UID,
    asking,
    deleting,
    failed,
    named,
    opened,
    pod,
    released,
    run,
    running,
    seconds,
    step,
    succeeded,
    workflow,
)
from tests.core.dialogue import (
    NOT_FOUND,
    QUOTA,
    REJECTED,
    UNKNOWN,
    Dialogue,
    accepted,
    after,
    claimed,
    pod_name,
    reconcile,
)

ONE = workflow(step("a"))
TWO = workflow(step("a"), step("b"))
CHAIN = workflow(step("a"), step("b", parents=["a"]))


def to_end(talk: Dialogue) -> Dialogue:
    while talk.result is None:
        assert "CreatePod" not in talk.kinds
        talk.accept()
    return talk


def test_a_quota_is_shown_at_once_and_asked_again_after_five_seconds() -> None:
    subject = claimed(ONE)
    talk = reconcile(subject).answer(QUOTA)
    status = talk.call(WriteStatus).status
    assert (status.steps[0].reason, status.steps[0].message) == ("QuotaExceeded", QUOTA.message)
    assert status.reason == "QuotaExceeded"
    talk = to_end(talk.accept())
    assert talk.result is not None
    refusal = talk.result.refusals[pod_name(subject, "a")]
    assert (refusal.lasting, refusal.pause, refusal.retry_at) == (False, seconds(5), NOW + seconds(5))
    assert talk.result.wake == NOW + seconds(5)


def test_the_pause_doubles_up_to_a_minute() -> None:
    subject, now = claimed(ONE), NOW
    refusals: dict[str, Refusal] = {}
    pauses = []
    for _ in range(6):
        talk = reconcile(subject, now, refusals=refusals)
        talk.answer(QUOTA)
        while talk.result is None:
            write = [call for call in talk.calls if isinstance(call, WriteStatus)]
            subject = after(write[0]) if write else subject
            talk.answer(*(subject if isinstance(call, WriteStatus) else None for call in talk.calls))
        refusals = dict(talk.result.refusals)
        pauses.append(refusals[pod_name(subject, "a")].pause)
        now += pauses[-1]
    assert pauses == [seconds(number) for number in (5, 10, 20, 40, 60, 60)]


def test_nothing_is_created_before_the_pause_is_over() -> None:
    subject = claimed(ONE)
    waiting = Refusal("QuotaExceeded", QUOTA.message, False, NOW, seconds(5), NOW + seconds(5))
    talk = to_end(reconcile(subject, NOW + seconds(4), refusals={pod_name(subject, "a"): waiting}))
    assert talk.result is not None
    assert talk.result.wake == NOW + seconds(5)


def test_a_refusal_is_forgotten_once_the_pod_is_there() -> None:
    subject = claimed(ONE)
    name = pod_name(subject, "a")
    past = Refusal("QuotaExceeded", QUOTA.message, False, NOW, seconds(5), NOW)
    talk = reconcile(subject, refusals={name: past})
    talk.accept()
    talk.answer(*(pod(name) if isinstance(call, CreatePod) else None for call in talk.calls))
    talk.answer(UNKNOWN)
    assert talk.heard == ["WriteStatus", "CreatePod", "ReadRun"]
    assert talk.result is not None
    assert talk.result.refusals == {}


def test_a_rejected_pod_fails_its_step_in_the_same_pass() -> None:
    talk = reconcile(claimed(ONE)).answer(REJECTED)
    assert talk.kinds == ["ListPods"], "another process may have created it"
    status = talk.accept().call(WriteStatus).status
    assert (status.steps[0].phase, status.steps[0].reason) == ("Failed", "PodRejected")
    assert status.steps[0].message == REJECTED.message
    while "ListPods" not in talk.kinds:
        talk.accept()
    assert talk.accept().call(WriteStatus).status.phase == "Failed", "once a LIST has shown that there is no such Pod"


def test_a_pod_that_another_process_has_created_is_not_rejected() -> None:
    subject = claimed(ONE)
    theirs = pod(pod_name(subject, "a"))
    talk = reconcile(subject).answer(REJECTED).answer(named([theirs]))
    assert talk.kinds == ["ReadRun"]
    talk.answer(subject).answer(opened(theirs))
    assert talk.result is not None
    assert talk.result.refusals == {}
    assert "WriteStatus" not in talk.heard


def test_a_new_refusal_beside_an_old_one_is_shown_at_once() -> None:
    subject = claimed(workflow(step("b"), step("a")))
    old = Refusal("QuotaExceeded", QUOTA.message, False, NOW, seconds(5), NOW)
    talk = reconcile(subject, refusals={pod_name(subject, "a"): old})
    if "WriteStatus" in talk.kinds:
        talk.accept()
    assert talk.kinds == ["CreatePod", "CreatePod"]
    talk.answer(REJECTED, QUOTA)
    while "ListPods" not in talk.kinds:
        talk.accept()
    assert talk.accept().call(WriteStatus).status.steps[0].reason == "PodRejected"


def test_a_pod_created_in_this_pass_is_not_created_again_because_another_was_refused() -> None:
    subject = claimed(TWO)
    talk = reconcile(subject).answer(pod(pod_name(subject, "a")), QUOTA)
    assert talk.kinds == ["ReadRun"]
    talk.answer(subject)
    talk.answer(opened(pod(pod_name(subject, "a"))))
    to_end(talk)


@pytest.mark.parametrize("problem", [UNKNOWN, Problem(Failure.CONFLICT, "Conflict", "")])
def test_an_unknown_answer_to_a_create_is_looked_at_again_soon(problem: Problem) -> None:
    talk = to_end(reconcile(claimed(ONE)).answer(problem))
    assert talk.result is not None
    assert (talk.result.again, talk.result.refusals) == (True, {})


def test_the_outcome_is_written_before_the_finalizer_goes() -> None:
    subject = claimed(CHAIN)
    ended = succeeded(opened(pod(pod_name(subject, "a"))), {"x": 1})
    talk = reconcile(subject, pods=named([ended]))
    assert talk.kinds == ["WriteStatus"]
    assert talk.call(WriteStatus).status.steps[0].output == {"x": 1}
    talk.accept()
    assert talk.kinds == ["CreatePod"], "one write for the outcome and the next claim"
    next_pod = pod(talk.call(CreatePod).manifest["metadata"]["name"])
    talk.answer(next_pod)
    assert talk.kinds == ["ReadRun"], "the next step doesn't wait for the release"
    talk.answer(UNKNOWN)
    assert talk.call(Release).pod == ended


def test_an_outcome_that_could_not_be_written_keeps_the_finalizer() -> None:
    subject = claimed(CHAIN)
    talk = reconcile(subject, pods=named([succeeded(opened(pod(pod_name(subject, "a"))))])).answer(UNKNOWN)
    assert talk.heard == ["WriteStatus"]


def test_the_end_is_withdraw_then_delete_then_list_then_the_terminal_write() -> None:
    subject = asking(claimed(CHAIN), cancel=True)
    alive = running(opened(pod(pod_name(subject, "a"))))
    talk = reconcile(subject, pods=named([alive]))
    write = talk.call(WriteStatus)
    assert (write.status.phase, write.status.steps[0].phase) == ("Running", "Cancelled")
    assert write.status.steps[0].attempts[0].finish_time == NOW
    talk.accept()
    assert talk.call(DeletePod).pod == alive
    assert talk.call(Release).pod == alive
    assert to_end(talk).heard.count("WriteStatus") == 1, "the Pod still runs"

    subject, dead = after(write), deleting(failed(alive, 137))
    talk = reconcile(subject, pods=named([dead]))
    talk = reconcile(subject, pods=named([released(dead)])) if "Release" in talk.kinds else talk
    assert talk.kinds == ["ListPods"], "only a LIST after the withdrawal tells that nothing else of it runs"
    talk.answer({})
    assert talk.call(WriteStatus).status.phase == "Cancelled"


def test_a_pod_that_only_the_list_shows_is_deleted_and_the_run_waits_for_it() -> None:
    subject = asking(claimed(ONE), cancel=True)
    talk = reconcile(subject).accept()
    assert talk.kinds == ["ListPods"]
    hidden = running(opened(pod(pod_name(subject, "a"))))
    talk.answer(named([hidden]))
    assert talk.call(DeletePod).pod == hidden
    while talk.result is None:
        assert "WriteStatus" not in talk.kinds
        talk.answer(*(named([deleting(hidden)]) if isinstance(call, ListPods) else None for call in talk.calls))


def test_a_list_that_fails_ends_nothing() -> None:
    talk = reconcile(asking(claimed(ONE), cancel=True)).accept().answer(UNKNOWN)
    assert talk.heard == ["WriteStatus", "ListPods"]
    assert talk.result is not None
    assert talk.result.again


def test_a_vanished_pod_is_not_created_again_before_the_list_that_decides() -> None:
    subject = claimed(ONE)
    talk = reconcile(subject, vanished=frozenset({pod_name(subject, "a")}))
    assert talk.kinds == ["ListPods"]
    talk.answer({})
    assert talk.call(WriteStatus).status.steps[0].reason == "PodLost"


def finished(**retention: str) -> Run:
    subject = claimed(workflow(step("a"), **({"retention": retention} if retention else {})))
    ended = succeeded(opened(pod(pod_name(subject, "a"))))
    return after(reconcile(subject, pods=named([ended])).call(WriteStatus))


def test_a_finished_run_lets_go_of_its_pods_and_is_never_written_again() -> None:
    subject = finished()
    left = succeeded(opened(pod(pod_name(subject, "a"))))
    talk = reconcile(subject, NOW + seconds(9), pods=named([left]))
    assert talk.calls == [Release(left)]
    assert talk.nothing().result is not None
    assert to_end(reconcile(subject, pods=named([released(left)]))).heard == []


def test_an_expired_run_is_deleted_in_the_version_that_was_seen() -> None:
    subject = finished(ttl="1h")
    early = to_end(reconcile(subject))
    assert early.result is not None
    assert early.result.wake == NOW + timedelta(hours=1)
    assert reconcile(subject, NOW + timedelta(hours=1)).calls == [DeleteRun(subject)]


def test_a_refused_run_is_left_alone() -> None:
    talk = reconcile(run(workflow(step("a", when="wat"))))
    subject = after(talk.call(WriteStatus))
    assert reconcile(subject).heard == []


@pytest.mark.parametrize("answer", ["gone", "another", "deleting"])
def test_pods_of_a_run_that_is_gone_are_let_go(answer: str) -> None:
    alive, ended = running(opened(pod("one"))), failed(opened(pod("two")))
    answers = {
        "gone": NOT_FOUND,
        "another": run(ONE, uid="another"),
        "deleting": deleting(run(ONE)),
    }
    talk = Dialogue(protocol.abandon("shop", "hello-1", UID, [alive, ended, released(deleting(alive))]))
    assert talk.kinds == ["ReadRun"]
    talk.answer(answers[answer])
    assert talk.calls == [DeletePod(alive), Release(alive), Release(ended)]
    assert talk.nothing().result == protocol.Pass()


@pytest.mark.parametrize("answer", [run(ONE), UNKNOWN])
def test_pods_of_a_run_that_may_be_alive_are_kept(answer: object) -> None:
    talk = Dialogue(protocol.abandon("shop", "hello-1", UID, [running(pod())])).answer(answer)
    assert talk.heard == ["ReadRun"]
    assert talk.result == protocol.Pass(again=True)


def test_pods_orphaned_by_a_cascading_delete_run_on_but_none_starts() -> None:
    gated, alive = pod("one"), running(opened(pod("two")))
    talk = Dialogue(protocol.abandon("shop", None, UID, [gated, alive]))
    assert talk.calls == [DeletePod(gated), Release(gated), Release(alive)]


def test_a_pass_ends_even_if_the_list_shows_something_new_each_time() -> None:
    subject = asking(claimed(ONE), cancel=True)
    hidden = running(opened(pod(pod_name(subject, "a"))))
    talk = reconcile(subject)
    for _ in range(40):
        if talk.result is None:
            talk.answer(*(named([hidden]) if isinstance(call, ListPods) else accepted(call) for call in talk.calls))
    assert talk.result is not None
