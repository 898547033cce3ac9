"""Which finished runs of a workflow are too many."""

import msgspec

from adze.core import revision as revisions
from adze.core.model import Phase, Run, RunStatus, WorkflowSpec
from adze.core.retention import surplus
from tests.builders import NOW, run, seconds, step, workflow


def finished(spec: WorkflowSpec | None, number: int, phase: Phase = Phase.SUCCEEDED) -> Run:
    """The run that finished `number` seconds after the start of time; None stands for one that never began."""
    frozen = {"workflow_spec": msgspec.to_builtins(spec), "revision": revisions.digest(spec)} if spec else {}
    status = RunStatus(phase=phase, finish_time=NOW + seconds(number), **frozen)
    return msgspec.structs.replace(run("shop", name=f"run-{number}"), status=status)


def keeping(**retention: int | str) -> WorkflowSpec:
    return workflow(step("a"), retention=retention)


def names(runs: list[Run]) -> list[str]:
    return sorted(one.metadata.name for one in runs)


def test_without_retention_everything_is_kept() -> None:
    assert surplus([]) == []
    assert surplus([finished(workflow(step("a")), number) for number in range(5)]) == []
    assert surplus([finished(keeping(ttl="1h"), number) for number in range(5)]) == []
    assert surplus([finished(None, number, Phase.FAILED) for number in range(5)]) == []


def test_the_oldest_go_first_whatever_the_order_of_the_list() -> None:
    spec = keeping(succeeded=2)
    assert names(surplus(finished(spec, number) for number in (3, 1, 4, 2))) == ["run-1", "run-2"]


def test_none_may_be_kept() -> None:
    assert names(surplus([finished(keeping(succeeded=0), 1)])) == ["run-1"]


def test_succeeded_and_others_are_counted_apart() -> None:
    spec = keeping(succeeded=1, failed=1)
    phases = {1: Phase.SUCCEEDED, 2: Phase.FAILED, 3: Phase.CANCELLED, 4: Phase.SUCCEEDED, 5: Phase.FAILED}
    assert names(surplus(finished(spec, number, phase) for number, phase in phases.items())) == [
        "run-1",
        "run-2",
        "run-3",
    ]
    assert names(surplus(finished(keeping(failed=0), number, phase) for number, phase in phases.items())) == [
        "run-2",
        "run-3",
        "run-5",
    ]


def test_the_newest_run_tells_how_many_are_kept() -> None:
    old, new = keeping(succeeded=0), keeping(succeeded=5)
    assert surplus([finished(old, 1), finished(old, 2), finished(new, 3)]) == []
    assert names(surplus([finished(new, 1), finished(new, 2), finished(old, 3)])) == ["run-1", "run-2", "run-3"]


def test_runs_that_never_began_count_as_failed_but_decide_nothing() -> None:
    never = [finished(None, number, Phase.FAILED) for number in (8, 9)]
    assert names(surplus([*never, finished(keeping(failed=1), 1, Phase.FAILED)])) == ["run-1", "run-8"]
