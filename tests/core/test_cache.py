"""The cache of step results: when a step ends with what another run's has handed over."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from adze.core import cache, planner, revision
from adze.core.calls import DropEntry, Failure, Problem, ReadEntry, StoreEntry
from adze.core.model import Entry, Metadata, Phase, RerunOf, Run, RunSpec, WorkflowSpec
from adze.core.observed import Observed
from adze.core.planner import Plan
from adze.core.revision import InvalidWorkflow
from tests import builders
from tests.builders import NOW, opened, run, seconds, step, stored, succeeded, workflow
from tests.core.dialogue import NOT_FOUND, UNKNOWN, Dialogue, reconcile

KEY = {"key": "${input.word}", "ttl": "1h"}


class Drive(builders.Drive):
    """A Drive with a cache, which runs may share."""

    def __init__(self, *arguments: Any, **fields: Any) -> None:
        super().__init__(*arguments, **fields)
        self.entries: dict[str, Entry | None] = {}

    def _plan(self, fresh: bool) -> Plan:
        while True:
            try:
                return super()._plan(fresh)
            except cache.EntryNeeded as lacking:
                self.entries.setdefault(lacking.name, None)

    def _observed(self, fresh: bool = False) -> Observed:
        return replace(super()._observed(fresh), entries=self.entries)

    def _write(self, plan: Plan) -> None:
        super()._write(plan)
        for entry in plan.stale:
            self.entries[entry.metadata.name] = None
        for manifest in plan.entries:
            made = msgspec.convert(manifest, Entry)
            metadata = msgspec.structs.replace(made.metadata, creation_timestamp=self.now)
            known = self.entries.get(metadata.name)
            self.entries[metadata.name] = known or msgspec.structs.replace(made, metadata=metadata)


def spec(**fields: Any) -> WorkflowSpec:
    return workflow(step("a", **{"cache": KEY, "retries": 1, **fields}), step("b", parents=["a"]))


def drive(what: WorkflowSpec, other: Drive | None = None, word: str = "hi", name: str = "w", later: float = 0) -> Drive:
    """Another run of the Workflow `name`, with the cache that `other` has left."""
    new = run(name, name=f"run-{later:.0f}", uid=f"uid-{later}-{word}-{name}", input={"word": word})
    begun = planner.begin(new, stored(what), NOW)
    assert begun.status is not None
    made = Drive(what, begun=msgspec.structs.replace(new, status=begun.status))
    made.entries = dict(other.entries) if other else {}
    made.now = NOW + seconds(later)
    return made.until_quiet()


def test_a_step_that_succeeded_is_reused_without_an_attempt() -> None:
    first = drive(spec()).succeed("a", output={"n": 1})
    (entry,) = first.entries.values()
    assert entry is not None
    assert (entry.data.run, entry.data.ttl, entry.data.output) == ("run-0", "1h", '{"n":1}')
    second = drive(spec(), first, later=60)
    status = second.step("a")
    assert (status.phase, status.reason, status.attempts) == (Phase.SUCCEEDED, "Cached", ())
    assert status.output == {"n": 1}
    assert status.message == "handed over in run run-0, kept 2026-03-01T12:00:00Z"
    assert second.live == {"b"}
    assert second.succeed("b").run.status.output == {"n": 1}
    assert len(second.created) == 1


def test_nothing_is_an_output_too() -> None:
    first = drive(spec()).succeed("a")
    assert drive(spec(), first, later=60).step("a").reason == "Cached"


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        (spec(), {"word": "ho"}),
        (spec(), {"name": "other"}),
        (spec(command=["other"]), {}),
        (spec(output={"type": "object"}), {}),
        (spec(), {"later": 3600}),
        (spec(cache={"key": "${input.word}", "ttl": "5s"}), {"later": 5}),
    ],
)
def test_another_key_workflow_definition_or_time_is_another_result(what: WorkflowSpec, fields: dict[str, Any]) -> None:
    first = drive(spec()).succeed("a", output={"n": 1})
    assert drive(what, first, **{"later": 1, **fields}).live == {"a"}


def test_what_else_the_workflow_has_does_not_matter() -> None:
    first = drive(spec()).succeed("a", output={"n": 1})
    longer = spec(cache={"key": "${input.word}", "ttl": "2h"})
    assert drive(workflow(*longer.steps, step("c")), first, later=1).step("a").reason == "Cached"


def test_no_one_uses_an_entry_for_longer_than_its_writer_said() -> None:
    first = drive(spec(cache={"key": "${input.word}", "ttl": "5s"})).succeed("a", output={"n": 1})
    assert drive(spec(), first, later=4).step("a").reason == "Cached"
    second = drive(spec(), first, later=5)
    assert second.live == {"a"}
    assert list(second.entries.values()) == [None]
    second.succeed("a", output={"n": 2})
    assert drive(spec(), second, later=6).step("a").output == {"n": 2}


def test_runs_with_a_workflow_of_their_own_share_with_those_of_the_same() -> None:
    one = Drive(spec(), input={"word": "hi"}).until_quiet().succeed("a", output={"n": 1})
    two = Drive(spec(), input={"word": "hi"})
    two.entries = dict(one.entries)
    assert two.until_quiet().step("a").reason == "Cached"
    three = Drive(workflow(*spec().steps, step("c")), input={"word": "hi"})
    three.entries = dict(one.entries)
    assert three.until_quiet().live == {"a", "c"}


def test_failures_are_not_kept_and_a_retry_runs() -> None:
    first = drive(spec()).fail("a").until_wake()
    assert (first.live, list(first.entries.values())) == ({"a"}, [None])
    first.succeed("a", output={"n": 1})
    assert drive(spec(), first, later=1).step("a").reason == "Cached"


def test_a_key_that_can_not_be_computed_is_no_reason_to_fail() -> None:
    what = spec(cache={"key": "${input.nothing}"})
    one = drive(what)
    assert (one.live, one.entries) == ({"a"}, {})
    assert one.succeed("a").entries == {}


def test_an_output_that_is_too_large_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SIZE_LIMIT", 5)
    assert list(drive(spec()).succeed("a", output={"n": 1}).entries.values()) == [None]


@pytest.mark.parametrize("data", [{}, {"ttl": "1h", "output": "no"}, {"ttl": "wat"}, {"ttl": "1h", "output": "[1]"}])
def test_an_entry_that_somebody_else_has_made_is_not_used(data: dict[str, str]) -> None:
    first = drive(spec())
    entry = msgspec.convert({"metadata": {"name": "x"}, "data": data}, Entry)
    made = msgspec.structs.replace(entry, metadata=Metadata(name="x", creation_timestamp=NOW))
    first.entries = dict.fromkeys(first.entries, made)
    assert drive(spec(), first, later=1).live == {"a"}


def test_a_cached_output_must_fit_the_schema() -> None:
    what = spec(output={"type": "object", "required": ["n"]})
    first = drive(what).succeed("a", output={"n": 1})
    assert drive(what, first, later=1).step("a").reason == "Cached"
    (name,) = first.entries
    entry = first.entries[name]
    assert entry is not None
    data = msgspec.structs.replace(entry.data, output="{}")
    first.entries[name] = msgspec.structs.replace(entry, data=data)
    assert drive(what, first, later=1).live == {"a"}


def test_a_step_that_is_skipped_reads_nothing() -> None:
    assert drive(spec(when="false")).entries == {}


def test_a_rerun_does_the_work_again() -> None:
    first = drive(spec()).succeed("a", output={"n": 1}).fail("b")
    again = RunSpec(workflow="w", rerun_of=RerunOf(run="run-0", from_="a"))
    new: Run = msgspec.structs.replace(run("w", uid="new"), spec=again)
    begun = planner.begin(new, None, NOW, first.run)
    assert begun.status is not None
    second = Drive(spec(), begun=msgspec.structs.replace(new, status=begun.status))
    second.entries = dict(first.entries)
    assert second.until_quiet().live == {"a"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"key": "${inputs.word}"}, "spec.steps[a].cache.key:1:9: unknown name 'inputs'"),
        ({"key": "x", "ttl": "721h"}, "spec.steps[a].cache.ttl: must be at most 720h"),
        ({"key": "x", "ttl": "0s"}, "spec.steps[a].cache.ttl: must be longer than 0s"),
    ],
)
def test_a_cache_that_can_not_be_is_refused_with_the_workflow(given: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidWorkflow) as refused:
        revision.compile_workflow(spec(cache=given))
    assert words in str(refused.value)


def reading() -> Dialogue:
    """The first pass over a run: it has asked for the entry."""
    dialogue = reconcile(run(spec(), input={"word": "hi"}))
    assert dialogue.kinds == ["ReadEntry"]
    return dialogue


@pytest.mark.parametrize("answer", [NOT_FOUND, UNKNOWN, Problem(Failure.LATER, "PermissionDenied", "no")])
def test_a_cache_that_can_not_be_read_is_an_empty_one(answer: Problem) -> None:
    dialogue = reading().answer(answer)
    assert dialogue.kinds == ["WriteStatus"]
    assert dialogue.accept().kinds == ["CreatePod"]


def entry(name: str, ttl: str = "1h", age: float = 0) -> Entry:
    made = msgspec.convert({"metadata": {"name": name}, "data": {"output": '{"n":1}', "run": "r", "ttl": ttl}}, Entry)
    return msgspec.structs.replace(made, metadata=Metadata(name=name, creation_timestamp=NOW - seconds(age)))


def test_what_is_found_ends_the_step_in_the_first_write() -> None:
    dialogue = reading()
    dialogue.answer(entry(dialogue.call(ReadEntry).name))
    assert [(one.name, one.reason) for one in dialogue.calls[0].status.steps] == [  # type: ignore[union-attr]
        ("a", "Cached"),
        ("b", "Starting"),
    ]


def until(dialogue: Dialogue, kind: str) -> None:
    """The API server takes everything, until a call of that kind comes; gates stay shut."""
    while kind not in dialogue.kinds:
        assert dialogue.result is None, f"no {kind} among {dialogue.heard}"
        if "ReadRun" in dialogue.kinds:
            dialogue.answer(NOT_FOUND)
        else:
            dialogue.accept()


def test_an_entry_that_has_expired_is_dropped() -> None:
    dialogue = reading()
    old = entry(dialogue.call(ReadEntry).name, age=3600)
    until(dialogue.answer(old), "DropEntry")
    assert dialogue.call(DropEntry).entry == old
    result = dialogue.answer(UNKNOWN).result
    assert result is not None


def test_an_entry_is_written_after_the_status_and_nobody_minds_if_it_is_not() -> None:
    one = drive(spec())
    (pod,) = one.pods.values()
    dialogue = reconcile(one.run, pods={pod.name: succeeded(opened(pod), {"n": 1})})
    assert dialogue.kinds == ["WriteStatus"]
    until(dialogue, "StoreEntry")
    manifest = dialogue.call(StoreEntry).manifest
    assert manifest["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "adze",
        "adze.dev/cache": "a",
        "adze.dev/workflow": "w",
    }
    assert "ownerReferences" not in manifest["metadata"]
    assert dialogue.answer(UNKNOWN).result is not None
