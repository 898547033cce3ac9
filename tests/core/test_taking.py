"""Units as a dialogue with the API server: who takes, what each answer leads to, and what a step is told."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import pytest

from adze.core import admission, planner, rates, slots, taking
from adze.core import revision as revisions
from adze.core.calls import CreateLease, ReadLease, ReplaceLease
from adze.core.model import Attempt, Lease, Run, RunStatus, StepStatus, Strategy
from adze.core.observed import Observed
from adze.core.queues import Queues
from adze.core.rates import State
from adze.core.slots import Closing, Need, Take, Wait, Want, claimed
from tests.builders import NOW, POLICY, failed, pod, run, seconds, step, succeeded, workflow
from tests.core.dialogue import CONFLICT, EXISTS, NOT_FOUND, QUOTA, UNKNOWN, Dialogue, reconcile
from tests.core.dialogue import claimed as claimed_run

MINUTE = seconds(60)
ONE = Take("one", "first", 2, 1, MINUTE)
TWO = Take("two", "second", 1, 1, MINUTE)


def asking(queues: Queues, name: str, *takes: Take, born: int = 0, now: datetime = NOW, needs: Any = ()) -> Run:
    """A run whose step wants these units."""
    new = run("hello", name=name, uid=name)
    metadata = msgspec.structs.replace(new.metadata, creation_timestamp=NOW + seconds(born))
    new = msgspec.structs.replace(new, metadata=metadata)
    queues.ask(new, [Want("a#1", needs, slots.order(new, 0), takes=takes)], now)
    return new


def admit(queues: Queues, now: datetime = NOW) -> Dialogue:
    return Dialogue(admission.admit(queues, "shop", now, known=True))


def lease(manifest: Mapping[str, Any], version: int = 7) -> Lease:
    """The Lease of a manifest as the API server has it."""
    metadata = {**manifest["metadata"], "uid": manifest["metadata"]["name"], "resourceVersion": str(version)}
    return msgspec.convert({**manifest, "metadata": metadata}, Lease)


def held(take: Take, state: State, version: int = 7) -> Lease:
    return lease(rates.manifest("shop", take, state, NOW), version)


def named(manifest: Mapping[str, Any]) -> set[str]:
    return set(rates.state(lease(manifest)).named)


def test_the_first_reads_then_creates_and_has_its_units() -> None:
    queues = Queues()
    asking(queues, "r", ONE)
    dialogue = admit(queues)
    assert [call.name for call in dialogue.calls] == ["adze-rate-one"]  # type: ignore[union-attr]
    made = dialogue.answer(NOT_FOUND).call(CreateLease)
    assert named(made.manifest) == {"r/a#1"}
    assert queues.granted("r", NOW) == frozenset()
    dialogue.answer(lease(made.manifest))
    assert dialogue.result
    assert queues.granted("r", NOW) == {"a#1"}
    assert queues.granted("r", NOW + seconds(5)) == frozenset(), "too long ago to start on it"
    assert "r" in queues.news()


def test_the_older_takes_and_the_other_is_told_when_its_turn_comes() -> None:
    queues = Queues()
    asking(queues, "young", TWO, born=5)
    old = asking(queues, "old", TWO)
    dialogue = admit(queues).answer(NOT_FOUND)
    made = dialogue.call(CreateLease)
    assert named(made.manifest) == {"old/a#1"}
    dialogue.answer(lease(made.manifest))
    assert dialogue.result
    assert dialogue.result.wake == NOW + MINUTE, "an exact timer"
    told = queues.waits("young", NOW)["a#1"]
    text = "key 'second': 1 of 1 units per 1m in use, 1 needed; not before 2026-03-01T12:01:00Z"
    assert (told.reason, told.message) == ("RateLimited", text)
    assert queues.granted("young", NOW) == frozenset()
    queues.forget(old)
    replaced = admit(queues, NOW + MINUTE).call(ReplaceLease)
    assert named(replaced.manifest) == {"young/a#1"}


def test_several_take_in_one_write() -> None:
    queues = Queues()
    for number in range(3):
        asking(queues, f"r{number}", ONE, born=number)
    made = admit(queues).answer(NOT_FOUND).call(CreateLease)
    assert named(made.manifest) == {"r0/a#1", "r1/a#1"}


def test_two_keys_are_taken_of_together_or_not_at_all() -> None:
    queues = Queues()
    asking(queues, "both", ONE, TWO)
    other = asking(queues, "other", ONE, born=5)
    full = State(log=(rates.stamp(NOW, 1),))
    dialogue = admit(queues).answer(NOT_FOUND, held(TWO, full))
    made = dialogue.call(CreateLease)
    assert named(made.manifest) == {"other/a#1"}, "who waits for one key doesn't hold up another"
    dialogue.answer(lease(made.manifest))
    queues.forget(other)
    again = admit(queues, NOW + MINUTE)
    assert {type(call) for call in again.calls} == {ReplaceLease}
    assert [named(call.manifest) for call in again.calls] == [{"both/a#1"}] * 2  # type: ignore[union-attr]


def test_who_has_taken_before_a_crash_does_not_take_again() -> None:
    queues = Queues()
    asking(queues, "r", TWO)
    taken = State(named={"r/a#1": rates.stamp(NOW - seconds(1), 1)})
    dialogue = admit(queues).answer(held(TWO, taken))
    assert dialogue.result
    assert queues.granted("r", NOW) == {"a#1"}


@pytest.mark.parametrize("answer", [CONFLICT, EXISTS, NOT_FOUND, UNKNOWN])
def test_what_went_wrong_is_read_again_and_nothing_was_taken(answer: Any) -> None:
    queues = Queues()
    asking(queues, "r", TWO)
    dialogue = admit(queues).answer(NOT_FOUND).answer(answer)
    assert [type(call) for call in dialogue.calls] == [ReadLease]
    assert queues.granted("r", NOW) == frozenset()
    other = State(named={"other/a#1": rates.stamp(NOW, 1)})
    dialogue.answer(held(TWO, other))
    assert dialogue.result
    assert queues.granted("r", NOW) == frozenset()


def test_a_read_without_an_answer_is_made_again() -> None:
    queues = Queues()
    asking(queues, "r", TWO)
    dialogue = admit(queues).answer(UNKNOWN)
    assert dialogue.result
    assert dialogue.result.again


def test_a_quota_that_takes_no_lease_is_told_and_tried_again() -> None:
    queues = Queues()
    asking(queues, "r", TWO)
    dialogue = admit(queues).answer(NOT_FOUND).answer(QUOTA)
    assert dialogue.result
    assert dialogue.result.wake == NOW + taking.REFUSED_AGAIN
    assert "no Lease can be written: QuotaExceeded" in queues.waits("r", NOW)["a#1"].message
    assert admit(queues, NOW + taking.REFUSED_AGAIN).calls


def test_units_come_after_slots() -> None:
    queues = Queues()
    need = Need("g", "k", 1, Strategy.QUEUE)
    new = asking(queues, "r", TWO, needs=(need,))
    dialogue = admit(queues)
    assert dialogue.kinds == ["TakeSlot"]
    made = {**dialogue.calls[0].manifest}  # type: ignore[union-attr]
    made["metadata"] = {**made["metadata"], "uid": "u", "resourceVersion": "9"}
    slot = msgspec.convert(made, slots.Slot)
    queues.hear(slot)
    dialogue.answer(slot).answer(NOT_FOUND)
    dialogue.answer(lease(dialogue.call(CreateLease).manifest))
    assert queues.granted(new.metadata.uid, NOW) == {"a#1"}


def test_an_attempt_that_has_started_leaves_only_its_units() -> None:
    runs: dict[str, Run] = {}
    queues = Queues(runs)
    first = asking(queues, "first", ONE)
    dialogue = admit(queues).answer(NOT_FOUND)
    dialogue.answer(lease(dialogue.call(CreateLease).manifest))
    attempt = Attempt(number=1, pod="p")
    started = msgspec.structs.replace(first, status=RunStatus(steps=(StepStatus(name="a", attempts=(attempt,)),)))
    assert claimed(started, "a#1")
    queues.ask(started, [], NOW)
    asking(queues, "second", ONE, born=5)
    state = rates.state(lease(admit(queues).call(ReplaceLease).manifest))
    assert (len(state.log), set(state.named)) == (1, {"second/a#1"})


def test_names_of_attempts_that_started_before_a_crash_make_room() -> None:
    attempt = Attempt(number=1, pod="p")
    started = msgspec.structs.replace(
        run("hello", name="old", uid="old"), status=RunStatus(steps=(StepStatus(name="a", attempts=(attempt,)),))
    )
    queues = Queues({"old": started})
    asking(queues, "new", ONE)
    taken = State(named={"old/a#1": rates.stamp(NOW - seconds(9), 1)})
    state = rates.state(lease(admit(queues).answer(held(ONE, taken)).call(ReplaceLease).manifest))
    assert (len(state.log), set(state.named)) == (1, {"new/a#1"})


# What a run makes of it

LIMITED = workflow(step("a", rate_limit=[{"key": "k", "limit": 1, "per": "1m"}], retries=1))


def test_a_step_without_units_waits_and_says_why() -> None:
    subject = claimed_run(LIMITED)
    assert subject.status.steps[0].attempts == ()
    frozen = revisions.of_run(subject.status.revision or "", subject.status.workflow_spec or {})
    plan = planner.plan(subject, frozen, Observed(), NOW, POLICY)
    (want,) = plan.wants
    assert [(take.key, take.limit, take.units) for take in want.takes] == [("k", 1, 1)]
    wait = Wait("not before noon", NOW + seconds(60), "RateLimited")
    told = planner.plan(subject, frozen, Observed(waits={"a#1": wait}), NOW, POLICY)
    assert told.status
    assert (told.status.steps[0].reason, told.status.steps[0].message) == ("RateLimited", "not before noon")
    assert (told.status.reason, told.wake) == ("RateLimited", NOW + seconds(60))
    plan = planner.plan(subject, frozen, Observed(granted=frozenset({"a#1"})), NOW, POLICY)
    assert plan.status
    assert len(plan.status.steps[0].attempts) == 1


def test_an_entry_that_can_not_be_used_fails_the_step() -> None:
    bad = workflow(step("a", rate_limit=[{"key": "${input.none}", "limit": 1, "per": "1m"}]))
    (status,) = claimed_run(bad, input={"none": ""}).status.steps
    assert (status.phase.value, status.reason) == ("Failed", "InvalidRateLimit")
    assert "gives a text of 0 characters" in (status.message or "")


def ended(output: str, *, exit_code: int = 0, spec: Any = LIMITED) -> Dialogue:
    """A pass that finds the end of the first attempt."""
    begun = claimed_run(spec)
    frozen = revisions.of_run(begun.status.revision or "", begun.status.workflow_spec or {})
    plan = planner.plan(begun, frozen, Observed(granted=frozenset({"a#1"})), NOW, POLICY)
    assert plan.status
    subject = msgspec.structs.replace(begun, status=plan.status)
    (name,) = plan.manifests
    new = pod(name, owner=subject.metadata.uid)
    over = failed(new, exit_code, output) if exit_code else succeeded(new, output)
    return reconcile(subject, pods={name: over})


@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_key_is_closed_before_the_outcome_is_recorded(exit_code: int) -> None:
    dialogue = ended('{"rateLimited": {"retryAfter": 30}}', exit_code=exit_code)
    assert dialogue.kinds == ["ReadLease"]
    made = dialogue.answer(NOT_FOUND).call(CreateLease)
    assert rates.state(lease(made.manifest)).closed_until == NOW + seconds(30)
    assert dialogue.answer(lease(made.manifest)).kinds == ["WriteStatus"]


def test_a_key_that_is_closed_for_longer_stays_so_and_its_log_with_it() -> None:
    take = Take("g", "k", 1, 1, MINUTE)
    closing = [Closing(take, NOW + seconds(30))]
    longer = State(closed_until=NOW + seconds(31))
    assert Dialogue(taking.close("shop", closing, NOW)).answer(held(take, longer)).result  # type: ignore[arg-type]
    dialogue = Dialogue(taking.close("shop", closing, NOW))  # type: ignore[arg-type]
    dialogue.answer(held(take, State(log=(rates.stamp(NOW, 1),))))
    state = rates.state(lease(dialogue.call(ReplaceLease).manifest))
    assert (state.closed_until, len(state.log)) == (NOW + seconds(30), 1)
    assert dialogue.answer(CONFLICT).kinds == ["ReadLease"]
    assert dialogue.answer(UNKNOWN).result is False  # type: ignore[comparison-overlap]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("{}", "it must have either retryAfter or until, and may have key"),
        ("7", "it must have either retryAfter or until"),
        ('{"retryAfter": 1, "until": "2026-03-01T12:00:00Z"}', "either retryAfter or until"),
        ('{"retryAfter": 1, "after": 2}', "either retryAfter or until"),
        ('{"retryAfter": "soon"}', "retryAfter must be a number of seconds from 0 up, not 'soon'"),
        ('{"retryAfter": -1}', "not -1"),
        ('{"until": "noon"}', "until must be a time such as 2026-03-05T12:00:00Z, not 'noon'"),
        ('{"until": "2026-03-01T12:00:00"}', "until must be a time"),
        ('{"retryAfter": 1, "key": "other"}', "the step takes of no key 'other'"),
    ],
)
def test_what_is_unclear_closes_nothing_and_fails_the_attempt(said: str, words: str) -> None:
    dialogue = ended(f'{{"rateLimited": {said}}}')
    assert dialogue.kinds == ["WriteStatus"]
    (attempt,) = dialogue.calls[0].status.steps[0].attempts  # type: ignore[union-attr]
    assert attempt.reason == "OutputInvalid"
    assert words in attempt.message


@pytest.mark.parametrize(
    ("said", "until"),
    [
        ('{"retryAfter": 0.5}', seconds(0.5)),
        ('{"retryAfter": 1e300}', seconds(86400)),
        ('{"until": "2026-03-01T13:00:30+01:00", "key": "k"}', seconds(30)),
        ('{"until": "9999-12-31T00:00:00Z"}', seconds(86400)),
    ],
)
def test_until_when_a_key_is_closed(said: str, until: Any) -> None:
    made = ended(f'{{"rateLimited": {said}}}').answer(NOT_FOUND).call(CreateLease)
    assert rates.state(lease(made.manifest)).closed_until == NOW + until


def test_a_step_without_rate_limit_may_say_what_it_likes() -> None:
    plain = workflow(step("a"))
    begun = claimed_run(plain)
    name = begun.status.steps[0].attempts[0].pod
    over = succeeded(pod(name, owner=begun.metadata.uid), {"rateLimited": 1})
    dialogue = reconcile(begun, pods={name: over})
    assert dialogue.kinds == ["WriteStatus"]
    assert dialogue.calls[0].status.steps[0].output == {"rateLimited": 1}  # type: ignore[union-attr]
