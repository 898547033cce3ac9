"""Steps that wait for an event."""

from typing import Any

import pytest

from adze.core.calls import ListEvents, WriteStatus
from adze.core.draft import Awaited
from adze.core.model import Event, EventSpec, Metadata
from tests.builders import NAMESPACE, NOW, Drive, bare_step, run, seconds, step, workflow
from tests.core.dialogue import UNKNOWN, Dialogue, after, reconcile
from tests.core.test_revision_problems import problems


def wait(name: str = "paid", event: str = "order:paid", timeout: str | None = None, **fields: Any) -> Any:
    more = {"timeout": timeout} if timeout else {}
    parents = {"parents": fields.pop("parents")} if "parents" in fields else {}
    return bare_step(name, wait_for={"event": event, **fields}, **more, **parents)


def tell(drive: Drive, kind: str, name: str = "e", **data: Any) -> Drive:
    """An event comes."""
    metadata = Metadata(name=name, namespace=NAMESPACE, uid=name, creation_timestamp=drive.now)
    drive.events.append(Event(metadata=metadata, spec=EventSpec(source="/test", id=f"id-{name}", type=kind, data=data)))
    return drive.until_quiet()


def test_an_event_ends_the_wait_and_is_its_output() -> None:
    drive = Drive(workflow(wait(), step("b", parents=["paid"]))).until_quiet()
    assert (drive.step("paid").phase, drive.step("paid").reason) == ("Running", "WaitingForEvent")
    assert drive.created == []
    tell(drive.pass_time(60), "order:paid", sum=3)
    assert drive.step("paid").phase == "Succeeded"
    assert drive.step("paid").output == {"source": "/test", "id": "id-e", "type": "order:paid", "data": {"sum": 3}}
    assert drive.attempt("paid").finish_time == NOW + seconds(60)
    assert drive.live == {"b"}


@pytest.mark.parametrize(("pattern", "ends"), [("order:*", True), ("order:paid", True), ("order:lost", False)])
def test_only_events_of_that_type_count(pattern: str, ends: bool) -> None:
    drive = tell(Drive(workflow(wait(event=pattern))).until_quiet(), "order:paid")
    assert drive.phase.final is ends


def test_a_filter_sees_the_event_and_what_the_step_sees() -> None:
    given = "event.data.order == input.order && event.type.startsWith('order:')"
    drive = Drive(workflow(wait(filter=given)), input={"order": "o-1"}).until_quiet()
    tell(drive, "order:paid", "other", order="o-2")
    assert drive.phases == {"paid": "Running"}
    tell(drive, "order:paid", "mine", order="o-1")
    assert drive.step("paid").output is not None
    assert drive.step("paid").output["id"] == "id-mine"


def test_an_event_that_the_filter_fails_on_is_told_of_and_passed_over() -> None:
    drive = tell(Drive(workflow(wait(filter="event.data.order == 'o-1'"))).until_quiet(), "order:paid", "odd")
    assert "filter failed on WorkflowEvent odd" in (drive.step("paid").message or "")
    assert tell(drive, "order:paid", "good", order="o-1").phase == "Succeeded"


@pytest.mark.parametrize(
    ("lookback", "ends"), [(None, True), ("20s", False), ("60s", True), ("0s", False)], ids=["run", "20s", "60s", "0s"]
)
def test_an_event_may_have_come_before_the_step(lookback: str | None, ends: bool) -> None:
    fields = {"lookback": lookback} if lookback else {}
    drive = Drive(workflow(step("a"), wait(parents=["a"], **fields))).until_quiet().pass_time(10)
    tell(drive, "order:paid").pass_time(30).succeed("a")
    assert (drive.step("paid").phase == "Succeeded") is ends


def test_an_event_from_before_the_run_does_not_count() -> None:
    drive = Drive(workflow(wait()))
    drive.now = NOW - seconds(1)
    tell(drive, "order:paid")
    assert not drive.phase.final or drive.run.status.start_time == NOW - seconds(1)
    later = Drive(workflow(wait()))
    later.events = list(drive.events)
    assert later.until_quiet().phases == {"paid": "Running"}


def test_nobody_sends_it_in_time() -> None:
    drive = Drive(workflow(wait(timeout="1m"))).until_quiet().pass_time(60)
    assert (drive.phase, drive.step("paid").reason) == ("Failed", "Timeout")


@pytest.mark.parametrize(
    ("one", "wanted"),
    [
        (wait(filter="event.wat == 1"), "spec.steps[paid].waitFor.filter:1:6: event has no 'wat' here"),
        (wait(filter="1"), "spec.steps[paid].waitFor.filter:1:1: must give bool, not int"),
        (wait(lookback="10000000h"), "spec.steps[paid].waitFor.lookback: "),
        (bare_step("paid", wait_for={"event": "x"}, retries=1), "spec.steps[paid].retries: a step with waitFor can't"),
    ],
)
def test_what_a_wait_for_an_event_can_not_have(one: Any, wanted: str) -> None:
    assert [found for found in problems(workflow(one)) if found.startswith(wanted)], problems(workflow(one))


def listing(*events: Event) -> Dialogue:
    talk = reconcile(run(workflow(wait())))
    talk.answer(after(talk.call(WriteStatus)))
    while "ListEvents" not in talk.kinds:
        talk.nothing()
    assert talk.call(ListEvents).awaits == (Awaited("order:paid", NOW),)
    return talk.answer(list(events))


def test_events_are_listed_once_the_wait_is_claimed() -> None:
    talk = listing()
    assert talk.result is not None
    assert talk.result.awaits == {"order:paid"}


def test_an_event_that_is_there_already_ends_the_wait_in_the_same_pass() -> None:
    sent = tell(Drive(workflow(step("a"))), "order:paid").events
    talk = listing(*sent)
    assert talk.call(WriteStatus).status.phase == "Succeeded"


def test_a_list_that_failed_is_made_again() -> None:
    talk = reconcile(run(workflow(wait())))
    talk.answer(after(talk.call(WriteStatus)))
    talk.answer(UNKNOWN)
    assert talk.result is not None
    assert (talk.result.again, talk.result.awaits) == (True, None)
