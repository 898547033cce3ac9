"""Which runs an event starts, under which names, and what its status says."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from adze.core import events, names
from adze.core.events import Firing, Sight, Started, Subscriber
from adze.core.model import Event, EventProblem, EventRun, EventStatus
from tests.builders import NOW, seconds


def event(type_: str = "user:created", data: Any = None, uid: str = "e-1", **spec: Any) -> Event:
    """A WorkflowEvent as the API server has it."""
    identity = {"source": "/shop", "id": "1", "type": type_, **spec}
    metadata = {"name": "ev", "namespace": "shop", "uid": uid, "generation": 1}
    return msgspec.convert(
        {"metadata": metadata, "spec": identity | ({"data": data} if data is not None else {})}, Event
    )


def subscriber(*triggers: dict[str, Any], name: str = "welcome", **spec: Any) -> Subscriber:
    """A Workflow with these event triggers."""
    metadata = {"name": name, "namespace": "shop", "uid": f"w-{name}"}
    return msgspec.convert({"metadata": metadata, "spec": {"on": {"events": list(triggers)}, **spec}}, Subscriber)


def sight(**fields: Any) -> Sight:
    """What the operator keeps of an event."""
    whole = msgspec.to_builtins(event()) | fields
    whole["metadata"]["creationTimestamp"] = "2026-03-01T12:00:00Z"
    return msgspec.convert(whole, Sight)


@pytest.mark.parametrize(
    ("pattern", "kind", "fits"),
    [
        ("user:created", "user:created", True),
        ("user:created", "user:created2", False),
        ("user:created", "User:created", False),
        ("user:*", "user:created", True),
        ("user:*", "user:", True),
        ("user:*", "user", False),
        ("*", "anything at all", True),
    ],
)
def test_a_name_matches_the_type_and_a_star_its_rest(pattern: str, kind: str, fits: bool) -> None:
    assert events.matches(pattern, kind) is fits


def test_the_data_is_the_input() -> None:
    (firing,) = events.firings(event(data={"plan": "pro"}), [subscriber({"name": "user:created"})])
    assert isinstance(firing, Firing)
    assert firing.manifest["spec"] == {"workflow": "welcome", "input": {"plan": "pro"}}
    assert firing.manifest["metadata"]["namespace"] == "shop"


def test_an_event_without_data_gives_an_empty_input() -> None:
    (firing,) = events.firings(event(), [subscriber({"name": "*"})])
    assert isinstance(firing, Firing)
    assert firing.manifest["spec"]["input"] == {}


def test_an_input_is_made_of_what_the_event_tells() -> None:
    mapped = {
        "user": "${event.data.user.id}",
        "text": "${event.type} of ${event.source}",
        "subject": "${event.subject}",
        "trace": "${event.extensions.traceparent}",
        "fixed": {"list": [1, "${event.data.user}"]},
    }
    came = event(data={"user": {"id": 7}}, extensions={"traceparent": "00-ab"})
    (firing,) = events.firings(came, [subscriber({"name": "user:*", "input": mapped})])
    assert isinstance(firing, Firing)
    assert firing.manifest["spec"]["input"] == {
        "user": 7,
        "text": "user:created of /shop",
        "subject": "",
        "trace": "00-ab",
        "fixed": {"list": [1, {"id": 7}]},
    }


def test_a_run_says_what_started_it() -> None:
    (firing,) = events.firings(event(), [subscriber({"name": "*"})])
    assert isinstance(firing, Firing)
    metadata = firing.manifest["metadata"]
    assert metadata["labels"] == {"adze.dev/trigger": "event", "adze.dev/event": "ev"}
    assert metadata["annotations"] == {
        "adze.dev/event-source": "/shop",
        "adze.dev/event-id": "1",
        "adze.dev/event-type": "user:created",
        "adze.dev/event-uid": "e-1",
    }


def test_a_filter_decides() -> None:
    pro = subscriber({"name": "user:created", "filter": "event.data.plan == 'pro'"})
    assert len(events.firings(event(data={"plan": "pro"}), [pro])) == 1
    assert events.firings(event(data={"plan": "free"}), [pro]) == []


@pytest.mark.parametrize(
    ("filter_", "told"),
    [
        ("event.data.plan == 'pro'", "Key not found"),
        ("event.data.plna", "Key not found"),
        ("event.data.count", "neither true nor false"),
        ("event.data.coutn == 3", "Key not found"),
        ("event.subjct == 'a'", "event has no 'subjct' here"),
    ],
)
def test_a_filter_that_fails_starts_nothing_and_is_told_of(filter_: str, told: str) -> None:
    found = events.firings(event(data={"count": 3}), [subscriber({"name": "*", "filter": filter_})])
    (problem,) = found
    assert isinstance(problem, EventProblem)
    assert (problem.workflow, problem.reason) == ("welcome", "FilterFailed")
    assert problem.message.startswith("spec.on.events[0].filter: ")
    assert told.lower() in problem.message.lower()


def test_a_failing_filter_keeps_neither_other_workflows_nor_later_triggers() -> None:
    bad, good = {"name": "*", "filter": "event.data.x"}, {"name": "*"}
    found = events.firings(event(), [subscriber(bad, good), subscriber(bad, name="b"), subscriber(good, name="c")])
    assert [type(item).__name__ for item in found] == ["EventProblem", "Firing", "EventProblem", "Firing"]


def test_an_input_that_fails_starts_nothing() -> None:
    (problem,) = events.firings(event(), [subscriber({"name": "*", "input": {"a": "${event.data.x}"}})])
    assert isinstance(problem, EventProblem)
    assert problem.reason == "InputFailed"


def test_the_first_trigger_that_matches_gives_the_one_run() -> None:
    first, second = {"name": "user:*", "input": {"n": 1}}, {"name": "*", "input": {"n": 2}}
    (firing,) = events.firings(event(), [subscriber(first, second)])
    assert isinstance(firing, Firing)
    assert firing.manifest["spec"]["input"] == {"n": 1}


def test_a_suspended_workflow_starts_nothing_and_the_event_says_so() -> None:
    (problem,) = events.firings(event(), [subscriber({"name": "*"}, suspend=True)])
    assert isinstance(problem, EventProblem)
    assert problem.reason == "Suspended"


def test_what_a_filter_rules_out_is_not_held_by_a_suspended_workflow() -> None:
    assert events.firings(event(), [subscriber({"name": "*", "filter": "false"}, suspend=True)]) == []


def test_data_that_nests_too_deep_never_meets_an_expression() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    (problem,) = events.firings(event(data=deep), [subscriber({"name": "*"})])
    assert isinstance(problem, EventProblem)
    assert problem.reason == "InvalidInput"


def test_data_with_a_nul_starts_nothing() -> None:
    found = events.firings(
        event(data={"a": ["x", "y\0z"]}), [subscriber({"name": "*", "filter": "event.data.a.size() == 2"})]
    )
    message = "the event's data has a NUL character, which expressions can't read: at a[1]"
    assert found == [EventProblem(workflow="welcome", reason="InvalidInput", message=message)]


def test_the_name_of_a_run_follows_from_workflow_source_and_id() -> None:
    name = names.event_run("welcome", "/shop", "1")
    assert name.startswith("welcome-")
    assert name == names.event_run("welcome", "/shop", "1")
    others = {
        names.event_run(*parts) for parts in (("w2", "/shop", "1"), ("welcome", "/shop", "2"), ("welcome", "/", "1"))
    }
    assert len(others | {name}) == 4
    assert names.event_run("welcome", "/shop1", "") != names.event_run("welcome", "/shop", "1")
    assert len(names.event_run("w" * 253, "s", "1")) <= 63


def test_the_same_event_as_another_object_gives_the_same_run() -> None:
    workflow = subscriber({"name": "*"})
    (one,), (two,) = (events.firings(event(uid=uid), [workflow]) for uid in ("e-1", "e-2"))
    assert isinstance(one, Firing) and isinstance(two, Firing)
    assert one.run == two.run


def _already(annotations: dict[str, str], uid: str = "e-1") -> Started | EventProblem:
    came = event(uid=uid)
    (firing,) = events.firings(came, [subscriber({"name": "*"})])
    assert isinstance(firing, Firing)
    return events.already(came, firing, annotations)


def test_a_run_that_is_there_is_ours_a_twins_or_anothers() -> None:
    (firing,) = events.firings(event(), [subscriber({"name": "*"})])
    assert isinstance(firing, Firing)
    ours = firing.manifest["metadata"]["annotations"]
    assert _already(ours) == Started(EventRun(workflow="welcome", name=firing.run))
    assert _already(ours, uid="e-2") == Started(EventRun(workflow="welcome", name=firing.run), duplicate=True)
    collision = _already({})
    assert isinstance(collision, EventProblem)
    assert collision.reason == "NameCollision"


RUN = EventRun(workflow="welcome", name="welcome-1")
PROBLEM = EventProblem(workflow="b", reason="FilterFailed", message="no")


@pytest.mark.parametrize(
    ("outcomes", "reason", "started"),
    [
        ([], "NoMatch", 0),
        ([Started(RUN)], "RunsStarted", 1),
        ([Started(RUN, duplicate=True)], "Duplicate", 0),
        ([Started(RUN), Started(RUN, duplicate=True)], "RunsStarted", 1),
        ([Started(RUN), PROBLEM], "FilterFailed", 1),
    ],
)
def test_the_status_tells_what_became_of_it(outcomes: list[Any], reason: str, started: int) -> None:
    status = events.processed(event(), outcomes, NOW)
    (condition,) = status.conditions
    assert (condition.type, condition.status, condition.reason) == ("Processed", "True", reason)
    assert (status.started, status.processed_time) == (started, NOW)


def test_the_status_is_bounded() -> None:
    status = events.processed(event(), [Started(RUN)] * 300 + [PROBLEM] * 40, NOW)
    assert (status.started, len(status.runs), len(status.problems)) == (300, 100, 16)
    assert len(msgspec.json.encode(status)) < 64 * 1024


def test_an_event_that_waits_says_why_once() -> None:
    status = events.waiting(sight(), "403 Forbidden: exceeded quota", NOW)
    assert status is not None and status.conditions[0].reason == "Waiting"
    assert status.processed_time is None
    told = sight(status=msgspec.to_builtins(status))
    assert events.waiting(told, "403 Forbidden: exceeded quota", NOW + seconds(60)) is None
    assert events.waiting(told, "500", NOW) is not None


def test_only_a_processed_event_grows_old() -> None:
    assert sight().expiry is None
    status = msgspec.to_builtins(EventStatus(processed_time=NOW))
    assert sight(status=status).expiry == NOW + timedelta(hours=1)
    odd = sight(status=status, spec={"source": "a", "id": "1", "ttl": "999999999h"})
    assert odd.expiry is None


def test_an_odd_status_does_not_stop_the_watch() -> None:
    odd = sight(status={"processedTime": 7, "conditions": [{"type": 1}]})
    assert odd.processed
    assert odd.conditions == ()
