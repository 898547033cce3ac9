"""The checker on histories made by hand: one that holds, and one for each predicate that breaks it."""

from collections.abc import Callable

import pytest

from adze.core.model import Attempt, Phase, StepStatus
from adze.core.pods import Pod
from tests.builders import NOW, failed, opened, released, running
from tests.chaos.checker import Word, check
from tests.chaos.history import Entry, History
from tests.chaos.story import Story, attempt, ended, replace
from tests.cluster.audit import Event


def test_a_history_that_holds() -> None:
    story = Story()
    story.whole("a")
    story.whole("b", run=Phase.SUCCEEDED)
    verdict = story.verdict()
    assert verdict.word is Word.HELD, str(verdict)


def test_a_retry_that_holds() -> None:
    story = Story()
    story.claim("a")
    story.runs("a", end=failed)
    story.step("a", Phase.PENDING, ended("a", 1, 1))
    story.now(released, "a")
    story.wait(70)
    story.claim("a", 2, ended("a", 1, 1))
    story.runs("a", 2)
    verdict = story.verdict(ended=False)
    assert verdict.word is Word.HELD, str(verdict)


def _started_twice(story: Story) -> None:
    story.claim("a")
    story.runs("a")
    story.delete()  # what holds a Pod's outcome has ended with its run
    story.gone("a")
    story.made("a", uid="another")
    story.now(opened, "a")
    story.now(running, "a")


def _two_live(story: Story) -> None:
    story.claim("a")
    story.made("a")
    story.now(opened, "a")
    story.now(running, "a")
    story.step("a", Phase.PENDING, replace(ended("a", 1, 1), reason="Timeout"))
    story.wait(70)
    story.claim("a", 2, replace(ended("a", 1, 1), reason="Timeout"))
    story.made("a", 2)
    story.now(opened, "a", 2)
    story.now(running, "a", 2)


def _attempt_left_out(story: Story) -> None:
    story.claim("a", 2)


def _one_attempt_too_many(story: Story) -> None:
    tried: list[Attempt] = []
    for number in (1, 2, 3):
        story.wait(70)
        story.claim("a", number, *tried)
        story.runs("a", number, end=failed)
        tried.append(ended("a", number, 1))
        story.step("a", Phase.PENDING, *tried)


def _created_before_claimed(story: Story) -> None:
    story.made("a")
    story.claim("a")


def _before_its_parent(story: Story) -> None:
    story.claim("a")
    story.claim("b")


def _released_before_recorded(story: Story) -> None:
    story.claim("a")
    story.runs("a")
    story.now(released, "a")


def _wrong_outcome(story: Story) -> None:
    story.claim("a")
    story.runs("a", end=failed)
    story.close("a")


def _step_rises(story: Story) -> None:
    story.whole("a")
    story.step("a", Phase.PENDING, ended("a", 1, 0), attempt("a", 2))


def _run_rises(story: Story) -> None:
    story.whole("a")
    story.whole("b", run=Phase.SUCCEEDED)
    story.status(Phase.FAILED)


def _starts_after_the_end(story: Story) -> None:
    story.claim("a")
    story.made("a")
    story.now(opened, "a")
    gone = replace(attempt("a"), finish_time=NOW, reason="Cancelled")
    cancelled = StepStatus(name="b", phase=Phase.CANCELLED)
    story.status(Phase.CANCELLED, StepStatus(name="a", phase=Phase.CANCELLED, attempts=(gone,)), cancelled)
    story.now(running, "a")


def _retried_at_once(story: Story) -> None:
    story.claim("a")
    story.runs("a", end=failed)
    story.step("a", Phase.PENDING, ended("a", 1, 1))
    story.claim("a", 2, ended("a", 1, 1))


def _opened_after_its_close(story: Story) -> None:
    story.claim("a")
    story.step("a", Phase.PENDING, replace(ended("a", 1, 1), reason="Timeout"))
    story.made("a")
    story.now(opened, "a")


def _run_left(story: Story) -> None:
    story.whole("a")


def _pod_left(story: Story) -> None:
    story.whole("a")
    story.claim("b")
    story.runs("b")
    story.close("b", run=Phase.SUCCEEDED)


BREAKS = {
    "S1": (_started_twice,),
    "S2": (_two_live,),
    "S3": (_attempt_left_out, _one_attempt_too_many),
    "S4": (_created_before_claimed,),
    "S5": (_before_its_parent,),
    "S6": (_released_before_recorded,),
    "S7": (_wrong_outcome,),
    "S8": (_step_rises,),
    "S9": (_run_rises,),
    "S10": (_starts_after_the_end,),
    "S20": (_retried_at_once,),
    "S24": (_opened_after_its_close,),
}


@pytest.mark.parametrize(
    ("code", "breaks"),
    [(code, breaks) for code, ways in BREAKS.items() for breaks in ways],
    ids=lambda value: str(value),
)
def test_each_predicate_is_noticed(code: str, breaks: Callable[[Story], None]) -> None:
    story = Story()
    breaks(story)
    verdict = story.verdict(ended=False)
    assert verdict.word is Word.BROKEN
    assert [breach.code for breach in verdict.breaches] == [code], str(verdict)


def test_an_explanation_is_short_and_ends_with_what_broke_it() -> None:
    story = Story()
    _released_before_recorded(story)
    (breach,) = story.verdict(ended=False).breaches
    assert breach.evidence[-1] == story.entries[-1]
    assert len(breach.evidence) <= 10
    assert "pod r-a-1" in str(breach) and "run r Running" in str(breach)


@pytest.mark.parametrize(("code", "breaks"), [("L1", _run_left), ("L5", _pod_left)])
def test_what_is_left_at_the_end(code: str, breaks: Callable[[Story], None]) -> None:
    story = Story()
    breaks(story)
    assert [breach.code for breach in story.verdict().breaches] == [code]
    assert story.verdict(ended=False).word is Word.HELD
    assert code != "L1" or story.verdict(may_wait=lambda run: True).word is Word.HELD


def test_a_gap_proves_nothing() -> None:
    story = Story()
    _started_twice(story)
    verdict = check(History(story.entries, ["revisions are compacted"]))
    assert verdict.word is Word.INCONCLUSIVE


def _write(verb: str, resource: str, name: str = "x", status: int = 201) -> Event:
    return Event("adze-operator/1", "admin", verb, resource, "ns", name, status, "", 0)


def test_a_pod_that_was_not_recorded_is_a_gap() -> None:
    story = Story()
    story.whole("a")
    assert story.verdict(ended=False, audit=[_write("create", "pods", "other")]).word is Word.INCONCLUSIVE


def test_the_operator_writes_only_what_it_may() -> None:
    verdict = Story().verdict(ended=False, audit=[_write("update", "secrets", status=403)])
    assert [breach.code for breach in verdict.breaches] == ["S21"]


def test_a_strangers_pod_with_our_labels_is_nobodys() -> None:
    story = Story()
    story.made("b")
    stranger = story.entries[-1].item
    assert isinstance(stranger, Pod)
    unowned = replace(stranger, metadata=replace(stranger.metadata, owner_references=()))
    story.entries[-1] = replace_item(story.entries[-1], unowned)
    assert story.verdict(ended=False).word is Word.HELD


def replace_item(entry: Entry, item: Pod) -> Entry:
    """The entry, about another object."""
    return Entry(entry.version, item, entry.removed, entry.at)


def test_finalizers_torn_off_excuse_a_second_start() -> None:
    story = Story()
    _started_twice(story)
    assert story.verdict(ended=False, stripped=True).word is Word.HELD
