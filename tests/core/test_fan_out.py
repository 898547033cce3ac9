"""forEach: a step for each item of a list (docs/adr/0020-fan-out.md)."""

from random import Random
from typing import Any

import msgspec
import pytest

from adze.core import fanout, intervals, planner
from adze.core import revision as revisions
from adze.core.draft import bounded
from adze.core.hands import Hands
from adze.core.model import Attempt, ItemsStatus, ItemStatus, Phase
from adze.core.names import ITEM
from adze.core.observed import Observed
from adze.core.values import gathered
from tests.builders import (
    NOW,
    POLICY,
    SIDE,
    Drive,
    failed,
    running,
    seconds,
    step,
    succeeded,
    with_sidecar,
    with_status,
    workflow,
)


def fan(count: int = 3, *others: Any, rest: dict[str, Any] | None = None, **fields: Any) -> Drive:
    """A run of one forEach step over `count` numbers, and further steps."""
    spec = workflow(step("a", for_each="input.list", **fields), *others, **(rest or {}))
    return Drive(spec, input={"list": list(range(count))}).until_quiet()


def test_every_item_runs_and_the_step_succeeds() -> None:
    drive = fan(3)
    assert drive.live == {"a[0]", "a[1]", "a[2]"}
    assert (drive.step("a").phase, drive.step("a").message) == ("Running", "0/3 items")
    drive.succeed("a[1]", output={"n": 1})
    assert (drive.items("a").succeeded, drive.step("a").message) == ("1", "1/3 items")
    assert drive.run.status.message == "a: 1/3 items"
    drive.succeed("a[0]").succeed("a[2]", output={"n": 2})
    assert (drive.step("a").phase, drive.items("a").succeeded) == ("Succeeded", "0-2")
    assert drive.phase == "Succeeded"
    assert gathered(drive.items("a"), {}) == [{}, {"n": 1}, {"n": 2}]
    assert drive.items("a").active == ()
    assert len(drive.created) == 3


def test_an_empty_list_succeeds_at_once_and_gives_an_empty_list() -> None:
    drive = fan(0, step("b", parents=["a"], args=["${size(steps.a.output)}"]))
    assert (drive.step("a").phase, drive.items("a").total) == ("Succeeded", 0)
    assert drive.live == {"b"}


def test_the_output_is_a_list_in_item_order() -> None:
    drive = fan(3, step("b", parents=["a"], when="steps.a.output.map(o, o.n) == [10, 11, 12]"))
    for index in (2, 0, 1):
        drive.succeed(f"a[{index}]", output={"n": 10 + index})
    assert drive.live == {"b"}


def test_fail_starts_nothing_new_and_lets_run_what_runs() -> None:
    drive = fan(5, step("b", parents=["a"]), max_parallel=2)
    assert drive.live == {"a[0]", "a[1]"}
    drive.fail("a[0]", exit_code=3)
    assert drive.live == {"a[1]"}
    assert drive.step("a").phase == "Running"
    drive.succeed("a[1]")
    status = drive.step("a")
    assert (status.phase, status.reason) == ("Failed", "ItemsFailed")
    assert status.message == "1 of 5 items failed; a[0]: ExitCode: exit code 3"
    found = drive.items("a")
    assert (found.succeeded, found.failed, found.cancelled) == ("1", "0", "2-4")
    assert [entry.name for entry in found.failures] == ["a[0]"]
    assert gathered(found, {})[0] == {"error": "ExitCode: exit code 3"}
    assert gathered(found, {})[4] == {"error": "Cancelled"}
    assert drive.phases["b"] == "Cancelled"
    assert drive.phase == "Failed"


def test_fail_tries_nothing_again() -> None:
    drive = fan(2, retries=1, retry_when="attempt.exitCode != 64").fail("a[0]")
    drive.fail("a[1]", exit_code=64)
    assert (drive.step("a").phase, drive.items("a").failed) == ("Failed", "0-1")
    assert len(drive.created) == 2


def test_continue_runs_them_all_and_succeeds() -> None:
    drive = fan(4, step("b", parents=["a"]), max_parallel=1, failure_policy="Continue")
    drive.succeed("a[0]").fail("a[1]", message="no").succeed("a[2]").fail("a[3]")
    status = drive.step("a")
    assert (status.phase, status.reason, status.message) == ("Succeeded", None, "2 of 4 items failed")
    assert (drive.items("a").failed, drive.items("a").succeeded) == ("1,3", "0,2")
    assert gathered(drive.items("a"), {})[1] == {"error": "ExitCode: exit code 1: no"}
    assert drive.live == {"b"}


def test_items_are_tried_again_each_by_itself() -> None:
    drive = fan(2, retries=1, backoff={"base": "10s"}).fail("a[0]", exit_code=7)
    entry = drive.items("a").active[0]
    assert (entry.name, entry.reason, entry.retry_at) == ("a[0]", "Backoff", NOW + seconds(10))
    assert drive.live == {"a[1]"}
    drive.succeed("a[1]").until_wake()
    assert drive.attempt("a[0]").number == 2
    drive.succeed("a[0]")
    assert drive.phase == "Succeeded"
    assert [notice.reason for notice in drive.notices] == ["Succeeded"], "items post no Events"


def test_an_item_out_of_retries_has_failed() -> None:
    drive = fan(1, retries=2)
    for _ in range(3):
        drive.fail("a[0]").pass_time(60)
    assert (drive.step("a").phase, drive.items("a").failed) == ("Failed", "0")
    assert len(drive.created) == 3


def test_an_item_in_backoff_leaves_its_place_to_another() -> None:
    drive = fan(3, retries=1, max_parallel=1, backoff={"base": "10s"}).fail("a[0]")
    assert drive.live == {"a[1]"}
    drive.pass_time(20)
    assert drive.live == {"a[1]"}, "a retry takes a place too"
    drive.succeed("a[1]")
    assert drive.live == {"a[0]"}, "a retry comes before a new item"


def test_at_most_max_parallel_are_in_flight_in_order() -> None:
    drive = fan(7, max_parallel=3)
    for done in range(7):
        assert drive.live == {f"a[{index}]" for index in range(done, min(done + 3, 7))}
        drive.succeed(f"a[{done}]")
    assert drive.phase == "Succeeded"


def test_a_step_without_a_window_has_a_hundred_in_flight() -> None:
    drive = fan(120)
    assert len(drive.live) == fanout.MAX_PARALLEL
    assert drive.writes == 3, "one begins the run, and each of the others claims a wave"


def test_the_window_of_a_run_is_bounded_too() -> None:
    steps = [step(name, for_each="input.list", max_parallel=500) for name in ("a", "b")]
    drive = Drive(workflow(*steps), input={"list": list(range(600))}).until_quiet()
    assert len(drive.live) == fanout.ENTRIES


def test_item_and_index_are_seen() -> None:
    spec = workflow(
        step("a", for_each="input.list", args=["${index}: ${item.name}"], env=[{"name": "I", "value": "${item}"}])
    )
    drive = Drive(spec, input={"list": [{"name": "x"}, {"name": "y"}], "more": 1}).until_quiet()
    pod = manifests(drive)["a[1]"]
    assert pod["spec"]["containers"][0]["args"] == ["1: y"]
    env = {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}
    assert (env["ADZE_ITEM"], env["ADZE_STEP"], env["I"]) == ("1", "a", '{"name":"y"}')
    assert pod["metadata"]["labels"][ITEM] == "1"
    context = msgspec.json.decode(pod["metadata"]["annotations"]["adze.dev/context"])
    assert (context["item"], context["index"]) == ({"name": "y"}, 1)
    assert context["input"] == {"more": 1}, "not the list of which it is an item"


def manifests(drive: Drive) -> dict[str, Any]:
    """The Pods of the open attempts, as another process would make them again."""
    frozen = revisions.of_run(drive.run.status.revision or "", drive.run.status.workflow_spec or {})
    hands = Hands(drive.run, frozen, Observed(), NOW, POLICY)
    return {
        part.name: hands._manifest(a.pod, Observed()) for part in drive.run.status.parts() if (a := part.open_attempt)
    }


def test_a_fan_out_over_a_fan_out() -> None:
    drive = fan(2, step("b", parents=["a"], for_each="steps.a.output", args=["${item.n}"]))
    drive.succeed("a[0]", output={"n": 5}).succeed("a[1]", output={"n": 6})
    assert drive.live == {"b[0]", "b[1]"}
    pod = manifests(drive)["b[1]"]
    assert pod["spec"]["containers"][0]["args"] == ["6"]
    context = msgspec.json.decode(pod["metadata"]["annotations"]["adze.dev/context"])
    assert context["steps"] == {"a": {"phase": "Succeeded"}}


@pytest.mark.parametrize("value", [7, "text", {"a": 1}, None])
def test_what_is_no_list_fails_the_step(value: Any) -> None:
    drive = Drive(workflow(step("a", for_each="input.list")), input={"list": value}).until_quiet()
    assert (drive.step("a").phase, drive.step("a").reason) == ("Failed", "ForEachInvalid")
    assert "must give a list" in (drive.step("a").message or "")


def test_a_list_that_is_not_there_fails_the_step() -> None:
    drive = Drive(workflow(step("a", for_each="input.nope")), input={}).until_quiet()
    assert drive.step("a").reason == "ForEachInvalid"


def test_too_long_a_list_fails_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "MAX_ITEMS", 5)
    drive = Drive(
        workflow(step("a", for_each="input.list"), step("b", for_each="input.list")), input={"list": [1, 2, 3]}
    )
    drive.until_quiet()
    assert (drive.step("b").phase, drive.step("b").reason) == ("Failed", "TooManyItems")
    assert drive.step("b").message == "forEach gives 3 items; 2 fit in the run"


def test_an_item_whose_expression_fails_has_failed() -> None:
    spec = workflow(step("a", for_each="input.list", args=["${item.n}"], failure_policy="Continue", max_parallel=1))
    drive = Drive(spec, input={"list": [{}, {}, {"n": 1}]}).until_quiet()
    assert drive.live == {"a[2]"}
    drive.succeed("a[2]")
    assert (drive.items("a").failed, drive.step("a").phase) == ("0-1", "Succeeded")
    assert drive.items("a").failures[0].reason == "ExpressionError"


def test_cancel_withdraws_items_and_waits_for_their_end() -> None:
    drive = fan(5, max_parallel=2)
    drive.node_answers = False
    drive.start("a[0]", "a[1]")
    drive.ask(cancel=True)
    assert drive.step("a").phase == "Running", "its Pods may still run"
    assert drive.live == set()
    for name in list(drive.pods):
        drive.pods[name] = failed(drive.pods[name], 137)
    drive.pass_time(1)
    assert (drive.step("a").phase, drive.step("a").reason) == ("Cancelled", "Cancelled")
    assert drive.items("a").cancelled == "0-4"
    assert (drive.phase, len(drive.created)) == ("Cancelled", 2)


def test_the_deadline_of_the_run_ends_items() -> None:
    drive = fan(3, max_parallel=1, rest={"timeout": "10s"}).succeed("a[0]").start("a[1]").pass_time(11)
    assert (drive.step("a").phase, drive.step("a").reason) == ("Cancelled", "DeadlineExceeded")
    assert (drive.items("a").succeeded, drive.items("a").cancelled) == ("0", "1-2")
    assert (drive.phase, drive.run.status.reason) == ("Failed", "DeadlineExceeded")


def test_a_timeout_is_per_attempt_of_an_item() -> None:
    drive = fan(2, timeout="5s", retries=1).start("a[0]").pass_time(2).start("a[1]").pass_time(3)
    assert {entry.name: entry.reason for entry in drive.items("a").active} == {"a[0]": "Backoff", "a[1]": None}


def test_a_pod_that_still_ends_holds_its_place() -> None:
    drive = fan(2, max_parallel=1, timeout="5s", retries=1, backoff={"base": "1h", "max": "1h"})
    drive.node_answers = False
    drive.start("a[0]").pass_time(5)
    assert drive.items("a").active[0].reason == "Backoff"
    assert drive.live == set(), "two would run at once"
    drive.change("a[0]", lambda one: failed(one, 137))
    assert drive.live == {"a[1]"}


def test_suspend_starts_no_items_and_ends_the_step_with_the_last() -> None:
    drive = fan(2, max_parallel=1).ask(suspend=True)
    drive.succeed("a[0]")
    assert drive.live == set()
    drive.ask(suspend=False)
    assert drive.live == {"a[1]"}
    drive.ask(suspend=True).succeed("a[1]")
    assert drive.step("a").phase == "Succeeded"


def test_a_side_container_does_not_hold_an_item_but_the_run() -> None:
    drive = fan(1)
    drive.change("a[0]", lambda one: with_status(with_sidecar(succeeded(running(one)), SIDE), phase="Running"))
    assert drive.step("a").phase == "Succeeded"
    assert drive.phase == "Running"
    drive.pass_time(10)
    assert drive.phase == "Succeeded"


def test_when_is_asked_once_for_the_step() -> None:
    assert fan(2, when="size(input.list) > 2").step("a").phase == "Skipped"


def test_handlers_may_fan_out() -> None:
    rest = {"finally_": [step("tidy", for_each="steps.a.output.map(o, o.id)")]}
    drive = fan(2, rest=rest).succeed("a[0]", output={"id": "x"}).succeed("a[1]", output={"id": "y"})
    assert drive.live == {"tidy[0]", "tidy[1]"}
    drive.succeed("tidy[0]", "tidy[1]")
    assert drive.phase == "Succeeded"


def test_a_list_that_would_change_is_noticed() -> None:
    drive = fan(2, max_parallel=1)
    fanout._answered.cache_clear()
    drive.run = msgspec.structs.replace(
        drive.run, spec=msgspec.structs.replace(drive.run.spec, input={"list": ["other", "things"]})
    )
    drive.succeed("a[0]")
    assert drive.items("a").failures[0].reason == "ExpressionError"


def test_the_runs_default_output_leaves_lists_out() -> None:
    drive = fan(1, step("b", parents=["a"])).succeed("a[0]", output={"n": 1}).succeed("b", output={"m": 2})
    assert drive.run.status.output == {"m": 2}


def test_outputs_beyond_the_limit_fail_their_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "OUTPUTS_LIMIT", 40)
    drive = fan(3, failure_policy="Continue")
    drive.succeed("a[0]", output={"text": "x" * 20}).succeed("a[1]", output={"text": "y" * 20}).succeed("a[2]")
    assert (drive.items("a").succeeded, drive.items("a").failed) == ("0,2", "1")
    failure = drive.items("a").failures[0]
    assert (failure.reason, "the run's items together" in (failure.message or "")) == ("OutputTooLarge", True)


def test_outputs_that_are_too_many_go_into_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "INLINE_LIMIT", 60)
    drive = fan(7, step("b", parents=["a"], when="steps.a.output.map(o, o.n) == [0, 1, 2, 3, 4, 5, 6]"))
    for index in (3, 1, 0, 6, 5, 2, 4):
        drive.succeed(f"a[{index}]", output={"n": index, "text": "x" * 10})
        assert len(msgspec.json.encode(drive.items("a").outputs or {})) <= 60
    found = drive.items("a")
    assert set(found.pages) == set(drive.pages)
    assert len(found.pages) > 2
    assert found.outputs is None, "a step that has pages ends with all its outputs in them"
    assert [output["n"] for output in gathered(found, drive.pages)] == list(range(7))
    pod = manifests(drive)["b"]
    sources = pod["spec"]["volumes"][0]["projected"]["sources"]
    assert [source["configMap"]["name"] for source in sources[1:]] == list(found.pages)
    assert sources[1]["configMap"]["items"] == [{"key": "outputs.json", "path": "outputs/a/0.json"}]
    context = msgspec.json.decode(pod["metadata"]["annotations"]["adze.dev/context"])
    assert context["steps"]["a"] == {"outputs": "/adze/outputs/a", "phase": "Succeeded"}


def test_a_page_that_is_gone_fails_who_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "INLINE_LIMIT", 10)
    drive = fan(2, step("b", parents=["a"], args=["${size(steps.a.output)}"]))
    drive.succeed("a[0]", output={"text": "x" * 10})
    drive.pages = dict.fromkeys(drive.pages)  # type: ignore[assignment]
    drive.succeed("a[1]")
    assert (drive.step("b").phase, drive.step("b").reason) == ("Failed", "ExpressionError")
    assert "was deleted" in (drive.step("b").message or "")


def test_many_failures_keep_few_details(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "FAILURES", 2)
    drive = fan(4, failure_policy="Continue").fail("a[3]", "a[0]", "a[1]", "a[2]")
    assert [entry.name for entry in drive.items("a").failures] == ["a[3]", "a[0]"]
    assert drive.items("a").failed == "0-3"


def test_a_bad_case_of_fifty_thousand_items_fits() -> None:
    """Half of them failed at random, a window in flight, 256 in backoff, all messages as long as they may be."""
    failed_ones = [index for index in range(49_000) if Random(index).random() < 0.5]
    text = "x" * 2000
    attempt = Attempt(number=3, pod="p" * 63, node="n" * 40, start_time=NOW, finish_time=NOW, exit_code=1)
    attempt = msgspec.structs.replace(attempt, reason="ExitCode", message=text)
    flying = msgspec.structs.replace(attempt, finish_time=None, exit_code=None, reason=None, message=None)
    entries = [ItemStatus(name=f"a[{49_500 + n}]", phase=Phase.RUNNING, attempts=(flying,)) for n in range(100)]
    entries += [
        ItemStatus(name=f"a[{49_000 + n}]", reason="Backoff", message=text, retry_at=NOW, attempts=(attempt,))
        for n in range(256)
    ]
    failures = [ItemStatus(name=f"a[{n}]", reason="ExitCode", message=text, attempts=(attempt,)) for n in range(100)]
    found = ItemsStatus(
        total=50_000,
        digest="d" * 16,
        succeeded=intervals.add("", set(range(49_000)) - set(failed_ones)),
        failed=intervals.add("", failed_ones),
        active=tuple(map(bounded, entries)),
        failures=tuple(map(bounded, failures)),
        outputs={"0": "x" * fanout.INLINE_LIMIT},
        pages=tuple(f"{'r' * 30}-{'s' * 16}-{n:010}" for n in range(fanout.OUTPUTS_LIMIT // fanout.INLINE_LIMIT)),
    )
    assert len(msgspec.json.encode(found)) <= 512 * 1024


def test_each_item_wants_its_own_slot() -> None:
    concurrency = [{"key": "${item}", "maxRuns": 1}]
    drive = Drive(
        workflow(step("a", for_each="input.list", concurrency=concurrency, max_parallel=2)),
        input={"list": ["x", "y", "z"]},
    ).until_quiet()
    assert drive.live == set()
    frozen = revisions.of_run(drive.run.status.revision or "", drive.run.status.workflow_spec or {})
    plan = planner.plan(drive.run, frozen, Observed(), NOW, POLICY)
    assert [(want.holder, want.needs[0].key) for want in plan.wants] == [("a[0]#1", "x"), ("a[1]#1", "y")]
    granted = Observed(granted=frozenset({"a[1]#1"}))
    status = planner.plan(drive.run, frozen, granted, NOW, POLICY).status
    assert status is not None
    assert [part.name for part in status.parts() if part.open_attempt] == ["a[1]"]
