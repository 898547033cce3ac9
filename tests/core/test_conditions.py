"""Conditions as kstatus and `kubectl wait` read them."""

from datetime import timedelta

import pytest

from adze.core.conditions import of_run, of_workflow, set_conditions
from adze.core.model import Phase
from tests.builders import NOW

LATER = NOW + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("phase", "wanted"),
    [
        (Phase.PENDING, {"Succeeded": "Unknown", "Reconciling": "True"}),
        (Phase.RUNNING, {"Succeeded": "Unknown", "Reconciling": "True"}),
        (Phase.SUCCEEDED, {"Succeeded": "True"}),
        (Phase.FAILED, {"Succeeded": "False", "Stalled": "True"}),
        (Phase.CANCELLED, {"Succeeded": "False", "Stalled": "True"}),
    ],
)
def test_each_phase_has_its_conditions(phase: Phase, wanted: dict[str, str]) -> None:
    assert {kind: status for kind, (status, _, _) in of_run(phase, None, None).items()} == wanted


def test_a_condition_has_a_reason_even_where_the_run_has_none() -> None:
    assert of_run(Phase.RUNNING, None, None)["Succeeded"] == ("Unknown", "Running", "")
    assert of_run(Phase.FAILED, "StepFailed", "a: boom")["Stalled"] == ("True", "StepFailed", "a: boom")


def test_the_transition_time_moves_only_when_the_status_flips() -> None:
    running = set_conditions((), of_run(Phase.RUNNING, None, None), 1, NOW)
    waiting = set_conditions(running, of_run(Phase.RUNNING, "Backoff", "attempt 1 of 2 failed"), 2, LATER)
    assert {condition.last_transition_time for condition in waiting} == {NOW}
    assert {condition.reason for condition in waiting} == {"Backoff"}
    assert {condition.observed_generation for condition in waiting} == {2}

    ended = set_conditions(waiting, of_run(Phase.SUCCEEDED, None, None), 2, LATER)
    assert [(condition.type, condition.status, condition.last_transition_time) for condition in ended] == [
        ("Succeeded", "True", LATER)
    ]


def test_a_workflow_is_ready_or_says_why_not() -> None:
    assert of_workflow(None) == {"Ready": ("True", "Accepted", "")}
    assert of_workflow("no image") == {
        "Ready": ("False", "Invalid", "no image"),
        "Stalled": ("True", "Invalid", "no image"),
    }
