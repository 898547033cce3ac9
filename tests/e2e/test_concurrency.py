"""Concurrency keys as a user meets them: who runs, who waits and why, and what a limit is worth in trouble."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pytest

from tests.e2e.kube import Kube, Object, run, run_of, shell, steps, workflow

SECOND = {"name": "a", **shell("sleep 1")}


def key(name: str = "k", runs: Any = 1, **fields: Any) -> Object:
    """A concurrency entry."""
    return {"key": name, "maxRuns": runs, **fields}


def spans(statuses: Iterable[Object]) -> list[tuple[datetime, datetime]]:
    """From start to end of each container, in whole seconds."""
    return [
        (datetime.fromisoformat(attempt["startTime"]), datetime.fromisoformat(attempt["finishTime"]))
        for status in statuses
        for step in status["steps"]
        for attempt in step.get("attempts", ())
        if "startTime" in attempt
    ]


def at_once(found: list[tuple[datetime, datetime]]) -> int:
    """The most that ran together; an end and a start in the same second don't overlap."""
    return max(sum(begin <= start < end for begin, end in found) for start, _ in found)


def queued(item: Object) -> bool:
    """Whether a run waits for its slots."""
    return bool(item.get("status", {}).get("phase") == "Queued")


def started(item: Object) -> bool:
    """Whether a run was admitted."""
    return "startTime" in item.get("status", {})


def order(kube: Kube, *names: str) -> list[str]:
    """The runs in the order in which they were admitted."""
    return sorted(names, key=lambda name: kube.get("workflowrun", name)["status"]["startTime"])


def test_a_queue_lets_two_run_and_says_why_the_others_wait(kube: Kube) -> None:
    kube.apply(workflow("w", SECOND, concurrency=[key("acme", 2)]))
    names = [f"r{number}" for number in range(5)]
    kube.apply(*(run_of(name, "w") for name in names))
    last = kube.until("queued", "workflowrun", "r4", queued)
    assert last["status"]["reason"] == "ConcurrencyLimit"
    assert "key 'acme': 2 of 2 in use by r" in last["status"]["message"]
    assert "position" in last["status"]["message"]
    leases = kube.list("leases", "adze.dev/group")
    assert len(leases) == 2
    assert {lease["spec"]["holderIdentity"] for lease in leases} <= set(names)
    statuses = [kube.ended(name) for name in names]
    assert {status["phase"] for status in statuses} == {"Succeeded"}
    assert at_once(spans(statuses)) == 2
    # Two places can come free at once; then it's open which of the two who are next takes his first.
    places = [names.index(name) for name in order(kube, *names)]
    assert all(place <= turn + 1 for turn, place in enumerate(places)), places
    assert kube.list("leases", "adze.dev/group") == []


def test_a_higher_priority_goes_first(kube: Kube) -> None:
    kube.apply(workflow("w", {"name": "a", **shell("sleep 4")}, concurrency=[key()]))
    kube.apply(run_of("first", "w"))
    kube.until("admitted", "workflowrun", "first", started)
    kube.apply(run_of("low", "w"), run_of("high", "w", priority=5))
    kube.until("queued", "workflowrun", "high", queued)
    for name in ("low", "high"):
        kube.ended(name)
    assert order(kube, "first", "low", "high") == ["first", "high", "low"]


def test_the_newest_wins_and_the_older_end_first(kube: Kube) -> None:
    long = {"name": "a", **shell("trap 'exit 0' TERM; sleep 300 & wait")}
    kube.apply(workflow("w", long, concurrency=[key("${run.workflow}", strategy="CancelInProgress")]))
    kube.apply(run_of("old", "w"))
    kube.step("old", "a", lambda step: step["phase"] == "Running")
    kube.apply(run_of("new", "w"))
    old = kube.ended("old")
    assert (old["phase"], old["reason"], old["supersededBy"]) == ("Cancelled", "Superseded", "new")
    new = kube.until("admitted", "workflowrun", "new", started)
    assert new["status"]["startTime"] >= old["finishTime"]
    kube.patch("workflowrun", "new", cancel=True)
    kube.ended("new")


def test_what_finds_no_slot_is_cancelled_or_only_the_newest_waits(kube: Kube) -> None:
    for name, strategy in (("drop", "CancelNewest"), ("keep", "KeepNewestQueued")):
        kube.apply(workflow(name, {"name": "a", **shell("sleep 5")}, concurrency=[key(strategy=strategy)]))
        kube.apply(run_of(f"{name}-1", name))
        kube.until("admitted", "workflowrun", f"{name}-1", started)
    kube.apply(run_of("drop-2", "drop"), run_of("keep-2", "keep"))
    kube.until("queued", "workflowrun", "keep-2", queued)
    kube.apply(run_of("keep-3", "keep"))
    assert (kube.ended("drop-2")["reason"], kube.ended("keep-2")["reason"]) == ("LimitReached", "Superseded")
    assert {kube.ended(name)["phase"] for name in ("drop-1", "keep-1", "keep-3")} == {"Succeeded"}


def test_keys_take_turns(kube: Kube) -> None:
    kube.apply(workflow("w", SECOND, concurrency=[key("${input.who}", strategy="RoundRobin")]))
    names = ["a1", "a2", "a3", "b1", "b2"]
    kube.apply(*(run_of(name, "w", input={"who": name[0]}) for name in names))
    for name in names:
        kube.ended(name)
    assert [name[0] for name in order(kube, *names)] == ["a", "b", "a", "b", "a"]


def test_a_backoff_holds_no_slot_and_steps_of_two_runs_share_one(kube: Kube) -> None:
    entry = key("api", scope="providers")
    fails = {"name": "a", **shell("exit 1"), "retries": 1, "backoff": {"base": "1h", "max": "1h"}}
    kube.apply(run("fails", {**fails, "concurrency": [entry]}))
    kube.step("fails", "a", lambda step: step.get("reason") == "Backoff")
    both = {**SECOND, "name": "b", "concurrency": [entry]}
    kube.apply(run("r1", {**SECOND, "concurrency": [entry]}), run("r2", {**SECOND, "concurrency": [entry]}, both))
    statuses = [kube.ended("r1"), kube.ended("r2")]
    assert {status["phase"] for status in statuses} == {"Succeeded"}
    assert at_once(spans(statuses)) == 1
    kube.patch("workflowrun", "fails", cancel=True)


def test_a_limit_is_raised_and_lowered_while_runs_hold_and_wait(kube: Kube) -> None:
    long = {"name": "a", **shell("trap 'exit 0' TERM; sleep 300 & wait")}
    kube.apply(workflow("w", long, concurrency=[key("k", "input.slots", scope="Namespace")]))
    kube.apply(*(run_of(f"r{number}", "w", input={"slots": 1}) for number in range(3)))
    kube.until("queued", "workflowrun", "r2", queued)
    kube.apply(workflow("w", long, concurrency=[key("k", 3, scope="Namespace")]))
    for name in ("r1", "r2"):
        kube.until("admitted", "workflowrun", name, started)
    kube.must("delete", "workflowrun", "r0", "--wait=false")
    kube.apply(run_of("r3", "w", input={"slots": 1}))
    kube.until("admitted into the slot of a deleted run", "workflowrun", "r3", started)
    # Lowered while three run: nobody is ended, and nobody starts until two have gone.
    kube.apply(workflow("w", long, concurrency=[key("k", 2, scope="Namespace")]), run_of("r4", "w", input={"slots": 3}))
    waits = kube.until("queued", "workflowrun", "r4", queued)
    assert "3 of 2 in use" in waits["status"]["message"]
    kube.patch("workflowrun", "r1", cancel=True)
    kube.ended("r1")
    told = kube.until("told anew", "workflowrun", "r4", lambda item: "2 of 2 in use" in item["status"]["message"])
    assert queued(told), "two of two run"
    kube.patch("workflowrun", "r2", cancel=True)
    kube.ended("r2")
    kube.until("admitted", "workflowrun", "r4", started)


def test_a_slot_that_was_deleted_by_hand_is_taken_again(kube: Kube) -> None:
    long = {"name": "a", **shell("trap 'exit 0' TERM; sleep 300 & wait")}
    kube.apply(run("r", long, concurrency=[key()]))
    kube.step("r", "a", lambda step: step["phase"] == "Running")
    (lease,) = kube.list("leases", "adze.dev/group")
    kube.must("delete", "lease", lease["metadata"]["name"])
    again = kube.until(
        "taken again",
        "lease",
        lease["metadata"]["name"],
        lambda seen: seen["metadata"]["uid"] != lease["metadata"]["uid"],
    )
    assert again["spec"]["holderIdentity"] == "r"
    events = kube.list("events")
    (lost,) = [event for event in events if event["reason"] == "SlotLost"]
    assert "the Lease by which the run held its slot of key 'k' is gone" in lost["message"]
    kube.patch("workflowrun", "r", cancel=True)
    kube.ended("r")


def test_the_order_and_the_limit_survive_the_operator(kube: Kube) -> None:
    kube.apply(workflow("w", SECOND, concurrency=[key()]))
    names = [f"r{number}" for number in range(6)]
    kube.apply(*(run_of(name, "w") for name in names))
    kube.until("queued", "workflowrun", "r5", queued)
    for name in ("r1", "r3"):
        kube.until("admitted", "workflowrun", name, started)
        kube.adze.kubectl("--namespace", "adze-system", "delete", "pods", "--all", "--force", "--grace-period=0")
    statuses = [kube.ended(name, 120) for name in names]
    assert {status["phase"] for status in statuses} == {"Succeeded"}
    assert at_once(spans(statuses)) == 1
    assert order(kube, *names) == names


def test_both_keys_or_none(kube: Kube) -> None:
    long = {"name": "a", **shell("trap 'exit 0' TERM; sleep 300 & wait")}
    one, two = key("one", scope="Namespace"), key("two", scope="Namespace")
    kube.apply(run("holds-one", long, concurrency=[one]))
    kube.until("admitted", "workflowrun", "holds-one", started)
    kube.apply(run("both", SECOND, concurrency=[two, one]))
    waits = kube.until("queued", "workflowrun", "both", queued)
    assert "key 'one'" in waits["status"]["message"]
    kube.apply(run("other", SECOND, concurrency=[two]))
    assert kube.ended("other")["phase"] == "Succeeded", "who waits for one key must not hold another"
    kube.patch("workflowrun", "holds-one", cancel=True)
    assert kube.ended("both")["phase"] == "Succeeded"


def test_a_queue_may_be_left(kube: Kube) -> None:
    long = {"name": "a", **shell("trap 'exit 0' TERM; sleep 300 & wait")}
    kube.apply(workflow("w", long, concurrency=[key()], queueTimeout="8s"))
    kube.apply(run_of("holds", "w"))
    kube.until("admitted", "workflowrun", "holds", started)
    kube.apply(run_of("tired", "w"), run_of("cancelled", "w"))
    kube.until("queued", "workflowrun", "cancelled", queued)
    kube.patch("workflowrun", "cancelled", cancel=True)
    assert kube.ended("cancelled")["reason"] == "Cancelled"
    tired = kube.ended("tired")
    assert (tired["phase"], tired["reason"]) == ("Failed", "QueueTimeout")
    assert steps(tired)["a"]["phase"] == "Cancelled"
    kube.patch("workflowrun", "holds", cancel=True)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (key(runs=0), "maxRuns must be between 1 and 10000"),
        (key(runs=-1), "maxRuns must be between 1 and 10000"),
        (key(""), "key"),
        (key(strategy="Fifo"), "Unsupported value"),
        (key(scope="Cluster"), "scope"),
    ],
)
def test_a_bad_entry_is_refused_at_apply(kube: Kube, entry: Object, message: str) -> None:
    assert message in kube.refused(workflow("w", SECOND, concurrency=[entry]))


def test_a_step_can_only_wait(kube: Kube) -> None:
    entry = key(strategy="CancelInProgress")
    assert "strategy must be Queue or RoundRobin" in kube.refused(workflow("w", {**SECOND, "concurrency": [entry]}))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (key("${input.name}"), "gives a text of 0 characters"),
        (key("${input.number}"), "which is no text"),
        (key(runs="input.number - 7"), "a whole number from 1 to 10000 is needed"),
        (key("${input.missing}"), "Key not found"),
    ],
)
def test_a_key_that_can_not_be_used_fails_the_run(kube: Kube, entry: Object, message: str) -> None:
    kube.apply(run("r", SECOND, concurrency=[entry], spec={"input": {"name": "", "number": 7}}))
    status = kube.ended("r")
    assert (status["phase"], status["reason"]) == ("Failed", "InvalidConcurrency")
    assert message in status["message"]
