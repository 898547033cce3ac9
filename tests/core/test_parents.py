"""When a step starts, is skipped or is cancelled by what became of its parents (design, section 4.1)."""

import pytest

from adze.core.model import Phase
from tests.builders import Drive, step, workflow

DIAMOND = workflow(
    step("top"), step("left", parents=["top"]), step("right", parents=["top"]), step("end", parents=["left", "right"])
)


def test_a_step_starts_once_all_its_parents_have_succeeded() -> None:
    drive = Drive(DIAMOND).until_quiet()
    assert drive.live == {"top"}
    assert drive.succeed("top").live == {"left", "right"}
    assert drive.succeed("right").live == {"left"}
    assert drive.succeed("left").live == {"end"}
    assert drive.succeed("end").phase == "Succeeded"
    assert drive.run.status.progress == "4/4"


def test_the_order_in_which_steps_are_written_does_not_matter() -> None:
    drive = Drive(workflow(step("last", parents=["first"]), step("first"))).until_quiet()
    assert drive.live == {"first"}
    assert drive.succeed("first").live == {"last"}


def test_a_failed_parent_cancels_what_follows_and_independent_branches_finish() -> None:
    drive = Drive(
        workflow(
            step("a"),
            step("b", parents=["a"]),
            step("c", parents=["b"]),
            step("x"),
            step("y", parents=["x"]),
        )
    ).until_quiet()
    drive.fail("a")
    assert drive.phases == {"a": "Failed", "b": "Cancelled", "c": "Cancelled", "x": "Pending", "y": "Pending"}
    assert (drive.step("b").reason, drive.step("b").message) == ("ParentFailed", "a ended Failed")
    assert (drive.step("c").reason, drive.step("c").message) == ("ParentFailed", "b ended Cancelled")
    assert drive.phase == "Running"

    drive.succeed("x").succeed("y")
    assert (drive.phase, drive.run.status.reason) == ("Failed", "StepFailed")
    assert drive.run.status.message == "a: ExitCode: exit code 1"


def test_a_failed_parent_cancels_at_once_though_others_still_run() -> None:
    drive = Drive(workflow(step("a"), step("b"), step("c", parents=["a", "b"]))).until_quiet()
    drive.fail("a")
    assert drive.step("c").phase == "Cancelled"
    assert drive.live == {"b"}


@pytest.mark.parametrize(("when", "phase"), [("input.go", "Succeeded"), ("!input.go", "Skipped")])
def test_when_decides_before_the_first_attempt(when: str, phase: str) -> None:
    drive = Drive(workflow(step("a", when=when)), input={"go": True}).until_quiet()
    if drive.live:
        drive.succeed("a")
    assert drive.step("a").phase == phase
    assert drive.phase == "Succeeded"


def test_a_skipped_step_says_which_condition_was_false_and_has_no_attempt() -> None:
    status = Drive(workflow(step("a", when="1 > 2"))).until_quiet().step("a")
    assert (status.reason, status.message, status.attempts) == ("WhenFalse", "1 > 2 is false", ())


def test_when_reads_what_parents_gave() -> None:
    spec = workflow(
        step("a"),
        step("b", parents=["a"], when="steps.a.output.ok"),
        step("c", parents=["a"], when="!steps.a.output.ok"),
    )
    drive = Drive(spec).until_quiet().succeed("a", output={"ok": True})
    assert drive.phases == {"a": "Succeeded", "b": "Pending", "c": "Skipped"}


def test_a_step_is_skipped_if_all_its_parents_were() -> None:
    spec = workflow(
        step("a", when="false"), step("b", when="false"), step("c", parents=["a", "b"]), step("d", parents=["c"])
    )
    drive = Drive(spec).until_quiet()
    assert set(drive.phases.values()) == {"Skipped"}
    assert drive.step("d").reason == "ParentsSkipped"
    assert (drive.phase, drive.created) == (Phase.SUCCEEDED, [])


def test_one_parent_that_succeeded_is_enough_beside_skipped_ones() -> None:
    spec = workflow(step("a", when="false"), step("b"), step("c", parents=["a", "b"]))
    drive = Drive(spec).until_quiet()
    assert drive.live == {"b"}
    assert drive.succeed("b").live == {"c"}


def test_a_failed_parent_outweighs_skipped_ones() -> None:
    spec = workflow(step("a", when="false"), step("b"), step("c", parents=["a", "b"]))
    assert Drive(spec).until_quiet().fail("b").step("c").phase == "Cancelled"


def test_the_phase_of_a_skipped_parent_can_be_read() -> None:
    spec = workflow(
        step("a", when="false"),
        step("b"),
        step("c", parents=["a", "b"], when="steps.a.phase == 'Skipped' && !has(steps.a.output.x)"),
    )
    assert Drive(spec).until_quiet().succeed("b").live == {"c"}


@pytest.mark.parametrize(
    "fields",
    [
        {"when": "input.nothing"},
        {"when": "input.text"},
        {"args": ["${input.nothing}"]},
        {"args": ["${type(1)}"]},
        {"env": [{"name": "X", "value": "${1 / (input.n - 1)}"}]},
    ],
)
def test_a_failing_expression_fails_its_step_without_an_attempt(fields: dict[str, object]) -> None:
    drive = Drive(
        workflow(step("a", retries=3, **fields), step("b", parents=["a"]), step("c")), input={"text": "yes", "n": 1}
    ).until_quiet()
    assert (drive.step("a").phase, drive.step("a").reason) == ("Failed", "ExpressionError")
    assert drive.step("a").attempts == ()
    assert drive.step("b").phase == "Cancelled"
    assert drive.succeed("c").phase == "Failed"


def test_a_context_that_does_not_fit_fails_its_step() -> None:
    drive = Drive(workflow(step("a")), input={"x": "y" * 300_000}).until_quiet()
    assert (drive.step("a").phase, drive.step("a").reason) == ("Failed", "ContextTooLarge")
    assert drive.phase == "Failed"


def test_a_wave_is_claimed_in_one_write() -> None:
    drive = Drive(workflow(*(step(f"s{number}") for number in range(50)))).until_quiet()
    assert len(drive.created) == 50
    assert drive.writes == 2, "one to freeze the run, one to claim all of its first steps"


def test_a_run_of_skipped_steps_ends_at_once() -> None:
    drive = Drive(workflow(step("a", when="false"))).until_quiet()
    assert drive.phase == "Succeeded"
    assert drive.run.status.progress == "1/1"


@pytest.mark.parametrize(
    ("run_if", "left", "right", "wanted"),
    [
        ("Succeeded", "succeed", "succeed", ("Pending", "Starting")),
        ("Succeeded", "fail", "succeed", ("Cancelled", "ParentFailed")),
        ("Succeeded", "skip", "succeed", ("Pending", "Starting")),
        ("Succeeded", "skip", "skip", ("Skipped", "ParentsSkipped")),
        ("AnySucceeded", "fail", "succeed", ("Pending", "Starting")),
        ("AnySucceeded", "skip", "succeed", ("Pending", "Starting")),
        ("AnySucceeded", "fail", "skip", ("Cancelled", "ParentFailed")),
        ("AnySucceeded", "skip", "skip", ("Skipped", "ParentsSkipped")),
        ("Failed", "succeed", "succeed", ("Skipped", "NoParentFailed")),
        ("Failed", "skip", "skip", ("Skipped", "NoParentFailed")),
        ("Failed", "fail", "succeed", ("Pending", "Starting")),
        ("Always", "fail", "fail", ("Pending", "Starting")),
        ("Always", "skip", "skip", ("Pending", "Starting")),
    ],
)
def test_run_if_says_how_parents_must_have_ended(run_if: str, left: str, right: str, wanted: tuple[str, str]) -> None:
    ends = {"left": left, "right": right}
    parents = [step(name, **({"when": "false"} if end == "skip" else {})) for name, end in ends.items()]
    drive = Drive(workflow(*parents, step("join", parents=["left", "right"], run_if=run_if))).until_quiet()
    for name, end in ends.items():
        if end != "skip":
            getattr(drive, end)(name)
    assert (drive.step("join").phase, drive.step("join").reason) == wanted


@pytest.mark.parametrize("run_if", ["AnySucceeded", "Failed", "Always"])
def test_run_if_waits_for_all_parents(run_if: str) -> None:
    steps = [step("left"), step("right"), step("join", parents=["left", "right"], run_if=run_if)]
    drive = Drive(workflow(*steps)).until_quiet().succeed("left")
    assert drive.live == {"right"}
    drive.fail("right")
    assert drive.live == {"join"}


def test_a_step_after_a_failure_does_not_mend_the_run() -> None:
    steps = [step("a"), step("mend", parents=["a"], run_if="Failed"), step("go-on", parents=["mend"])]
    drive = Drive(workflow(*steps)).until_quiet().fail("a").succeed("mend", "go-on")
    assert drive.phase == "Failed"
    assert drive.phases == {"a": "Failed", "mend": "Succeeded", "go-on": "Succeeded"}


def test_run_if_starts_nothing_after_a_cancel() -> None:
    steps = [step("a"), step("b", parents=["a"], run_if="Always")]
    drive = Drive(workflow(*steps)).until_quiet().start("a").ask(cancel=True)
    assert drive.phases == {"a": "Cancelled", "b": "Cancelled"}
