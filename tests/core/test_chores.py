"""What a status that stands asks for among the Pods, and which Pods may start."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import pytest

from adze.core.model import Attempt, Phase, Run, RunStatus, StepStatus
from adze.core.observed import Observed, Refusal
from adze.core.pods import Pod
from adze.core.upkeep import Chores, chores, may_start
from tests.builders import (
    NOW,
    SIDE,
    deleting,
    failed,
    named,
    opened,
    pod,
    released,
    run,
    running,
    seconds,
    step,
    succeeded,
    with_sidecar,
    with_status,
    workflow,
)

NAME = "hello-1-a-1"
LATER = NOW + seconds(10)


def subject(phase: Phase = Phase.RUNNING, **attempt: Any) -> Run:
    """A run whose one step has one attempt."""
    steps = (StepStatus(name="a", attempts=(Attempt(number=1, pod=NAME, **attempt),)),)
    return msgspec.structs.replace(run(workflow(step("a"))), status=RunStatus(phase=phase, steps=steps))


OPEN = subject()
STARTED = subject(start_time=NOW)
CLOSED = subject(finish_time=NOW, reason="ExitCode")
DONE = subject(finish_time=NOW)
WITHDRAWN = subject(finish_time=NOW, reason="Timeout")
SIDECAR = with_status(with_sidecar(failed(opened(pod(NAME))), SIDE), phase="Running")
QUOTA = Refusal("QuotaExceeded", "", False, NOW, seconds(5), LATER)


@dataclass(frozen=True)
class Case:
    """A run, the Pod of its attempt, and what is to do."""

    name: str
    run: Run
    pod: Pod | None = None
    wanted: tuple[str, ...] = ()
    now: datetime = NOW
    observed: dict[str, Any] = field(default_factory=dict)
    wake: datetime | None = None


CASES = [
    Case("claimed", OPEN, None, ("create",)),
    Case("claimed and refused lately", OPEN, None, (), observed={"refusals": {NAME: QUOTA}}, wake=LATER),
    Case("claimed and refused long ago", OPEN, None, ("create",), LATER, {"refusals": {NAME: QUOTA}}),
    Case("vanished", OPEN, None, (), observed={"vanished": frozenset({NAME})}),
    Case("vanished after its start", STARTED, None),
    Case("gated", OPEN, pod(NAME), ("open",)),
    Case("gated and being deleted", OPEN, deleting(pod(NAME))),
    Case("opened", OPEN, opened(pod(NAME))),
    Case("running", STARTED, running(opened(pod(NAME)))),
    Case("ended but not yet recorded", STARTED, succeeded(opened(pod(NAME)))),
    Case("recorded", DONE, succeeded(opened(pod(NAME))), ("release",)),
    Case("recorded and released", DONE, released(succeeded(opened(pod(NAME))))),
    Case("recorded and gone", CLOSED, None),
    Case("a side container goes on", CLOSED, SIDECAR, ("release",), wake=LATER),
    Case("a side container goes on too long", CLOSED, released(SIDECAR), ("delete",), LATER),
    Case("withdrawn while it runs", WITHDRAWN, running(opened(pod(NAME))), ("release", "delete")),
    Case("withdrawn behind its gate", WITHDRAWN, pod(NAME), ("release", "delete")),
    Case("withdrawn and being deleted", WITHDRAWN, released(deleting(running(opened(pod(NAME)))))),
    Case("withdrawn and not there", WITHDRAWN, None),
    Case("somebody else's, to be released", CLOSED, pod(NAME, owner="somebody")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_pod_gets_what_its_attempt_asks_for(case: Case) -> None:
    observed = Observed(pods=named([case.pod] if case.pod else []), **case.observed)
    found = chores(case.run, observed, case.now)
    subjects = {"create": (NAME,)} | dict.fromkeys(("open", "release", "delete"), (case.pod,))
    assert found == Chores(**{kind: subjects[kind] for kind in case.wanted}, wake=case.wake)  # type: ignore[arg-type]


def test_an_open_attempt_lets_its_pod_start() -> None:
    assert may_start(OPEN, pod(NAME))


@pytest.mark.parametrize(
    ("seen", "one"),
    [
        (CLOSED, pod(NAME)),
        (WITHDRAWN, pod(NAME)),
        (OPEN, pod("hello-1-a-2")),
        (OPEN, pod(NAME, owner="somebody")),
        (subject(Phase.FAILED), pod(NAME)),
        (subject(Phase.CANCELLED), pod(NAME)),
        (deleting(OPEN), pod(NAME)),
        (run(workflow(step("a"))), pod(NAME)),
    ],
)
def test_nothing_else_does(seen: Run, one: Pod) -> None:
    assert not may_start(seen, one)
