"""Names that adze gives: deterministic, unique, and valid wherever Kubernetes takes them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from adze.core import names

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")

RUN = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True)
STEP = st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)
UID = st.uuids().map(str)


@given(RUN, UID, STEP, st.integers(1, 999))
def test_a_pod_name_is_a_dns_label_of_at_most_63_characters(run: str, uid: str, step: str, attempt: int) -> None:
    name = names.pod(run, uid, step, attempt)
    assert len(name) <= 63
    assert DNS_LABEL.fullmatch(name)
    assert name == names.pod(run, uid, step, attempt)


@given(RUN, st.lists(st.tuples(UID, STEP, st.integers(1, 200)), min_size=2, max_size=6, unique=True))
def test_pods_of_different_run_step_or_attempt_never_share_a_name(run: str, owners: list[tuple[str, str, int]]) -> None:
    assert len({names.pod(run, *owner) for owner in owners}) == len(owners)


def test_a_pod_name_tells_run_step_and_attempt() -> None:
    assert names.pod("nightly-7", "uid", "send-mail", 2).startswith("nightly-7-send-mail-2-")


def test_long_names_that_agree_in_front_still_differ() -> None:
    run, step = "r" * 200, "s" * 40
    one, two = names.pod(run, "uid", step + "x", 1), names.pod(run, "uid", step + "y", 1)
    assert one != two
    assert one[:-10] == two[:-10]


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True))
def test_a_label_value_is_valid_and_short_values_stay_as_they_are(value: str) -> None:
    label = names.label(value)
    assert len(label) <= 63
    assert LABEL_VALUE.fullmatch(label)
    assert label == value or len(value) > 63


def test_a_digest_knows_where_its_parts_begin() -> None:
    assert names.digest("a", "bc") != names.digest("ab", "c")
    assert len(names.digest("a", length=8)) == 8
