"""Reruns: what is kept, what runs again, and what is refused."""

import msgspec
import pytest

from adze.core import fanout, planner
from adze.core.model import Phase, RerunOf, Run, RunSpec, Step, WorkflowSpec
from tests.builders import NOW, Drive, run, seconds, step, stored, workflow

NEW = "6c1f5d3e-0000-4000-8000-000000000002"


def rerun(source: Run | str, start: str | None = "Failed", **spec: object) -> Run:
    """A new run that repeats `source`."""
    name = source if isinstance(source, str) else source.metadata.name
    given = RunSpec(rerun_of=RerunOf(run=name, from_=start), **spec)  # type: ignore[arg-type]
    return msgspec.structs.replace(run("hello", name="hello-2", uid=NEW), spec=given)


def again(source: Drive, start: str | None = "Failed", *, quiet: bool = True, **spec: object) -> Drive:
    """The rerun, begun, and claimed where it's `quiet`."""
    new = rerun(source.run, start, **spec)
    plan = planner.begin(new, None, NOW, source.run)
    assert plan.status is not None
    drive = Drive(workflow(step("unused")), begun=msgspec.structs.replace(new, status=plan.status))
    drive.pages = dict(source.pages)
    return drive.until_quiet() if quiet else drive


def kept(drive: Drive) -> set[str]:
    return {status.name for status in drive.run.status.steps if status.reason == "Kept"}


DIAMOND = workflow(
    step("a"),
    step("b", parents=["a"]),
    step("c", parents=["a"], args=["${steps.a.output.n} ${input.word}"]),
    step("d", parents=["b", "c"], args=["${steps.b.output.n}"]),
    finally_=[step("tidy")],
)


def failed_diamond() -> Drive:
    """a and b have succeeded, c has failed, d never ran."""
    drive = Drive(DIAMOND, input={"word": "hi"}).until_quiet().succeed("a", output={"n": 1})
    return drive.succeed("b", output={"n": 2}).fail("c").succeed("tidy")


def test_finished_steps_are_kept_with_their_outputs_and_what_failed_runs_again() -> None:
    source = failed_diamond()
    assert source.phase is Phase.FAILED
    drive = again(source)
    assert (drive.live, kept(drive)) == ({"c"}, {"a", "b"})
    assert drive.step("b").message == "handed over in run hello-1"
    assert drive.step("b").attempts == ()
    assert drive.attempt("c").number == 1
    drive.succeed("c", output={"m": 3})
    assert drive.live == {"d"}
    drive.succeed("d", "tidy")
    assert (drive.phase, drive.run.status.output) == (Phase.SUCCEEDED, {"n": 2, "m": 3})
    assert len(drive.created) == 3


def test_a_rerun_has_the_frozen_workflow_and_the_input_of_its_source() -> None:
    source = failed_diamond()
    status = again(source).run.status
    assert (status.revision, status.workflow_spec) == (source.run.status.revision, source.run.status.workflow_spec)
    assert status.input == {"word": "hi"}
    assert status.trigger
    assert (status.trigger.kind, status.trigger.run) == ("Rerun", "hello-1")
    assert (status.trigger.run_uid, status.trigger.time) == (source.run.metadata.uid, NOW)


def test_a_rerun_can_be_repeated_in_its_turn() -> None:
    second = again(failed_diamond()).fail("c").succeed("tidy")
    second.run = msgspec.structs.replace(
        second.run, metadata=msgspec.structs.replace(second.run.metadata, creation_timestamp=NOW + seconds(99))
    )
    third = again(second)
    assert (third.live, third.run.status.input) == ({"c"}, {"word": "hi"})
    assert third.run.status.trigger
    assert third.run.status.trigger.time == NOW


@pytest.mark.parametrize(
    ("start", "live"),
    [("a", {"a"}), ("b", {"b", "c"}), ("c", {"c"}), ("d", {"c"}), ("tidy", {"c"}), (None, {"a"})],
)
def test_a_step_runs_again_with_what_comes_after_it_and_what_failed(start: str | None, live: set[str]) -> None:
    assert again(failed_diamond(), start).live == live


def test_a_run_that_succeeded_is_repeated_from_a_step() -> None:
    source = Drive(DIAMOND, input={"word": "hi"}).until_quiet().succeed("a", output={"n": 1})
    source.succeed("b", output={"n": 2}).succeed("c", "d", "tidy")
    assert source.phase is Phase.SUCCEEDED
    drive = again(source, "d")
    assert drive.live == {"d"}
    assert drive.succeed("d", "tidy").phase is Phase.SUCCEEDED
    assert again(source, "tidy").live == {"tidy"}


def test_what_was_skipped_stays_skipped() -> None:
    spec = workflow(step("a", when="false"), step("b"), step("c", parents=["a", "b"]))
    drive = again(Drive(spec).until_quiet().succeed("b").fail("c"))
    assert drive.phases == {"a": "Skipped", "b": "Succeeded", "c": "Pending"}
    assert drive.step("a").reason == "WhenFalse"


def test_what_a_cancel_ended_runs_again() -> None:
    drive = Drive(workflow(step("a"), step("b", parents=["a"]))).until_quiet().succeed("a").ask(cancel=True)
    drive.until_quiet()
    assert drive.phase is Phase.CANCELLED
    assert again(drive).live == {"b"}


def fan(policy: str | None = None, for_each: str = "input.list", max_parallel: int = 2) -> Drive:
    """Of six items the last two never start, as one has failed."""
    first = step("a", for_each=for_each, failure_policy=policy, max_parallel=max_parallel)
    spec = workflow(first, step("b", parents=["a"], args=["${steps.a.output.map(o, o.text)}"]))
    drive = Drive(spec, input={"list": list(range(6))}).until_quiet()
    for index in (0, 1, 3):
        drive.succeed(f"a[{index}]", output={"text": f"old {index}"})
    return drive.fail("a[2]", message="no").succeed("a[4]", output={"text": "old 4"})


def test_only_items_that_failed_or_never_started_run_again() -> None:
    source = fan()
    assert source.phase is Phase.FAILED
    assert (source.items("a").succeeded, source.items("a").failed) == ("0-1,3-4", "2")
    drive = again(source)
    assert drive.live == {"a[2]", "a[5]"}
    drive.succeed("a[2]", output={"text": "new 2"}).succeed("a[5]", output={"text": "new 5"})
    assert (drive.items("a").succeeded, drive.items("a").failed) == ("0-5", "")
    assert drive.live == {"b"}
    assert len(drive.created) == 3
    args = ["old 0", "old 1", "new 2", "old 3", "old 4", "new 5"]
    assert drive.items("a").outputs == {str(index): {"text": text} for index, text in enumerate(args)}
    assert drive.succeed("b").phase is Phase.SUCCEEDED


def test_the_limit_of_items_in_flight_holds_for_holes_too() -> None:
    source = Drive(
        workflow(step("a", for_each="input.list", max_parallel=1, failure_policy="Continue")),
        input={"list": [1, 2, 3, 4]},
    )
    source.until_quiet().succeed("a[0]").ask(cancel=True).until_quiet()
    assert source.items("a").cancelled == "1-3"
    drive = again(source)
    for index in (1, 2, 3):
        assert drive.live == {f"a[{index}]"}
        drive.succeed(f"a[{index}]")
    assert drive.phase is Phase.SUCCEEDED


def test_a_retry_of_an_item_between_kept_ones_starts_no_item_twice() -> None:
    source = Drive(
        workflow(step("a", for_each="input.list", retries=1, backoff={"base": "5s"})), input={"list": [0, 1, 2]}
    )
    source.until_quiet().succeed("a[0]", "a[2]").fail("a[1]").until_wake().fail("a[1]")
    assert source.phase is Phase.FAILED
    drive = again(source)
    assert drive.live == {"a[1]"}
    drive.fail("a[1]")
    assert drive.live == set()
    drive.until_wake()
    assert (drive.live, drive.attempt("a[1]").number) == ({"a[1]"}, 2)
    assert drive.succeed("a[1]").phase is Phase.SUCCEEDED
    assert len(drive.created) == 2


def test_a_list_that_depends_on_the_run_is_made_anew() -> None:
    source = fan(for_each="[run.name, 'x', 'y', 'z', 'v', 'w']")
    assert source.phase is Phase.FAILED
    assert again(source).live == {"a[0]", "a[1]"}


def test_a_step_that_tolerates_failed_items_has_succeeded() -> None:
    source = fan(policy="Continue")
    source.succeed("a[5]")
    assert source.step("b").reason == "ExpressionError"
    drive = again(source)
    assert (kept(drive), drive.items("a").failed) == ({"a"}, "2")
    assert drive.items("a").failures[0].attempts == ()


def test_errors_in_the_places_of_items_that_run_again_are_gone() -> None:
    drive = again(fan())
    drive.succeed("a[2]").succeed("a[5]")
    assert "2" not in (drive.items("a").outputs or {})


@pytest.mark.parametrize(
    ("start", "source", "words"),
    [
        ("Failed", None, "spec.rerunOf.run: there is no run 'hello-1' in namespace 'shop'"),
        ("Failed", Drive(DIAMOND, input={"word": ""}).until_quiet().run, "has not ended (Running): wait for its end"),
        ("nope", failed_diamond().run, "spec.rerunOf.from: run 'hello-1' has no step 'nope' in steps or finally"),
    ],
)
def test_refused(start: str, source: Run | None, words: str) -> None:
    status = planner.begin(rerun("hello-1", start), None, NOW, source).status
    assert status is not None
    assert (status.phase, status.reason, status.finish_time) == (Phase.FAILED, "RerunRefused", NOW)
    assert words in (status.message or "")


def refused(source: Run, start: str = "Failed", **spec: object) -> str:
    status = planner.begin(rerun(source, start, **spec), None, NOW, source).status
    assert status is not None
    assert status.reason == "RerunRefused"
    return status.message or ""


def test_nothing_that_failed() -> None:
    source = Drive(workflow(step("a"))).until_quiet().succeed("a")
    assert refused(source.run) == "spec.rerunOf.from: no step of run 'hello-1' failed or was cancelled"


def test_a_run_that_never_began_has_nothing_to_repeat() -> None:
    source = Drive(workflow(step("a", when="wat"))).until_quiet()
    assert "run 'hello-1' never began (InvalidWorkflow): create a new run" in refused(source.run)


def ended(what: WorkflowSpec | str) -> Run:
    """A run of a Workflow, or of an inline one, that has failed."""
    named = isinstance(what, str)
    spec = workflow(step("a"))
    new = run(what)
    plan = planner.begin(new, stored(spec) if named else None, NOW)
    drive = Drive(spec, begun=msgspec.structs.replace(new, status=plan.status))  # type: ignore[arg-type]
    return drive.until_quiet().fail("a").run


def test_the_workflow_is_that_of_the_source() -> None:
    source = ended("hello")
    assert refused(source) == "spec.workflow must be 'hello', as in run 'hello-1'"
    assert refused(source, workflow="other") == "spec.workflow must be 'hello', as in run 'hello-1'"
    assert (
        refused(ended(workflow(step("a"))), workflow="hello") == "spec.workflow must be left out, as in run 'hello-1'"
    )


def test_the_workflow_as_it_is_now_does_not_count() -> None:
    source = ended("hello")
    edited: Step = step("other")
    plan = planner.begin(rerun(source, workflow="hello"), stored(workflow(edited)), NOW, source)
    assert plan.status is not None
    assert [status.name for status in plan.status.steps] == ["a"]
    assert planner.begin(rerun(source, workflow="hello"), None, NOW, source).status == plan.status


def test_a_rerun_may_be_cancelled_before_its_start_and_suspended() -> None:
    source = ended("hello")
    plan = planner.begin(rerun(source, workflow="hello", suspend=True), None, NOW, source)
    assert plan.status is not None
    assert plan.status.reason == "Suspended"
    plan = planner.begin(rerun("nobody", cancel=True), None, NOW, None)
    assert plan.status is not None
    assert plan.status.phase is Phase.CANCELLED


def test_a_rerun_that_ends_before_it_is_admitted_leaves_what_it_kept() -> None:
    source = Drive(workflow(step("a"), step("b", for_each="input.list", max_parallel=1)), input={"list": [1, 2, 3]})
    source.until_quiet().succeed("a").succeed("b[0]").fail("b[1]")
    assert source.phase is Phase.FAILED
    drive = again(source, quiet=False).ask(cancel=True)
    assert drive.phases == {"a": "Succeeded", "b": "Cancelled"}
    items = drive.items("b")
    assert (items.succeeded, items.cancelled, drive.created) == ("0", "1-2", [])


def test_kept_outputs_in_pages_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "INLINE_LIMIT", 5)
    source = fan()
    assert source.items("a").pages
    drive = again(source)
    drive.succeed("a[2]", output={"text": "new 2"}).succeed("a[5]", output={"text": "new 5"})
    assert drive.live == {"b"}
