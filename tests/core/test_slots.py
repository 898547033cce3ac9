"""Keys and limits of concurrency entries, whose slots are whose, and which numbers may be taken."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adze.core import slots
from adze.core.groups import Group
from adze.core.model import MOST_SLOTS, Run, RunStatus
from adze.core.slots import RUN, Entry, InvalidKey, LeaseMetadata, LeaseSpec, Need, Slot, Want
from adze.core.values import Values
from tests.builders import NOW, UID, revision, run, step


def entry(key: str | None = "k", max_runs: int | str = 1, **fields: Any) -> Entry:
    """A compiled entry of a workflow's `concurrency`."""
    spec = {"maxRuns": max_runs, **({} if key is None else {"key": key}), **fields}
    return revision(step("a"), concurrency=[spec]).queues[0]


def need(what: Entry, subject: Run | None = None, level: str = "run", live: Entry | None = None, **data: Any) -> Need:
    """What an entry asks for in a run with that input."""
    subject = subject or run("hello")
    return slots.need(what, subject, Values(subject, data, {}), level, live)


def slot(number: int, holder: str = RUN, uid: str = UID, group: str = "g", **fields: Any) -> Slot:
    """A taken slot as a watch shows it."""
    manifest = slots.lease(run("hello", uid=uid), Want(holder, (), slots.order(run("hello"), 0)), NEED, number, NOW)
    made = msgspec.convert(manifest, Slot)
    labels = {**made.metadata.labels, "adze.dev/group": group}
    name = slots.lease_name(group, number)
    metadata = msgspec.structs.replace(
        made.metadata, **{"name": name, "labels": labels, "uid": f"u{number}", "resource_version": "5", **fields}
    )
    return msgspec.structs.replace(made, metadata=metadata)


NEED = Need("g", "k", 1, slots.Strategy.QUEUE)


# Keys and limits


def test_a_key_is_a_text_of_literals_and_expressions() -> None:
    assert need(entry("${input.user}/${run.workflow}"), user="eva").key == "eva/hello"
    assert need(entry("k" * 253)).key == "k" * 253
    assert need(entry(None)).key == ""


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("${input.empty}", "key ${input.empty} gives a text of 0 characters: 1 to 253 are allowed"),
        ("${input.long}", "gives a text of 254 characters"),
        ("${input.number}", "key ${input.number} gives 7, which is no text"),
        ("${input.none}", "gives None, which is no text"),
        ("${input.list}", "gives ['a'], which is no text"),
        ("${input.flag}", "gives True, which is no text"),
        ("${input.missing}", "missing"),
        ("${input.deep.list[0]}", "input.deep.list[0] has a NUL character"),
        ("${input.deep.list[0]}-x", "input.deep.list[0] has a NUL character"),
        ("a\0b", "key a\0b gives a text with a NUL character"),
        (r"${'a\x00b'}", "gives a text with a NUL character"),
    ],
)
def test_a_key_that_is_no_text_of_1_to_253_characters_is_refused(key: str, words: str) -> None:
    data: dict[str, Any] = {"empty": "", "long": "x" * 254, "number": 7, "none": None, "list": ["a"], "flag": True}
    if "deep" in key:
        data = {"deep": {"list": ["a\0c"]}}
    with pytest.raises(InvalidKey) as refused:
        need(entry(key), **data)
    assert words in str(refused.value)


@pytest.mark.parametrize("value", [0, -1, 1.5, "x", None, True, MOST_SLOTS + 1, [1]])
def test_a_limit_that_is_no_whole_number_from_1_up_is_refused(value: object) -> None:
    with pytest.raises(InvalidKey) as refused:
        need(entry("k", "input.max"), max=value)
    assert str(refused.value) == f"maxRuns input.max gives {value!r}: a whole number from 1 to 10000 is needed"


def test_a_limit_whose_expression_fails_is_refused() -> None:
    with pytest.raises(InvalidKey):
        need(entry("k", "input.missing"))


def test_a_limit_may_differ_by_key() -> None:
    what = entry("${input.plan}", "input.plan == 'pro' ? 10 : 1")
    assert (need(what, plan="pro").limit, need(what, plan="free").limit) == (10, 1)
    assert need(entry("k", MOST_SLOTS)).limit == MOST_SLOTS


def test_limit_and_strategy_are_those_of_today() -> None:
    today = need(entry("k", 1), live=entry("k", 7, strategy="CancelInProgress"))
    assert (today.limit, today.strategy) == (7, "CancelInProgress")
    assert today.group == need(entry("k", 1)).group


# Groups


def test_runs_of_a_workflow_share_a_key_and_those_of_another_do_not() -> None:
    assert need(entry()).group == need(entry(), run("hello", name="other", uid="other")).group
    assert need(entry()).group != need(entry(), run("world")).group


def test_a_namespace_shares_what_its_scope_says() -> None:
    one, other = run("hello"), run("world")
    for scope in ("Namespace", "providers"):
        assert need(entry(scope=scope), one).group == need(entry(scope=scope), other).group
    groups = {need(entry(scope=scope)).group for scope in ("Workflow", "Namespace", "providers", "provider")}
    assert len(groups) == 4


def test_a_shared_scope_knows_a_key_by_its_value_alone() -> None:
    literal, computed = entry("acme", scope="Namespace"), entry("${input.who}", scope="Namespace")
    assert need(literal).group == need(computed, who="acme").group


def test_two_entries_of_a_workflow_do_not_meet_in_a_value() -> None:
    assert need(entry("${input.a}"), a="x").group != need(entry("${input.b}"), b="x").group
    assert need(entry("${input.a}"), a="x").group != need(entry("${input.a}"), a="y").group


def test_runs_and_steps_never_meet() -> None:
    for scope in ("Workflow", "Namespace", "providers"):
        assert need(entry(scope=scope)).group != need(entry(scope=scope), level="step").group


def test_keys_that_take_turns_are_one_group() -> None:
    what = entry("${input.who}", strategy="RoundRobin")
    one, other = need(what, who="a"), need(what, who="b")
    assert (one.group, one.key, other.key) == (other.group, "a", "b")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\ufdd0"), min_size=1, max_size=253))
def test_any_key_gives_a_name_and_a_label_that_kubernetes_takes(text: str) -> None:
    group = need(entry("${input.k}"), k=text).group
    assert len(group) <= 43
    assert set(group) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert group[0] != "-"
    assert len(slots.lease_name(group, MOST_SLOTS)) <= 63


def test_keys_that_read_alike_are_told_apart() -> None:
    shared = [need(entry(key, scope="Namespace")).group for key in ("a b", "a-b", "A-B", "a_b")]
    assert len(set(shared)) == 4
    assert all(group.startswith("a-b-") for group in shared)


# Leases


def test_a_lease_tells_who_holds_what() -> None:
    want = Want("fetch#2", (NEED,), slots.order(run("hello"), 0))
    made = slots.lease(run("hello"), want, NEED, 3, NOW)
    assert made["metadata"]["name"] == "adze-g-3"
    assert made["spec"] == {"holderIdentity": "hello-1/fetch#2", "acquireTime": "2026-03-01T12:00:00.000000Z"}
    read = msgspec.convert(made, Slot)
    assert (read.group, read.number, read.key, read.run, read.run_uid, read.holder, read.marked) == (
        *("g", 3, "k", "hello-1", UID, "fetch#2"),
        False,
    )


def test_the_lease_of_a_run_names_the_run_alone() -> None:
    assert (
        slots.lease(run("hello"), Want(RUN, (NEED,), slots.order(run("hello"), 0)), NEED, 0, NOW)["spec"][
            "holderIdentity"
        ]
        == run("hello").metadata.name
    )


def test_a_lease_with_nothing_of_ours_on_it_is_nobodys() -> None:
    other = Slot(LeaseMetadata(name="adze-g-0"), LeaseSpec("kubelet"))
    assert (other.group, other.run_uid, other.holder, other.marked) == ("", "", RUN, False)


def test_order_is_priority_then_creation_then_ticket() -> None:
    base = run("hello")
    ticketed = msgspec.structs.replace(base, status=RunStatus(ticket=9))
    urgent = msgspec.structs.replace(base, spec=msgspec.structs.replace(base.spec, priority=2))
    default = slots.order(base, 1)
    assert slots.order(urgent, 5) < default < slots.order(base, 0)
    assert slots.order(base, 0) < slots.order(ticketed, 0)
    assert slots.order(base, 0) < slots.order(base, 0, 0) < slots.order(base, 0, 1)


# Numbers


def group(*numbers: int) -> Group:
    made = Group()
    for number in numbers:
        made.put(slot(number, uid=f"run-{number}"))
    return made


@pytest.mark.parametrize(
    ("taken", "limit", "free"),
    [
        ((), 3, [0, 1, 2]),
        ((0, 2), 4, [1, 3]),
        ((0, 1), 2, []),
        ((4,), 3, [0, 1]),
        ((0, 4), 3, [1]),
        ((3, 4), 3, [0]),
        ((3, 4, 5), 3, []),
        ((0, 3, 4, 5), 3, []),
        ((2, 4), 3, [0]),
        ((1, 2, 4), 3, []),
        ((1, 3, 5), 4, [0]),
    ],
)
def test_a_number_beyond_a_lowered_limit_closes_a_place_below(
    taken: tuple[int, ...], limit: int, free: list[int]
) -> None:
    assert list(group(*taken).free(limit)) == free


@given(st.sets(st.integers(0, 12)), st.integers(1, 8))
def test_whoever_takes_what_is_free_does_not_exceed_the_limit(taken: set[int], limit: int) -> None:
    free = list(group(*taken).free(limit))
    assert len(taken) + len(free) == max(limit, len(taken))
    assert all(number < limit for number in free)


def test_what_is_reserved_is_not_free() -> None:
    assert list(group(0).free(3, {1})) == [2]


def test_of_a_holder_with_two_slots_one_is_left() -> None:
    made = Group()
    made.put(slot(0))
    made.put(slot(1))
    made.remove(slot(1))
    assert made.held[UID, RUN].number == 0
    made.remove(slot(0))
    assert made.held == {}


# Who may run, and what is left


WANTS = (
    Want(RUN, (Need("g", "k", 1, slots.Strategy.QUEUE),), slots.order(run("hello"), 0), running=True),
    Want("a#1", (Need("s", "k", 1, slots.Strategy.QUEUE),), slots.order(run("hello"), 0), running=True),
)
OF_RUN, OF_STEP = slot(0), slot(0, "a#1", group="s", name="adze-s-0")


def test_an_attempt_runs_by_its_slots_and_its_runs() -> None:
    assert slots.needed(WANTS, [OF_RUN, OF_STEP], "a#1") == [OF_RUN, OF_STEP]
    assert slots.needed(WANTS, [OF_RUN], "b#1") == [OF_RUN]
    assert slots.needed((), [], "a#1") == []


@pytest.mark.parametrize(
    "held",
    [
        [OF_RUN],
        [OF_STEP],
        [OF_RUN, slot(0, "a#2", group="s")],
        [OF_RUN, slot(0, "a#1", group="t")],
        [OF_RUN, slot(0, "a#1", group="s", annotations={**OF_STEP.metadata.annotations, "adze.dev/giving-back": ""})],
    ],
    ids=["no slot of its own", "none of its run", "an earlier attempt's", "another key's", "marked"],
)
def test_without_one_of_its_slots_an_attempt_may_not_run(held: list[Slot]) -> None:
    assert slots.needed(WANTS, held, "a#1") is None
