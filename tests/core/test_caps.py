"""Caps: how many steps run at a time, whose turn it is, and why the others wait."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adze.core import admission, planner, slots
from adze.core import revision as revisions
from adze.core.model import Attempt, Run, RunStatus, StepStatus
from adze.core.observed import Observed
from adze.core.policy import Policy
from adze.core.queues import Queues
from adze.core.slots import Take, Want
from tests.builders import NOW, run, seconds, step, workflow
from tests.core.dialogue import NOT_FOUND, Dialogue
from tests.core.test_taking import lease


def asking(queues: Queues, name: str, *holders: str, namespace: str = "shop", running: str = "", **want: Any) -> Run:
    """A run whose steps want places; those in `running` have theirs."""
    new = run("hello", name=name, uid=name)
    metadata = msgspec.structs.replace(new.metadata, namespace=namespace)
    new = msgspec.structs.replace(new, metadata=metadata)
    order = slots.order(new, want.pop("priority", 0))
    wants = [Want(holder, (), order, holder in running.split(), counts=True, **want) for holder in holders]
    queues.ask(new, wants, NOW)
    return new


def admit(queues: Queues, namespace: str = "shop") -> Dialogue:
    return Dialogue(admission.admit(queues, namespace, NOW, known=True))


def placed(queues: Queues, *names: str) -> list[str]:
    """The holders that may run, of these runs."""
    return [f"{name}/{holder}" for name in names for holder in sorted(queues.granted(name, NOW))]


def test_no_more_run_than_the_cap_allows_and_the_others_are_told() -> None:
    queues = Queues(policy=Policy(parallelism=2))
    asking(queues, "r", "a#1", "b#1", "c#1")
    assert queues.busy("shop")
    assert admit(queues).calls == (), "a place costs no call"
    assert not queues.busy("shop")
    assert placed(queues, "r") == ["r/a#1", "r/b#1"]
    wait = queues.waits("r", NOW)["c#1"]
    assert (wait.reason, wait.message) == ("Parallelism", "2 of 2 steps run, 2 of them in namespace shop")
    assert queues.news() == {"r"}


def test_where_somebody_waits_for_a_place_there_is_something_to_look_at() -> None:
    queues = Queues(policy=Policy(parallelism=2))
    assert queues.namespaces() == []
    asking(queues, "r", "a#1")
    assert queues.namespaces() == ["shop"], "a process that starts looks at these, once it knows all runs"
    admit(queues)
    assert queues.namespaces() == []


def test_a_place_that_is_left_goes_to_who_waits() -> None:
    queues = Queues(policy=Policy(parallelism=1))
    asking(queues, "first", "a#1")
    admit(queues)
    asking(queues, "second", "a#1", namespace="other")
    admit(queues, "other")
    assert placed(queues, "first", "second") == ["first/a#1"]
    asking(queues, "first", "a#1", running="a#1")
    assert not queues.granted("second", NOW)
    asking(queues, "first")
    admit(queues)
    assert placed(queues, "second") == ["second/a#1"]
    assert "second" in queues.news()


def test_each_namespace_has_a_cap_of_its_own() -> None:
    queues = Queues(policy=Policy(namespace_parallelism=1))
    asking(queues, "r", "a#1", "b#1")
    asking(queues, "other", "a#1", "b#1", namespace="other")
    admit(queues)
    assert placed(queues, "r", "other") == ["r/a#1", "other/a#1"]
    assert queues.waits("r", NOW)["b#1"].message == "1 of 1 steps run in namespace shop"


def test_namespaces_take_turns_and_so_do_the_runs_of_one() -> None:
    queues = Queues(policy=Policy(parallelism=4))
    asking(queues, "wide", *(f"a[{number}]#1" for number in range(9)))
    asking(queues, "narrow", "a#1")
    asking(queues, "far", "a#1", "b#1", "c#1", namespace="other")
    admit(queues)
    assert placed(queues, "wide", "narrow", "far") == ["wide/a[0]#1", "narrow/a#1", "far/a#1", "far/b#1"]


def test_priority_goes_before_fairness_within_a_namespace() -> None:
    queues = Queues(policy=Policy(parallelism=2))
    asking(queues, "urgent", "a#1", "b#1", priority=5)
    asking(queues, "usual", "a#1")
    admit(queues)
    assert placed(queues, "urgent", "usual") == ["urgent/a#1", "urgent/b#1"]


def test_a_process_that_starts_counts_what_runs_before_it_gives_a_place() -> None:
    attempts = {"p": Attempt(number=1, pod="p"), "j": Attempt(number=1, job="j"), "r": Attempt(number=1, run="r")}
    steps = tuple(StepStatus(name=name, attempts=(attempt,)) for name, attempt in attempts.items())
    old = msgspec.structs.replace(run("hello", name="old", uid="old"), status=RunStatus(steps=steps))
    queues = Queues({"old": old}, Policy(parallelism=3))
    asking(queues, "new", "a#1", "b#1")
    admit(queues)
    assert placed(queues, "new") == ["new/a#1"], "a Pod and a Job run; a child run is counted by its own steps"


def test_who_waits_for_units_has_no_place_meanwhile() -> None:
    queues = Queues(policy=Policy(parallelism=1))
    take = Take("g", "k", 1, 1, seconds(60))
    first = asking(queues, "first", "a#1", takes=(take,))
    dialogue = admit(queues).answer(NOT_FOUND)
    dialogue.answer(lease(dialogue.calls[0].manifest))  # type: ignore[union-attr]
    assert placed(queues, "first") == ["first/a#1"]
    queues.forget(first)
    asking(queues, "second", "a#1", takes=(take,))
    admit(queues)
    assert queues.waits("second", NOW)["a#1"].reason == "RateLimited"
    asking(queues, "third", "a#1")
    admit(queues)
    assert placed(queues, "second", "third") == ["third/a#1"]
    later = NOW + seconds(60)
    again = Dialogue(admission.admit(queues, "shop", later, known=True))
    assert again.calls == ()
    asking(queues, "third")
    again = Dialogue(admission.admit(queues, "shop", later, known=True))
    again.answer(lease(again.calls[0].manifest, 8))  # type: ignore[union-attr]
    assert queues.granted("second", later) == {"a#1"}


@pytest.mark.parametrize(("policy", "wanted"), [(Policy(), False), (Policy(parallelism=1), True)])
def test_a_step_needs_a_place_only_where_there_is_a_cap(policy: Policy, wanted: bool) -> None:
    new = run(workflow(step("a"), step("nap", image=None, sleep={"duration": "1s"})))
    begun = msgspec.structs.replace(new, status=planner.begin(new, None, NOW).status)
    frozen = revisions.of_run(begun.status.revision or "", begun.status.workflow_spec or {})
    plan = planner.plan(begun, frozen, Observed(), NOW, policy)
    assert [(want.holder, want.counts) for want in plan.wants] == ([("a#1", True)] if wanted else [])
    assert bool(plan.manifests) is not wanted
    granted = planner.plan(begun, frozen, Observed(granted=frozenset({"a#1"})), NOW, policy)
    assert [(want.holder, want.running) for want in granted.wants] == ([("a#1", True)] if wanted else [])


moves = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=40)


@given(moves, st.integers(1, 4), st.integers(0, 2))
def test_no_more_than_the_caps_ever_run_and_nobody_waits_for_nothing(moves: Any, total: int, each: int) -> None:
    queues = Queues(policy=Policy(parallelism=total, namespace_parallelism=each))
    wanted: dict[str, set[str]] = {f"r{number}": set() for number in range(4)}
    spaces = {name: f"n{number % 2}" for number, name in enumerate(wanted)}
    running: dict[str, set[str]] = {name: set() for name in wanted}
    for number, holder, more in moves:
        name, part = f"r{number}", f"{'abcd'[holder]}#1"
        wanted[name] = wanted[name] | {part} if more else wanted[name] - {part}
        running[name] = (running[name] | queues.granted(name, NOW)) & wanted[name]
        asking(queues, name, *sorted(wanted[name]), namespace=spaces[name], running=" ".join(running[name]))
        admit(queues, spaces[name])
        granted = {run: queues.granted(run, NOW) for run in wanted}
        of = Counter(spaces[run] for run, holders in granted.items() for _ in holders)
        assert of.total() <= total
        assert not each or all(count <= each for count in of.values())
        for name, holders in granted.items():
            if wanted[name] - holders:
                assert of.total() == total or (each and of[spaces[name]] == each), "a place was free"
