"""Events start runs: exactly one per event and matching workflow, through whatever object and replica they come."""

import json
import os
import time
from typing import Any

import pytest
import yaml

from tests.e2e.kube import Kube, Object, run, shell, workflow
from tests.e2e.test_operator import kill, operators, until_ready

BURST = int(os.environ.get("ADZE_BURST", "500"))
"""Events of the burst; 5000 for a night."""
STEP = {"name": "a", **shell("true")}


def event(name: str, id_: str = "", type_: str = "user:created", data: Any = None, **spec: Any) -> Object:
    """A WorkflowEvent; its id is its name unless given."""
    return {
        "apiVersion": "adze.dev/v1alpha1",
        "kind": "WorkflowEvent",
        "metadata": {"name": name},
        "spec": {"source": "/shop", "id": id_ or name, "type": type_, "data": data or {}, **spec},
    }


def triggered(name: str, *triggers: Object, **fields: Any) -> Object:
    """A Workflow that waits for events."""
    return workflow(name, STEP, on={"events": list(triggers)}, **fields)


def processed(kube: Kube, name: str, timeout: float = 30) -> Object:
    """The status of an event once it's processed."""
    status: Object = kube.until(
        "processed", "workflowevent", name, lambda seen: "processedTime" in seen.get("status", {}), timeout
    )["status"]
    return status


def all_processed(kube: Kube, timeout: float) -> None:
    """Wait until every event of the namespace is processed."""
    end = time.monotonic() + timeout
    while left := [item for item in kube.list("workflowevents") if "processedTime" not in item.get("status", {})]:
        assert time.monotonic() < end, f"{len(left)} events are not processed, as {left[0]}"
        time.sleep(0.5)


def condition(status: Object) -> tuple[str, str]:
    """Status and reason of an event's one condition."""
    (found,) = status["conditions"]
    return found["status"], found["reason"]


def runs(kube: Kube) -> list[Object]:
    """All runs of the namespace."""
    return kube.list("workflowruns")


def test_an_event_starts_the_runs_that_wait_for_it(kube: Kube) -> None:
    kube.apply(
        triggered("welcome", {"name": "user:created", "filter": "event.data.plan == 'pro'"}),
        triggered("audit", {"name": "user:*", "input": {"who": "${event.data.name}", "what": "${event.type}"}}),
        triggered("orders", {"name": "order:*"}),
    )
    text = yaml.safe_dump(event("ada", data={"name": "Ada", "plan": "pro"}))
    kube.must("create", "-f", "-", stdin=text)
    status = processed(kube, "ada")
    assert condition(status) == ("True", "RunsStarted")
    assert status["started"] == 2
    names = {found["workflow"]: found["name"] for found in status["runs"]}
    assert names.keys() == {"welcome", "audit"}
    assert kube.ended(names["welcome"])["phase"] == "Succeeded"
    assert kube.ended(names["audit"])["phase"] == "Succeeded"
    assert kube.get("workflowrun", names["welcome"])["spec"]["input"] == {"name": "Ada", "plan": "pro"}
    audit = kube.get("workflowrun", names["audit"])
    assert audit["spec"]["input"] == {"who": "Ada", "what": "user:created"}
    assert audit["metadata"]["labels"] == {"adze.dev/trigger": "event", "adze.dev/event": "ada"}
    assert len(runs(kube)) == 2
    columns = kube.must("get", "awe").splitlines()
    assert columns[0].split() == ["NAME", "TYPE", "SOURCE", "RUNS", "REASON", "AGE"]
    assert columns[1].split()[:5] == ["ada", "user:created", "/shop", "2", "RunsStarted"]


def test_the_same_source_and_id_is_the_same_event(kube: Kube) -> None:
    kube.apply(triggered("welcome", {"name": "*"}))
    for name in ("one", "two", "three"):
        kube.apply(event(name, id_="42", data={"from": name}))
    found = {name: processed(kube, name) for name in ("one", "two", "three")}
    assert sorted(condition(status)[1] for status in found.values()) == ["Duplicate", "Duplicate", "RunsStarted"]
    (only,) = runs(kube)
    first = next(name for name, status in found.items() if status.get("started"))
    assert only["spec"]["input"] == {"from": first}
    # Even when the run is gone, as by retention.
    kube.ended(only["metadata"]["name"])
    kube.must("delete", "workflowrun", only["metadata"]["name"])
    kube.apply(event("four", id_="42"))
    assert condition(processed(kube, "four"))[1] == "Duplicate"
    assert runs(kube) == []


def test_an_event_that_nobody_waits_for_says_so(kube: Kube) -> None:
    kube.apply(triggered("orders", {"name": "order:*"}), event("ada"))
    status = processed(kube, "ada")
    assert condition(status) == ("True", "NoMatch")
    assert status.get("started", 0) == 0
    assert runs(kube) == []


def test_a_filter_that_does_not_compile_is_told_of_on_the_workflow(kube: Kube) -> None:
    kube.apply(triggered("welcome", {"name": "*", "filter": "event.dat.plan == 'pro'"}), event("ada"))
    ready = kube.until("reviewed", "workflow", "welcome", lambda seen: bool(seen.get("status", {}).get("conditions")))[
        "status"
    ]["conditions"]
    (found,) = (c for c in ready if c["type"] == "Ready")
    assert found["status"] == "False"
    assert "spec.on.events[0].filter:1:" in found["message"]
    status = processed(kube, "ada")
    assert condition(status) == ("True", "FilterFailed")
    assert status["problems"][0]["workflow"] == "welcome"
    assert runs(kube) == []


def test_a_filter_that_fails_is_told_of_on_event_and_workflow(kube: Kube) -> None:
    kube.apply(triggered("welcome", {"name": "*", "filter": "event.data.plan == 'pro'"}))
    kube.apply(event("ada", data={"name": "Ada"}))
    assert condition(processed(kube, "ada")) == ("True", "FilterFailed")
    end = time.monotonic() + 20
    while "FilterFailed" not in (seen := kube.must("get", "events", "--field-selector=involvedObject.name=welcome")):
        assert time.monotonic() < end, seen
        time.sleep(0.2)
    assert runs(kube) == []


def test_an_input_that_breaks_the_schema_gives_a_run_that_says_so(kube: Kube) -> None:
    schema = {"type": "object", "required": ["email"], "properties": {"email": {"type": "string"}}}
    kube.apply(triggered("welcome", {"name": "*"}, input=schema), event("ada", data={"name": "Ada"}))
    ((name,),) = ([found["name"] for found in processed(kube, "ada")["runs"]],)
    ended = kube.ended(name)
    assert (ended["phase"], ended["reason"]) == ("Failed", "InvalidInput")


def test_an_old_event_is_deleted_once_it_is_processed(kube: Kube) -> None:
    kube.apply(triggered("welcome", {"name": "*"}), event("ada", ttl="0s"))
    kube.gone("workflowevent", "ada", timeout=30)
    assert len(runs(kube)) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": "other"}, "an event must not change"),
        ({"data": {"plan": "free"}}, "an event must not change"),
        ({"data": None}, "an event must not change"),
        ({"ttl": "2h"}, "an event must not change"),
    ],
)
def test_an_event_never_changes(kube: Kube, change: Object, told: str) -> None:
    kube.apply(event("ada", data={"plan": "pro"}))
    done = kube.kubectl("patch", "workflowevent", "ada", "--type=merge", "-p", json.dumps({"spec": change}))
    assert done.returncode != 0
    assert told in done.stderr


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"id": ""}, "spec.id"),
        ({"source": ""}, "spec.source"),
        ({"type": "x" * 257}, "spec.type"),
        ({"time": "yesterday"}, "spec.time"),
        ({"data": [1, 2]}, "spec.data"),
        ({"ttl": "soon"}, "spec.ttl"),
        ({"extensions": {"a": "x" * 1025}}, "spec.extensions"),
    ],
)
def test_a_bad_event_is_refused_and_the_field_named(kube: Kube, spec: Object, told: str) -> None:
    whole = event("ada")
    whole["spec"] |= spec
    assert told in kube.refused(whole)


def test_a_workflow_within_a_run_has_no_triggers(kube: Kube) -> None:
    assert "no triggers" in kube.refused(run("r", STEP, on={"events": [{"name": "*"}]}))


def test_a_burst_with_the_operator_killed_starts_each_run_once(kube: Kube) -> None:
    chunks, size = BURST // 50, 50
    # Runs that end at once, without a Pod: it's the runs that are counted here.
    kube.apply(triggered("welcome", {"name": "*"}, input={"type": "object", "required": ["never"]}))
    for chunk in range(chunks):
        kube.create(*(event(f"e-{chunk}-{n}") for n in range(size)))
        for pod in operators(kube.adze) if chunk % (chunks // 5) == 0 else ():
            kill(kube.adze, pod["metadata"]["name"])
    until_ready(kube.adze)
    all_processed(kube, timeout=120 + BURST / 10)
    reasons = {condition(found["status"])[1] for found in kube.list("workflowevents")}
    assert reasons == {"RunsStarted"}
    origins = [found["metadata"]["annotations"]["adze.dev/event-id"] for found in runs(kube)]
    assert len(origins) == len(set(origins)) == chunks * size
