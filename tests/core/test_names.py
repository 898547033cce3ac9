"""Names that adze gives: deterministic, unique, and valid wherever Kubernetes takes them."""

import re
from datetime import UTC, datetime

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


def test_names_are_the_same_from_version_to_version() -> None:
    """What one version has named is found by the next under that name, or done a second time."""
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert names.pod("r", "u", "s", 1) == "r-s-1-51b40044e7"
    assert names.pod("r", "u", "s", 1, 7) == "r-s-7-1-33ac55e6c1"
    assert names.page("r", "u", "s", '{"0":{"n":1}}') == "r-s-ee07fd11af"
    assert names.tick_run("w", "@daily", "UTC", noon) == "w-20260301-120000-c2eee8"
    assert names.event("/s", "1") == "event-bd43ee76e850b171b4b8c3352ce6b20b"
    assert names.event_run("w", "/s", "1") == "w-b64c68c6622497cebaa2"
    assert names.key_lease("w", "k") == "adze-key-f55a3cce4cd2b8619dbab4cbc4cdee70"
