"""From ticks to runs: the order of the calls, and what follows from their answers."""

from datetime import timedelta
from typing import Any

import msgspec

from adze.core import names, ticks
from adze.core.calls import CreateRun, Failure, Problem, ReadRun, ReadWorkflow, SayOfWorkflow, WriteWorkflow
from adze.core.cron import Sight
from adze.core.model import Run, Workflow
from tests.builders import seconds
from tests.core.dialogue import CONFLICT, EXISTS, NOT_FOUND, QUOTA, UNKNOWN, Dialogue
from tests.core.test_cron import NOON, at, entry, having, minutely, seen

SIGHT = Sight()


def look(workflow: Workflow, now: Any, sight: Sight = SIGHT) -> Any:
    return Dialogue(ticks.reconcile(workflow, sight, now))  # type: ignore[arg-type]


def created(talk: Any, uid: str = "new") -> Run:
    """The run as the API server has made it."""
    made = talk.call(CreateRun).manifest
    return msgspec.convert({**made, "metadata": {**made["metadata"], "uid": uid, "resourceVersion": "7"}}, Run)


def accepted(talk: Any) -> Workflow:
    write = talk.call(WriteWorkflow)
    return msgspec.structs.replace(write.workflow, status=write.status)


def test_create_then_record_then_begin() -> None:
    talk = look(seen(minutely(input={"x": 1})), at(1))
    assert talk.kinds == ["CreateRun"]
    made = talk.call(CreateRun).manifest
    assert made["metadata"]["name"] == names.tick_run("report", "* * * * *", "UTC", at(1))
    assert made["metadata"]["labels"]["adze.dev/trigger"] == "cron"
    assert made["spec"] == {"workflow": "report", "input": {"x": 1}}
    run = created(talk)
    talk.answer(run)
    assert talk.kinds == ["WriteWorkflow"]
    (noted,) = entry(accepted(talk)).runs
    assert (noted.name, noted.uid, noted.time) == (run.metadata.name, "new", at(1))
    talk.answer(accepted(talk))
    assert talk.result == ticks.Look(at(2), (run,))


def test_a_look_with_nothing_to_do_asks_nothing() -> None:
    talk = look(seen(minutely()), at(0, 30))
    assert (talk.kinds, talk.result) == ([], ticks.Look(at(1)))


def test_a_run_that_is_there_is_adopted() -> None:
    talk = look(seen(minutely()), at(1))
    run = created(talk, "of a replica that died")
    talk.answer(EXISTS)
    assert talk.calls == [ReadRun("shop", run.metadata.name, "")]
    talk.answer(run)
    assert entry(accepted(talk)).runs[0].uid == "of a replica that died"


def test_another_s_run_under_the_name_is_left_alone() -> None:
    talk = look(seen(minutely()), at(1))
    run = created(talk)
    foreign = msgspec.structs.replace(
        run, metadata=msgspec.structs.replace(run.metadata, annotations=type(run.metadata.annotations)())
    )
    talk.answer(EXISTS).answer(foreign)
    assert (entry(accepted(talk)).missed, entry(accepted(talk)).runs) == (1, ())
    talk.answer(accepted(talk))
    assert {call.notice.reason for call in talk.calls if isinstance(call, SayOfWorkflow)} == {
        "RunRefused",
        "TicksMissed",
    }
    assert talk.nothing().result == ticks.Look(at(2))


def test_a_create_without_an_answer_is_repeated_soon() -> None:
    talk = look(seen(minutely()), at(1)).answer(UNKNOWN)
    assert talk.result == ticks.Look(again=True), "nothing is written, nothing said"


def test_a_run_that_vanished_meanwhile_is_created_again() -> None:
    talk = look(seen(minutely()), at(1)).answer(EXISTS).answer(NOT_FOUND)
    assert talk.result == ticks.Look(again=True)


def test_a_refused_create_is_told_and_repeated() -> None:
    talk = look(seen(minutely()), at(1)).answer(QUOTA)
    assert entry(accepted(talk)).reason == "RunRefused"
    talk.answer(accepted(talk)).nothing()
    assert talk.result == ticks.Look(at(1) + ticks.REFUSED_AGAIN)


def test_after_a_conflict_the_workflow_is_read_and_looked_at_again() -> None:
    talk = look(seen(minutely()), at(1))
    talk.answer(created(talk)).answer(CONFLICT)
    assert talk.calls == [ReadWorkflow("shop", "report")]
    assert talk.answer(seen(minutely())).result == ticks.Look(at(1))
    talk = look(seen(minutely()), at(1))
    talk.answer(created(talk)).answer(UNKNOWN).answer(Problem(Failure.UNKNOWN))
    assert talk.result == ticks.Look(again=True)


def test_a_status_that_the_api_server_refuses_is_not_sent_without_a_pause() -> None:
    talk = look(seen(minutely()), at(1))
    talk.answer(created(talk)).answer(Problem(Failure.REFUSED, "Invalid")).answer(seen(minutely()))
    assert talk.result == ticks.Look(at(1) + ticks.REFUSED_AGAIN)


def test_a_recorded_run_that_nobody_knows_is_asked_for_after_a_while() -> None:
    talk = look(seen(minutely()), at(1))
    first = created(talk, "gone")
    before = accepted(talk.answer(first))
    now = at(2) + ticks.FORGOTTEN
    talk = look(msgspec.structs.replace(having(minutely(), before=before)), now)
    talk.answer(created(talk, "new"))
    assert talk.calls == [ReadRun("shop", first.metadata.name, "gone")]
    talk.answer(NOT_FOUND)
    assert [run.uid for run in entry(accepted(talk)).runs] == ["new"]


def test_runs_that_are_known_to_wait_stay_recorded() -> None:
    talk = look(seen(minutely()), at(1))
    before = accepted(talk.answer(created(talk, "waits")))
    talk = look(before, at(2) + ticks.FORGOTTEN + timedelta(0), Sight(waiting={"x": "waits"}))
    talk.answer(created(talk, "new"))
    assert talk.kinds == ["WriteWorkflow"]
    assert [run.uid for run in entry(accepted(talk)).runs] == ["waits", "new"]


def test_the_first_sight_is_written() -> None:
    talk = look(having(minutely()), NOON)
    assert entry(accepted(talk)).decided_time == NOON
    assert talk.answer(accepted(talk)).result == ticks.Look(NOON + seconds(60))
