"""Passes that make no way come again after pauses that grow, and are spread (F10)."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from adze.core.calls import Call, Failure, Problem, ReadWorkflow
from adze.core.policy import Policy
from adze.shell.engine import Engine
from adze.shell.workers import Workers
from tests.builders import NOW, run, step, workflow
from tests.core.dialogue import accepted

UNKNOWN = Problem(Failure.UNKNOWN, "Timeout", "no answer")


class Driver:
    """Gives the same answer to every call; None is a server that takes what comes, and has no Workflow."""

    def __init__(self, answer: Problem | None) -> None:
        self.answer = answer

    async def do(self, call: Call) -> Any:
        if self.answer is None and isinstance(call, ReadWorkflow):
            return Problem(Failure.NOT_FOUND)
        return accepted(call) if self.answer is None else self.answer


class Noting(Workers[str]):
    """Workers that note what alarms they set."""

    pauses: list[float]

    def _set(self, key: str, moment: datetime | None) -> None:
        self.pauses.append((moment - NOW) / timedelta(seconds=1) if moment else 0)


class Patient(Engine):
    """Notes when it wants to wake."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver, Policy(), clock=lambda: NOW)  # type: ignore[arg-type]
        self._workers: Noting = Noting(self._pass, lambda: NOW)


def engine(driver: Driver, uid: str = "u") -> Patient:
    subject = Patient(driver)
    subject.see_run(run("hello", uid=uid))
    return subject


async def passes(subject: Patient, count: int, uid: str = "u") -> list[float]:
    subject._workers.pauses = []
    for _ in range(count):
        await subject._workers.begin(uid)
    return subject._workers.pauses


async def test_pauses_grow_to_a_limit() -> None:
    pauses = await passes(engine(Driver(UNKNOWN)), 12)
    for pause, most in zip(pauses, [1, 2, 4, 8, 16, *[30] * 7], strict=True):
        assert most / 2 <= pause <= most


async def test_runs_that_failed_together_do_not_come_back_together() -> None:
    first = {(await passes(engine(Driver(UNKNOWN), f"u{n}"), 1, f"u{n}"))[0] for n in range(20)}
    assert len(first) == 20


async def test_a_pass_that_made_its_way_starts_the_count_anew() -> None:
    driver = Driver(UNKNOWN)
    subject = engine(driver)
    await passes(subject, 5)
    driver.answer = None
    await passes(subject, 1)
    driver.answer = UNKNOWN
    (pause,) = await passes(subject, 1)
    assert pause <= 1


@pytest.mark.parametrize("failure", [Failure.UNKNOWN, Failure.CONFLICT])
async def test_a_status_that_can_not_be_written_is_no_failed_pass(failure: Failure) -> None:
    subject = Patient(Driver(Problem(failure)))
    subject.see_run(run(workflow(step("a")), uid="u"))
    (pause,) = await passes(subject, 1)
    assert 0.5 <= pause <= 1
    assert not subject._workers.failures
