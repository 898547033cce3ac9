"""Idempotency keys: the calls by which a run takes its key, or learns whose it is."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from adze.core import keys, names
from adze.core.calls import CreateLease, Failure, Problem, ReadLease, ReadRun, ReplaceLease, WriteStatus
from adze.core.model import Lease, Phase, Run
from adze.core.protocol import Pass
from tests.builders import NOW, run, seconds, step, workflow
from tests.core.dialogue import CONFLICT, NOT_FOUND, UNKNOWN, Dialogue, after, reconcile

EXISTS = Problem(Failure.EXISTS, "AlreadyExists", "leases already exists")
FORBIDDEN = Problem(Failure.REFUSED, "PodRejected", "leases is forbidden")
ONE = workflow(step("a"))


def keyed(**spec: Any) -> Run:
    return run(ONE, idempotency_key="order-7", **spec)


def lease(holder: Run, now: Any = NOW) -> Lease:
    """The Lease as that run has made it."""
    made = keys.manifest(holder, now)
    return msgspec.convert({**made, "metadata": {**made["metadata"], "uid": "lease", "resourceVersion": "5"}}, Lease)


OTHER = run(ONE, name="first", uid="other-uid", idempotency_key="order-7")
HELD = run(ONE, name="first", uid="other-uid", idempotency_key="order-7", idempotency_window="1m")


def ended(subject: Run) -> Run:
    return msgspec.structs.replace(subject, status=msgspec.structs.replace(subject.status, phase=Phase.SUCCEEDED))


def written(talk: Dialogue) -> Any:
    return talk.call(WriteStatus).status


def begins(talk: Dialogue) -> bool:
    return talk.kinds == ["WriteStatus"] and written(talk).workflow_spec is not None


def test_the_key_is_taken_before_the_run_begins() -> None:
    talk = reconcile(keyed())
    assert talk.kinds == ["CreateLease"]
    made = talk.call(CreateLease).manifest
    assert made["metadata"]["name"] == names.key_lease(None, "order-7")
    assert made["metadata"]["ownerReferences"][0]["uid"] == keyed().metadata.uid
    assert "leaseDurationSeconds" not in made["spec"]
    talk.answer(lease(keyed()))
    assert begins(talk)
    assert written(talk).key_time == NOW


def test_a_run_without_a_key_asks_for_none() -> None:
    assert begins(reconcile(run(ONE)))


def test_a_run_that_has_its_key_asks_no_more() -> None:
    talk = reconcile(keyed(run_at=NOW + seconds(60))).answer(lease(keyed()))
    assert (written(talk).reason, written(talk).key_time) == ("Scheduled", NOW)
    assert begins(reconcile(after(talk.call(WriteStatus)), NOW + seconds(60)))


def test_an_invalid_run_takes_no_key() -> None:
    talk = reconcile(run(workflow(step("a", when="wat")), idempotency_key="k"))
    assert talk.kinds == ["WriteStatus"]
    assert written(talk).reason == "InvalidWorkflow"


def test_while_the_holder_is_at_work_others_end_as_duplicates() -> None:
    talk = reconcile(keyed()).answer(EXISTS)
    assert talk.calls == [ReadLease("shop", names.key_lease(None, "order-7"))]
    talk.answer(lease(OTHER))
    assert talk.calls == [ReadRun("shop", "first", "other-uid")]
    talk.answer(OTHER)
    status = written(talk)
    assert (status.phase, status.reason, status.duplicate_of) == ("Cancelled", "Duplicate", "first")
    assert status.message == "run first has taken the idempotencyKey 'order-7'"
    assert status.finish_time == NOW


def test_a_key_that_was_taken_before_a_crash_is_found_again() -> None:
    assert begins(reconcile(keyed()).answer(EXISTS).answer(lease(keyed())))


@pytest.mark.parametrize("holder", [ended(OTHER), NOT_FOUND, run(ONE, name="first", uid="a later one")])
def test_a_key_is_free_once_its_holder_has_ended(holder: Any) -> None:
    talk = reconcile(keyed()).answer(EXISTS).answer(lease(OTHER)).answer(holder)
    replacement = talk.call(ReplaceLease)
    assert replacement.lease.metadata.resource_version == "5"
    assert replacement.manifest["spec"]["holderIdentity"] == keyed().metadata.uid
    assert begins(talk.answer(lease(keyed())))


def test_of_two_that_take_over_one_asks_again() -> None:
    talk = reconcile(keyed()).answer(EXISTS).answer(lease(OTHER)).answer(ended(OTHER)).answer(CONFLICT)
    assert talk.result == Pass(again=True)


def test_a_holder_that_cannot_be_read_now_still_holds() -> None:
    talk = reconcile(keyed()).answer(EXISTS).answer(lease(OTHER)).answer(UNKNOWN)
    assert talk.result == Pass(again=True)


def test_within_its_window_a_key_is_held_whatever_became_of_the_run() -> None:
    talk = reconcile(keyed(), NOW + seconds(59)).answer(EXISTS).answer(lease(HELD))
    assert written(talk).duplicate_of == "first"


def test_after_its_window_a_key_is_free_though_the_run_goes_on() -> None:
    talk = reconcile(keyed(), NOW + seconds(60)).answer(EXISTS).answer(lease(HELD))
    assert talk.kinds == ["ReplaceLease"]


def test_a_lease_with_a_window_outlives_its_run() -> None:
    made = keys.manifest(keyed(idempotency_window="1500ms"), NOW)
    assert made["spec"]["leaseDurationSeconds"] == 2
    assert "ownerReferences" not in made["metadata"]


def test_only_what_has_a_window_expires() -> None:
    assert not keys.expired(lease(OTHER), NOW + timedelta(days=1000))
    assert not keys.expired(lease(HELD), NOW + seconds(59))
    assert keys.expired(lease(HELD), NOW + seconds(60))


def test_a_refused_key_is_told_and_asked_for_again() -> None:
    talk = reconcile(keyed()).answer(FORBIDDEN)
    status = written(talk)
    assert (status.phase, status.reason) == ("Pending", "KeyRefused")
    assert "leases is forbidden" in (status.message or "")
    waiting = after(talk.call(WriteStatus))
    assert talk.answer(waiting).result is not None or talk.nothing().result is not None
    assert begins(reconcile(waiting, NOW + seconds(5)).answer(lease(keyed())))


def test_keys_are_those_of_a_workflow() -> None:
    made = {names.key_lease(flow, key) for flow in (None, "a", "b") for key in ("x", "y")}
    assert len(made) == 6
    assert all(len(name) <= 63 for name in made)
