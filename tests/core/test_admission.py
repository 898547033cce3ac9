"""Admission as a dialogue with the API server: whose Leases are asked for, and what each answer leads to."""

from typing import Any

import msgspec
import pytest

from adze.core import admission, planner, slots, taking
from adze.core import revision as revisions
from adze.core.calls import FreeSlot, MarkSlot, Say, TakeSlot
from adze.core.model import Phase, Run, RunStatus, Strategy
from adze.core.observed import Observed
from adze.core.queues import Queues
from adze.core.slots import RUN, Need, Slot, Want
from tests.builders import NOW, POLICY, pod, run, seconds, step, succeeded, workflow
from tests.core.dialogue import EXISTS, NOT_FOUND, QUOTA, Dialogue, reconcile

ONE, TWO = Need("one", "first", 1, Strategy.QUEUE), Need("two", "second", 1, Strategy.QUEUE)


def asking(queues: Queues, name: str, *needs: Need, born: int = 0) -> Run:
    """A run that wants these slots."""
    new = run("hello", name=name, uid=name)
    metadata = msgspec.structs.replace(new.metadata, creation_timestamp=NOW + seconds(born))
    new = msgspec.structs.replace(new, metadata=metadata)
    queues.ask(new, [Want(RUN, needs, slots.order(new, 0))], NOW)
    return new


def admit(queues: Queues, known: bool = True) -> Dialogue:
    return Dialogue(admission.admit(queues, "shop", NOW, known=known))


def lease(manifest: dict[str, Any], version: int = 7) -> Slot:
    """The Lease of a manifest as the API server has it."""
    metadata = {**manifest["metadata"], "uid": manifest["metadata"]["name"], "resourceVersion": str(version)}
    return msgspec.convert({**manifest, "metadata": metadata}, Slot)


def taken(queues: Queues, by: Run, need: Need, number: int = 0) -> Slot:
    """A slot that is known to be held."""
    held = lease(slots.lease(by, Want(RUN, (need,), slots.order(by, 0)), need, number, NOW))
    queues.see(None, held)
    return held


def asked(dialogue: Dialogue) -> list[tuple[str, str]]:
    """The Leases that are asked for, and for whom."""
    return [
        (call.manifest["metadata"]["name"], call.manifest["spec"]["holderIdentity"])
        for call in dialogue.calls
        if isinstance(call, TakeSlot)
    ]


def test_the_older_is_admitted_and_the_other_told_why_it_waits() -> None:
    queues = Queues()
    asking(queues, "young", ONE, born=5)
    asking(queues, "old", ONE)
    dialogue = admit(queues)
    assert asked(dialogue) == [("adze-one-0", "old")]
    queues.hear(lease(dialogue.calls[0].manifest))
    assert queues.granted("old", NOW) == {RUN}
    assert queues.granted("young", NOW) == frozenset()
    assert queues.waits("young", NOW)[RUN].message == "key 'first': 1 of 1 in use by old; position 2 in the queue"


def test_a_first_pass_lists_before_it_asks() -> None:
    queues = Queues()
    asking(queues, "r", ONE)
    dialogue = admit(queues, known=False)
    assert (dialogue.kinds, dialogue.call(admission.ListSlots).group) == (["ListSlots"], None)
    assert asked(dialogue.answer({})) == [("adze-one-0", "r")]


@pytest.mark.parametrize("full", [ONE, TWO])
def test_two_keys_are_had_together_or_not_at_all(full: Need) -> None:
    queues = Queues()
    holder = run("hello", name="holder", uid="holder")
    held = taken(queues, holder, full)
    asking(queues, "both", ONE, TWO)
    assert asked(admit(queues)) == []
    assert f"key {full.key!r}: 1 of 1 in use by holder" in queues.waits("both", NOW)[RUN].message
    queues.see(held, None)
    assert asked(admit(queues)) == [("adze-one-0", "both"), ("adze-two-0", "both")]


def test_a_slot_taken_in_vain_is_marked_then_its_run_read_then_given_back() -> None:
    queues = Queues()
    both = asking(queues, "both", ONE, TWO)
    other = run("hello", name="other", uid="other")
    dialogue = admit(queues)
    mine = lease(dialogue.calls[0].manifest)
    queues.hear(mine)
    dialogue.answer(mine, EXISTS)
    assert dialogue.call(admission.ListSlots).group == "two"
    foreign = lease(slots.lease(other, Want(RUN, (TWO,), slots.order(other, 0)), TWO, 0, NOW))
    dialogue.answer({foreign.metadata.name: foreign})
    mark = dialogue.call(MarkSlot)
    assert (mark.slot.metadata.name, mark.marked) == ("adze-one-0", True)
    dialogue.answer(mark.slot)
    assert dialogue.kinds == ["ReadRun"]
    dialogue.answer(both)
    assert dialogue.call(FreeSlot).unchanged


def test_a_slot_that_its_run_has_claimed_meanwhile_stays() -> None:
    queues = Queues()
    both = asking(queues, "both", ONE, TWO)
    taken(queues, both, ONE)
    taken(queues, run("hello", name="other", uid="other"), TWO)
    dialogue = admit(queues)
    dialogue.answer(dialogue.call(MarkSlot).slot)
    dialogue.answer(msgspec.structs.replace(both, status=RunStatus(start_time=NOW)))
    assert not dialogue.call(MarkSlot).marked


def test_the_slot_of_a_run_that_is_gone_is_left_to_whoever_ends_its_pods() -> None:
    queues = Queues()
    both = asking(queues, "both", ONE, TWO)
    taken(queues, both, ONE)
    taken(queues, run("hello", name="other", uid="other"), TWO)
    dialogue = admit(queues)
    dialogue.answer(dialogue.call(MarkSlot).slot).answer(NOT_FOUND)
    assert "FreeSlot" not in dialogue.heard
    assert dialogue.result
    assert dialogue.result.again


def test_a_quota_that_takes_no_lease_is_told_and_asked_again() -> None:
    queues = Queues()
    asking(queues, "r", ONE)
    dialogue = admit(queues).answer(QUOTA)
    assert dialogue.result
    assert dialogue.result.wake == NOW + taking.REFUSED_AGAIN
    assert queues.waits("r", NOW)[RUN].message == "no Lease can be made: QuotaExceeded: exceeded quota: pods=10"
    assert asked(admit(queues)) == [("adze-one-0", "r")]


def test_a_slot_that_is_lost_while_it_is_used_is_told_once_and_taken_again() -> None:
    queues = Queues()
    new = run("hello", name="r", uid="r")
    queues.ask(new, [Want(RUN, (ONE,), slots.order(new, 0), running=True)], NOW)
    dialogue = admit(queues)
    assert dialogue.kinds == ["ListSlots"], "it may only not be known here"
    other = taken(queues, run("hello", name="other", uid="other"), ONE)
    dialogue.answer({other.metadata.name: other})
    notice = dialogue.call(Say).notice
    assert (notice.reason, notice.type) == ("SlotLost", "Warning")
    assert "the Lease by which the run held its slot of key 'first' is gone" in notice.message
    assert dialogue.nothing().result
    queues.see(other, None)
    again = admit(queues).answer({})
    assert again.kinds == ["TakeSlot"]


def test_a_slot_that_its_run_has_just_freed_is_not_lost() -> None:
    new = run("hello", name="r", uid="r")
    final = msgspec.structs.replace(new, status=RunStatus(phase=Phase.SUCCEEDED, start_time=NOW, finish_time=NOW))
    queues = Queues({"r": final})
    queues.ask(new, [Want(RUN, (ONE,), slots.order(new, 0), running=True)], NOW)
    asking(queues, "next", ONE, born=5)
    assert asked(admit(queues)) == [("adze-one-0", "next")]


def test_a_late_answer_does_not_bring_a_deleted_slot_back() -> None:
    queues = Queues()
    asking(queues, "r", ONE)
    held = taken(queues, run("hello", name="other", uid="other"), ONE)
    queues.see(held, None)
    queues.hear(held)
    assert queues.slots_of("other") == ()
    assert asked(admit(queues)) == [("adze-one-0", "r")]


def test_the_slot_of_a_run_that_ends_is_freed_by_one_call() -> None:
    new = run(workflow(step("a"), concurrency=[{"key": "k", "maxRuns": 1}]))
    begun = msgspec.structs.replace(new, status=planner.begin(new, None, NOW).status)
    frozen = revisions.of_run(begun.status.revision or "", begun.status.workflow_spec or {})
    plan = planner.plan(begun, frozen, Observed(granted=frozenset({RUN})), NOW, POLICY)
    subject = msgspec.structs.replace(begun, status=plan.status)
    held = lease(slots.lease(subject, plan.wants[0], plan.wants[0].needs[0], 0, NOW))
    (name,) = plan.manifests
    over = succeeded(pod(name, owner=subject.metadata.uid))
    dialogue = reconcile(subject, pods={name: over}, slots=(held,), granted=frozenset({RUN}))
    while dialogue.result is None:
        dialogue.accept()
    assert dialogue.heard.count("FreeSlot") == 1


def test_who_is_forgotten_waits_no_more() -> None:
    queues = Queues()
    gone = asking(queues, "gone", ONE)
    queues.forget(gone)
    assert not queues.asks("gone")
    assert asked(admit(queues)) == []
