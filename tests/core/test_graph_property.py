"""Any graph, any outcomes, any order of events: the run ends as a model of the design says (reference.py)."""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adze.core.model import Step
from adze.core.values import gathered
from tests.builders import Drive, deleting, disrupted, failed, lost, step, workflow
from tests.core.reference import Fate, Plot, ending, items

Case = tuple[dict[str, Plot], Plot | None, Plot | None]
"""The graph, its onFailure step and its finally step."""
FATE = st.lists(st.sampled_from(["succeed", "fail", "lose"]), max_size=5).map(tuple).map(Fate)
RARELY = st.integers(0, 4).map(lambda number: number == 0)


@st.composite
def plots(draw: st.DrawFn, parents: tuple[str, ...] = ()) -> Plot:
    policy = draw(st.sampled_from([None, None, "Fail", "Continue"]))
    fates = draw(st.lists(FATE, max_size=4)) if policy else [draw(FATE)]
    run_if = draw(st.sampled_from(["Succeeded", "Succeeded", "AnySucceeded", "Failed", "Always"]))
    return Plot(tuple(fates), parents, not draw(RARELY), draw(st.integers(0, 2)), policy, run_if)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    names = [f"s{number}" for number in range(draw(st.integers(1, 6)))]
    graph = {
        name: draw(plots(tuple(draw(st.sets(st.sampled_from(names[:at])))) if at else ()))
        for at, name in enumerate(names)
    }
    handlers = (draw(st.none() | plots()), draw(st.none() | plots()))
    return {name: graph[name] for name in draw(st.permutations(names))}, *handlers


def drive_of(case: Case, window: int | None = None) -> Drive:
    graph, alarm, tidy = case

    def one(name: str, plot: Plot) -> Step:
        fields: dict[str, Any] = {"parents": list(plot.parents), "retries": plot.retries}
        fields |= {} if plot.when else {"when": "1 > 2"}
        fields |= {"run_if": plot.run_if} if plot.parents else {}
        if plot.policy:
            fields |= {
                "for_each": f"{[*range(len(plot.fates))]}",
                "failure_policy": plot.policy,
                "max_parallel": window,
            }
        return step(name, **{name: value for name, value in fields.items() if value is not None})

    handlers: dict[str, Any] = {"on_failure": one("alarm", alarm)} if alarm else {}
    handlers |= {"finally_": [one("tidy", tidy)]} if tidy else {}
    return Drive(workflow(*(one(name, plot) for name, plot in graph.items()), **handlers))


def plots_of(case: Case) -> dict[str, Plot]:
    graph, alarm, tidy = case
    return graph | {name: plot for name, plot in (("alarm", alarm), ("tidy", tidy)) if plot}


def fates_of(case: Case) -> dict[str, list[str]]:
    """The ends still to come of each step and item, by name."""
    return {
        name if plot.policy is None else f"{name}[{index}]": list(fate.ends)
        for name, plot in plots_of(case).items()
        for index, fate in enumerate(plot.fates)
    }


def check(drive: Drive, case: Case) -> None:
    """What must hold at every moment (design, section 5)."""
    known = plots_of(case)
    for part in drive.run.status.parts():
        plot = known[part.name.partition("[")[0]]
        if part.attempts:
            phases = [drive.step(parent).phase for parent in plot.parents]
            assert all(phase.final for phase in phases), f"{part.name} before its parents"
            happy = all(phase in ("Succeeded", "Skipped") for phase in phases)
            assert happy or plot.run_if != "Succeeded", f"{part.name} after a failed parent"
        assert all(attempt.finish_time for attempt in part.attempts[:-1]), f"two open attempts of {part.name}"
        if part.attempts and not part.attempts[-1].infrastructure:
            assert part.attempts[-1].number - part.lost <= plot.retries + 1
    assert len(set(drive.created)) == len(drive.created)


def check_items(drive: Drive, case: Case) -> None:
    """Each item ended as the model says; where the first failure ends the step, perhaps it never started."""
    for name, plot in plots_of(case).items():
        status = next((step for step in drive.run.status.steps if step.name == name), None)
        if not plot.policy or status is None or status.items is None:
            continue
        outputs = gathered(status.items, drive.pages)
        fails = dict(items(plot))
        ended = {index: "error" in output for index, output in enumerate(outputs)}
        if plot.policy == "Continue" or status.phase == "Succeeded":
            assert ended == fails
        assert all(fails[index] is False for index, error in ended.items() if not error)


@settings(max_examples=150)
@given(cases(), st.none() | st.integers(1, 3), st.randoms(use_true_random=False))
def test_every_run_ends_as_the_design_says(case: Case, window: int | None, random: Random) -> None:
    drive = drive_of(case, window).until_quiet()
    ends = fates_of(case)
    for _ in range(400):
        check(drive, case)
        if drive.phase.final:
            break
        if not drive.live:
            drive.until_wake()
            continue
        name = random.choice(sorted(drive.live))
        end = ends[name].pop(0) if ends[name] else "succeed"
        loss = random.choice([lost, lambda one: deleting(failed(disrupted(one), 137))])
        drive.change(name, loss) if end == "lose" else getattr(drive, end)(name)
    phases, phase = ending(*case)
    assert drive.phases == phases
    assert drive.phase == phase
    assert drive.run.status.progress == f"{len(phases)}/{len(phases)}"
    check_items(drive, case)


@given(cases(), st.randoms(use_true_random=False), st.integers(0, 12), st.booleans())
def test_a_run_that_is_cancelled_at_any_moment_ends(case: Case, random: Random, moment: int, suspend: bool) -> None:
    tidy = case[2]
    drive = drive_of(case).until_quiet()
    for _ in range(moment):
        if drive.live:
            name = random.choice(sorted(drive.live))
            getattr(drive, random.choice(["succeed", "fail", "start"]))(name)
        check(drive, case)
    drive.ask(cancel=True, suspend=suspend)
    check(drive, case)
    before = [name for name in drive.created if "-tidy-" not in name]
    for _ in range(40):
        if drive.live:
            assert all(name.partition("[")[0] == "tidy" for name in drive.live)
            drive.succeed(min(drive.live))
        elif not drive.phase.final:
            drive.until_wake()
    assert drive.phase.final
    assert [name for name in drive.created if "-tidy-" not in name] == before, "nothing new starts after a cancel"
    assert not tidy or "tidy" in drive.phases
    failed_steps = "Failed" in drive.phases.values()
    assert drive.phase == "Failed" if failed_steps else drive.phase in ("Cancelled", "Succeeded")
