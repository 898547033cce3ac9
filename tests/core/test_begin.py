"""A run's first plan: refuse it, let it wait, or freeze it to its workflow."""

import msgspec
import pytest

from adze.core import planner
from adze.core import revision as revisions
from adze.core.model import Phase, Run, WorkflowSpec
from adze.core.planner import WORKFLOW_PATIENCE
from tests.builders import NOW, Drive, asking, bare_step, run, seconds, step, stored, workflow

HELLO = workflow(step("a"), step("b", parents=["a"]), finally_=[step("tidy")])
TYPED = workflow(
    step("a", args=["${input.plan}"]),
    input={
        "type": "object",
        "required": ["age"],
        "properties": {"age": {"type": "integer"}, "plan": {"type": "string", "default": "free"}},
    },
)


def written(before: Run, plan: planner.Plan) -> Run:
    assert plan.status is not None
    return msgspec.structs.replace(before, status=plan.status)


def test_a_run_is_frozen_with_the_steps_of_its_graph_pending() -> None:
    plan = planner.begin(run("hello"), stored(HELLO), NOW)
    assert plan.status is not None
    assert plan.status.start_time is None  # the plan that follows starts it
    assert plan.status.revision == revisions.digest(HELLO)
    assert [(status.name, status.phase) for status in plan.status.steps] == [("a", "Pending"), ("b", "Pending")]
    frozen = msgspec.convert(msgspec.json.decode(msgspec.json.encode(plan.status.workflow_spec)), WorkflowSpec)
    assert frozen == HELLO


def test_an_inline_workflow_needs_no_other() -> None:
    assert planner.begin(run(HELLO), None, NOW).status == planner.begin(run("hello"), stored(HELLO), NOW).status


def test_an_edit_after_the_start_changes_nothing() -> None:
    begun = written(run("hello"), planner.begin(run("hello"), stored(HELLO), NOW))
    frozen = revisions.of_run(begun.status.revision or "", begun.status.workflow_spec or {})
    assert list(frozen.nodes) == ["a", "b", "tidy"]
    assert frozen.digest == revisions.digest(HELLO)


def test_an_invalid_workflow_fails_the_run_with_every_problem() -> None:
    plan = planner.begin(run(workflow(bare_step("a"), step("b", when="wat"))), None, NOW)
    assert plan.status is not None
    assert (plan.status.phase, plan.status.reason, plan.status.finish_time) == ("Failed", "InvalidWorkflow", NOW)
    assert "spec.steps[a].image" in (plan.status.message or "")
    assert "spec.steps[b].when:1:1" in (plan.status.message or "")
    assert {condition.type: condition.status for condition in plan.status.conditions} == {
        "Succeeded": "False",
        "Stalled": "True",
    }
    assert [(notice.type, notice.reason) for notice in plan.notices] == [("Warning", "InvalidWorkflow")]


@pytest.mark.parametrize(
    ("given_input", "words"),
    [
        (None, "spec.input: "),
        ({}, '"age" is a required property'),
        ({"age": "41"}, "spec.input.age: "),
        ({"age": 41, "plan": 5}, "spec.input.plan: "),
    ],
)
def test_an_input_that_breaks_the_schema_fails_the_run_before_anything_starts(
    given_input: dict[str, object] | None, words: str
) -> None:
    drive = Drive(TYPED, input=given_input).until_quiet()
    assert (drive.phase, drive.run.status.reason) == ("Failed", "InvalidInput")
    assert words in (drive.run.status.message or "")
    assert drive.created == []


def test_defaults_of_the_schema_reach_the_steps() -> None:
    plan = planner.begin(run(TYPED, input={"age": 41}), None, NOW)
    begun = written(run(TYPED, input={"age": 41}), plan)
    assert planner.run_input(begun, revisions.compile_workflow(TYPED)) == {"age": 41, "plan": "free"}


def test_endless_messages_are_cut_to_what_a_status_holds() -> None:
    spec = workflow(*(bare_step(f"s{number}", when="wat" * 600) for number in range(100)))
    Drive(spec).until_quiet()
    endless = workflow(step("a"), input={"properties": {"x": {"enum": ["y" * 9000]}}})
    assert Drive(endless, input={"x": "z" * 9000}).until_quiet().run.status.reason == "InvalidInput"


def test_a_missing_workflow_is_waited_for() -> None:
    waiting = planner.begin(run("hello"), None, NOW)
    assert waiting.status is not None
    assert (waiting.status.phase, waiting.status.reason) == ("Pending", "WorkflowNotFound")
    assert waiting.status.message == "there is no Workflow 'hello' in namespace 'shop'; waiting 1m for it"
    assert waiting.wake == NOW + WORKFLOW_PATIENCE

    again = planner.begin(written(run("hello"), waiting), None, NOW + seconds(30))
    assert again.status is None
    assert again.wake == NOW + WORKFLOW_PATIENCE

    found = planner.begin(written(run("hello"), waiting), stored(HELLO), NOW + seconds(59))
    assert found.status is not None
    assert found.status.workflow_spec


def test_a_workflow_that_never_comes_fails_the_run() -> None:
    plan = planner.begin(run("hello"), None, NOW + WORKFLOW_PATIENCE)
    assert plan.status is not None
    assert (plan.status.phase, plan.status.reason) == ("Failed", "WorkflowNotFound")
    assert (plan.status.message or "").endswith("apply it, then create the run again")


@pytest.mark.parametrize("found", [True, False])
def test_a_run_cancelled_before_its_start_is_cancelled(found: bool) -> None:
    plan = planner.begin(run("hello", cancel=True), stored(HELLO) if found else None, NOW)
    assert plan.status is not None
    assert (plan.status.phase, plan.status.reason, plan.status.finish_time) == ("Cancelled", "Cancelled", NOW)
    assert plan.status.workflow_spec is None


def test_a_suspended_run_waits_and_starts_when_resumed() -> None:
    drive = Drive(HELLO, suspend=True).until_quiet()
    assert (drive.phase, drive.run.status.reason) == ("Pending", "Suspended")
    assert drive.run.status.start_time is None
    writes = drive.writes
    drive.pass_time(3600)
    assert drive.writes == writes

    drive.ask(suspend=False)
    assert drive.live == {"a"}
    assert drive.run.status.start_time == NOW + seconds(3600)


def test_a_suspended_run_with_a_bad_input_fails_at_once() -> None:
    assert Drive(TYPED, suspend=True, input={}).until_quiet().run.status.reason == "InvalidInput"


def test_a_suspended_run_can_be_cancelled() -> None:
    drive = Drive(HELLO, suspend=True).until_quiet().ask(cancel=True)
    assert (drive.phase, drive.created) == (Phase.CANCELLED, [])


def test_a_waiting_run_notes_the_generation_it_has_seen() -> None:
    waiting = written(run("hello", suspend=True), planner.begin(run("hello", suspend=True), stored(HELLO), NOW))
    plan = planner.begin(asking(waiting), stored(HELLO), NOW)
    assert plan.status is not None
    assert plan.status.observed_generation == 2


def test_an_input_with_a_nul_is_refused() -> None:
    drive = Drive(workflow(step("a", when="input.x == 'a'")), input={"list": [{"x": "a\0b"}]}).until_quiet()
    assert (drive.phase, drive.run.status.reason) == ("Failed", "InvalidInput")
    wanted = "spec.input has a NUL character, which expressions can't read: at list[0].x"
    assert drive.run.status.message == wanted


def test_a_default_with_a_nul_decides_nothing() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string", "default": "a\0b"}}}
    drive = Drive(workflow(step("a", when="input.x == 'a'"), input=schema)).until_quiet()
    assert (drive.step("a").phase, drive.step("a").reason) == ("Failed", "ExpressionError")


@pytest.mark.parametrize("depth", [10, 500, 900, 940, 960, 980, 2000])
def test_an_input_of_any_depth_ends_its_run(depth: int) -> None:
    nested: list[object] = []
    for _ in range(depth):
        nested = [nested]
    spec = workflow(step("a", args=["${input.x}"]), step("b"))
    drive = Drive(spec, input={"x": nested}).until_quiet()
    assert drive.live or drive.phase == "Failed"
    assert depth > 10 or drive.live
