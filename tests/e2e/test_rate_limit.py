"""Allowances as a user meets them: who starts when, why the others wait, and what a 429 leads to."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.kube import Kube, Object, run, shell, steps, workflow

QUICK = {"name": "a", **shell("true")}


def rate(name: str = "api", limit: Any = 2, per: str = "4s", **fields: Any) -> Object:
    """A rateLimit entry."""
    return {"key": name, "limit": limit, "per": per, **fields}


def limited(item: Object) -> bool:
    """Whether the run waits for units."""
    return bool(item.get("status", {}).get("reason") == "RateLimited")


def created(kube: Kube) -> list[datetime]:
    """When the Pods of this namespace were made, in whole seconds."""
    pods = kube.list("pods", "adze.dev/run-uid")
    return sorted(datetime.fromisoformat(pod["metadata"]["creationTimestamp"]) for pod in pods)


def test_no_window_ever_sees_more_and_an_operator_that_is_killed_changes_nothing(kube: Kube) -> None:
    each = {**QUICK, "forEach": "[1, 2, 3, 4, 5]", "rateLimit": [rate(scope="providers")]}
    kube.apply(run("r", each), run("other", {**QUICK, "rateLimit": [rate(scope="providers")]}))
    waits = kube.until("waiting for units", "workflowrun", "r", limited)
    assert "key 'api': 2 of 2 units per 4s in use, 1 needed; not before 20" in waits["status"]["message"]
    (lease,) = kube.list("leases", "adze.dev/lease=rate")
    assert lease["metadata"]["annotations"]["adze.dev/key"] == "api"
    kube.adze.kubectl("--namespace", "adze-system", "delete", "pods", "--all", "--force", "--grace-period=0")
    assert kube.ended("other", 90)["phase"] == kube.ended("r", 90)["phase"] == "Succeeded"
    moments = created(kube)
    assert len(moments) == 6
    gaps = [third - first for first, third in zip(moments, moments[2:], strict=False)]
    assert min(gaps) >= timedelta(seconds=3), f"a window with three starts: {moments}"


def test_who_was_told_to_come_back_later_closes_the_key_for_all(kube: Kube) -> None:
    said = json.dumps({"rateLimited": {"retryAfter": 7}})
    told = {**shell(f"echo '{said}' > $ADZE_OUTPUT; exit 1"), "name": "a", "retries": 1, "backoff": {"base": "1s"}}
    once = {"retryWhen": "attempt.number < 2", "rateLimit": [rate(limit=9, scope="Namespace")]}
    kube.apply(run("told", {**told, **once}))
    first = kube.step("told", "a", lambda step: bool(step.get("attempts", [{}])[0].get("finishTime")))["attempts"][0]
    kube.apply(run("next", {**QUICK, "rateLimit": [rate(limit=9, scope="Namespace")]}))
    until = datetime.fromisoformat(first["finishTime"]) + timedelta(seconds=7)
    waits = kube.until("waiting for the key", "workflowrun", "next", limited)
    assert f"key 'api' is closed until {until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" in waits["status"]["message"]
    assert kube.ended("next")["phase"] == "Succeeded"
    assert kube.ended("told")["phase"] == "Failed"
    assert len([moment for moment in created(kube) if moment >= until]) == 2, "a retry waits too"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (rate(""), "key"),
        (rate(limit=0), "limit must be between 1 and 1000000"),
        (rate(limit=2, units=3), "units must not be more than limit"),
        (rate(units=0), "units must be between 1 and 1000000"),
        (rate(per="500ms"), "per must be between 1s and 744h"),
        (rate(per="soon"), "per"),
        ({"key": "k", "limit": 1}, "per"),
    ],
)
def test_a_bad_entry_is_refused_at_apply(kube: Kube, entry: Object, message: str) -> None:
    assert message in kube.refused(workflow("w", {**QUICK, "rateLimit": [entry]}))


def test_what_can_not_be_used_fails_the_step(kube: Kube) -> None:
    entries = {
        "key": (rate("${input.number}"), "which is no text"),
        "limit": (rate(limit="input.number - 7"), "a whole number from 1 to 1000000 is needed"),
        "units": (rate(units="input.number"), "an attempt takes 7 units, and limit allows 2"),
    }
    bad = [{**QUICK, "name": name, "rateLimit": [entry]} for name, (entry, _) in entries.items()]
    kube.apply(run("r", *bad, spec={"input": {"number": 7}}))
    found = steps(kube.ended("r"))
    assert {step["reason"] for step in found.values()} == {"InvalidRateLimit"}
    assert all(message in found[name]["message"] for name, (_, message) in entries.items())
