"""Random fates of random items against a model of a few lines, written from the design and not from the code."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from adze.core.values import gathered
from tests.builders import Drive, lost, step, workflow
from tests.core.reference import Fate

RETRIES = 1


FATES = st.lists(
    st.builds(Fate, st.lists(st.sampled_from(["succeed", "succeed", "fail", "lose"]), max_size=4).map(tuple)),
    max_size=8,
)


def indexes(text: str) -> set[int]:
    """The set that a text such as 0-2,4 names."""
    pairs = [part.split("-") for part in text.split(",") if part]
    return {index for pair in pairs for index in range(int(pair[0]), int(pair[-1]) + 1)}


def check(drive: Drive, window: int) -> None:
    """What holds at every moment."""
    found = drive.items("a")
    entries = {int(entry.name[2:-1]) for entry in found.active}
    places = [indexes(text) for text in (found.succeeded, found.failed, found.cancelled)]
    listed = [*entries, *(index for place in places for index in place)]
    assert len(listed) == len(set(listed)), "an item is in one place only"
    assert len(drive.live - {"b"}) <= window
    if found.active:
        assert drive.live.isdisjoint({"b"}), "the fan-in waits for all items"
    assert len(set(drive.created)) == len(drive.created)


def play(drive: Drive, fates: list[Fate], window: int, random: Random) -> None:
    """Let things happen to the items until the step has ended."""
    ends = [list(fate.ends) for fate in fates]
    for _ in range(200):
        check(drive, window)
        if drive.step("a").phase.final:
            return
        if random.random() < 0.2:
            drive.pass_time(1)
        live = sorted(drive.live)
        if not live:
            drive.until_wake()
            continue
        name = random.choice(live)
        own = ends[int(name[2:-1])]
        end = own.pop(0) if own else "succeed"
        drive.change(name, lost) if end == "lose" else getattr(drive, end)(
            name, **({"output": {"n": name}} if end == "succeed" else {})
        )
    raise AssertionError("the step never ends")


@settings(max_examples=150)
@given(FATES, st.integers(1, 4), st.booleans(), st.randoms(use_true_random=False))
def test_a_for_each_step_ends_as_the_design_says(fates: list[Fate], window: int, go_on: bool, random: Random) -> None:
    policy = "Continue" if go_on else "Fail"
    spec = workflow(
        step("a", for_each="input.list", retries=RETRIES, max_parallel=window, failure_policy=policy),
        step("b", parents=["a"]),
    )
    drive = Drive(spec, input={"list": list(range(len(fates)))}).until_quiet()
    play(drive, fates, window, random)
    found, fail = drive.items("a"), {index for index, fate in enumerate(fates) if fate.fails(RETRIES)}
    succeeded, failed, cancelled = map(indexes, (found.succeeded, found.failed, found.cancelled))
    assert succeeded | failed | cancelled == set(range(len(fates)))
    if go_on:
        assert (failed, cancelled) == (fail, set())
    else:
        assert fail or not failed
        assert not succeeded & fail
        assert bool(failed) == bool(fail)
        assert not cancelled or min(cancelled) > max(succeeded | failed)
    assert drive.phases["a"] == ("Succeeded" if go_on or not fail else "Failed")
    assert drive.phases["b"] == ("Pending" if go_on or not fail else "Cancelled")
    outputs = gathered(found, {})
    assert [index for index, output in enumerate(outputs) if output == {"n": f"a[{index}]"}] == sorted(succeeded)
    assert [index for index, output in enumerate(outputs) if "error" in output] == sorted(failed | cancelled)


@given(FATES, st.integers(0, 10), st.randoms(use_true_random=False))
def test_a_cancel_at_any_moment_ends_it(fates: list[Fate], moment: int, random: Random) -> None:
    spec = workflow(step("a", for_each="input.list", retries=RETRIES, max_parallel=3, failure_policy="Continue"))
    drive = Drive(spec, input={"list": list(range(len(fates)))}).until_quiet()
    for _ in range(moment):
        if drive.live:
            getattr(drive, random.choice(["succeed", "fail", "start"]))(random.choice(sorted(drive.live)))
    created = list(drive.created)
    drive.ask(cancel=True)
    assert drive.phase.final
    assert drive.created == created, "nothing starts after a cancel"
    places = [indexes(text) for text in (drive.items("a").succeeded, drive.items("a").failed)]
    assert set().union(*places, indexes(drive.items("a").cancelled)) == set(range(len(fates)))
