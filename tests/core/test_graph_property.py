"""Any graph, any outcomes, any order of events: the run ends as a small model of the design says it must."""

from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adze.core.model import Step
from tests.builders import Drive, deleting, disrupted, failed, lost, step, workflow

RETRIES = 2


@dataclass(frozen=True)
class Fate:
    """What a step's attempts come to, whether its `when` is true, and its `runIf` if it has parents."""

    ends: tuple[str, ...]
    when: bool = True
    run_if: str = "Succeeded"


Graph = dict[str, tuple[str, ...]]


def model(graph: Graph, fates: dict[str, Fate], alarm: bool, tidy: bool) -> tuple[dict[str, str], str]:
    """Phases of the steps and of the run. Written from the design's sections 3 and 4, not from the code."""

    def play(name: str) -> str:
        if not fates[name].when:
            return "Skipped"
        failures = 0
        for end in fates[name].ends:
            if end == "succeed":
                return "Succeeded"
            failures += end == "fail"
            if failures > RETRIES:
                return "Failed"
        return "Succeeded"

    phases: dict[str, str] = {}
    while len(phases) < len(graph):
        for name, parents in graph.items():
            met = [phases.get(parent) for parent in parents]
            if name in phases or None in met:
                continue
            bad = "Failed" in met or "Cancelled" in met
            skipped = bool(met) and set(met) == {"Skipped"}
            instead = {
                "Succeeded": "Cancelled" if bad else "Skipped" if skipped else None,
                "AnySucceeded": None if "Succeeded" in met else "Cancelled" if bad else "Skipped",
                "Failed": None if bad else "Skipped",
                "Always": None,
            }
            phases[name] = (instead[fates[name].run_if] if met else None) or play(name)
    if alarm and "Failed" in phases.values():
        phases["alarm"] = play("alarm")
    if tidy:
        phases["tidy"] = play("tidy")
    return phases, "Failed" if "Failed" in phases.values() else "Succeeded"


FATE = st.builds(
    Fate,
    st.lists(st.sampled_from(["succeed", "fail", "lose"]), max_size=5).map(tuple),
    st.integers(0, 4).map(bool),
    st.sampled_from(["Succeeded", "Succeeded", "AnySucceeded", "Failed", "Always"]),
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Graph, dict[str, Fate], bool, bool]:
    names = [f"s{number}" for number in range(draw(st.integers(1, 6)))]
    graph = {name: tuple(draw(st.sets(st.sampled_from(names[:at])))) if at else () for at, name in enumerate(names)}
    graph = {name: graph[name] for name in draw(st.permutations(names))}
    return graph, {name: draw(FATE) for name in (*names, "alarm", "tidy")}, draw(st.booleans()), draw(st.booleans())


def drive_of(graph: Graph, fates: dict[str, Fate], alarm: bool, tidy: bool) -> Drive:
    def one(name: str, parents: tuple[str, ...] = ()) -> Step:
        when = None if fates[name].when else "1 > 2"
        more = {"when": when} if when else {}
        more |= {"run_if": fates[name].run_if} if parents else {}
        return step(name, parents=list(parents), retries=RETRIES, **more)

    extra: dict[str, Any] = ({"on_failure": one("alarm")} if alarm else {}) | (
        {"finally_": [one("tidy")]} if tidy else {}
    )
    return Drive(workflow(*(one(name, parents) for name, parents in graph.items()), **extra))


def check(drive: Drive, graph: Graph) -> None:
    """What must hold at every moment (design, section 5)."""
    for status in drive.run.status.steps:
        if status.attempts:
            phases = [drive.step(parent).phase for parent in graph.get(status.name, ())]
            assert all(phase.final for phase in phases), f"{status.name} before its parents"
            happy = all(phase in ("Succeeded", "Skipped") for phase in phases)
            assert happy or drive.run_if(status.name) != "Succeeded", f"{status.name} after a failed parent"
        assert all(attempt.finish_time for attempt in status.attempts[:-1]), f"two open attempts of {status.name}"
        assert sum(not attempt.infrastructure for attempt in status.attempts) <= RETRIES + 1
    assert len(set(drive.created)) == len(drive.created)


@settings(max_examples=150)
@given(cases(), st.randoms(use_true_random=False))
def test_every_run_ends_as_the_design_says(case: tuple[Graph, dict[str, Fate], bool, bool], random: Random) -> None:
    graph, fates, alarm, tidy = case
    drive = drive_of(*case).until_quiet()
    ends = {name: list(fate.ends) for name, fate in fates.items()}
    for _ in range(200):
        check(drive, graph)
        if drive.phase.final:
            break
        if not drive.live:
            drive.until_wake()
            continue
        name = random.choice(sorted(drive.live))
        end = ends[name].pop(0) if ends[name] else "succeed"
        loss = random.choice([lost, lambda one: deleting(failed(disrupted(one), 137))])
        drive.change(name, loss) if end == "lose" else getattr(drive, end)(name)
    phases, phase = model(graph, fates, alarm, tidy)
    assert drive.phases == phases
    assert drive.phase == phase
    assert drive.run.status.progress == f"{len(phases)}/{len(phases)}"


@given(cases(), st.randoms(use_true_random=False), st.integers(0, 12), st.booleans())
def test_a_run_that_is_cancelled_at_any_moment_ends(
    case: tuple[Graph, dict[str, Fate], bool, bool], random: Random, moment: int, suspend: bool
) -> None:
    graph, _, _, tidy = case
    drive = drive_of(*case).until_quiet()
    for _ in range(moment):
        if drive.live:
            name = random.choice(sorted(drive.live))
            getattr(drive, random.choice(["succeed", "fail", "start"]))(name)
        check(drive, graph)
    drive.ask(cancel=True, suspend=suspend)
    check(drive, graph)
    before = [name for name in drive.created if "-tidy-" not in name]
    for _ in range(20):
        if drive.live:
            assert drive.live == {"tidy"}
            drive.succeed("tidy")
        elif not drive.phase.final:
            drive.until_wake()
    assert drive.phase.final
    assert [name for name in drive.created if "-tidy-" not in name] == before, "nothing new starts after a cancel"
    assert not tidy or "tidy" in drive.phases
    failed_steps = "Failed" in drive.phases.values()
    assert drive.phase == "Failed" if failed_steps else drive.phase in ("Cancelled", "Succeeded")
