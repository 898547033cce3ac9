"""cancel, suspend and resume: who is changed, who is left alone, and what is said."""

from typing import Any

import pytest

from adze.cli import exits
from adze.cli.resources import RUNS as RESOURCE
from tests.cli.api import CLUSTER, Answer, Api, refusal
from tests.cli.test_cluster import OnApi, listed, run

RUNS = f"{CLUSTER}/workflowruns"


def patches(api: Api) -> list[tuple[str, dict[str, str], Any]]:
    """What was changed: name, query and body."""
    return [(path.rsplit("/", 1)[1], query, body) for method, path, query, _, body in api.asked if method == "PATCH"]


@pytest.mark.parametrize(
    ("verb", "before", "spec"),
    [
        ("cancel", {}, {"cancel": True}),
        ("cancel", {"suspend": True}, {"cancel": True}),
        ("suspend", {}, {"suspend": True}),
        ("resume", {"suspend": True}, {"suspend": False}),
    ],
)
def test_a_run_is_changed_as_it_was_seen(
    api: Api, on_api: OnApi, verb: str, before: dict[str, Any], spec: dict[str, Any]
) -> None:
    api.on("GET", f"{RUNS}/r", Answer(run("r", version="7", **before)))
    api.on("PATCH", f"{RUNS}/r", Answer(run("r", version="8")))
    assert on_api(verb, "r").exit_code == exits.OK
    assert patches(api) == [("r", {}, {"metadata": {"uid": "uid-r", "resourceVersion": "7"}, "spec": spec})]


@pytest.mark.parametrize(
    ("verb", "phase", "spec", "said"),
    [
        ("cancel", "Failed", {}, "it has ended (Failed)"),
        ("resume", "Succeeded", {"suspend": True}, "it has ended (Succeeded)"),
        ("cancel", "Running", {"cancel": True}, "it is being cancelled"),
        ("suspend", "Running", {"cancel": True}, "it is being cancelled"),
        ("suspend", None, {"suspend": True}, "it is suspended"),
        ("resume", "Running", {}, "it is not suspended"),
    ],
)
def test_what_needs_no_change_is_left_alone_and_said(
    api: Api, on_api: OnApi, verb: str, phase: str | None, spec: dict[str, Any], said: str
) -> None:
    api.on("GET", f"{RUNS}/r", Answer(run("r", phase, **spec)))
    done = on_api(verb, "r")
    assert (done.exit_code, done.stdout) == (exits.OK, f"workflowrun.adze.dev/r left alone: {said}\n")
    assert patches(api) == []


def test_a_run_that_ends_meanwhile_is_left_alone(api: Api, on_api: OnApi) -> None:
    api.on("GET", f"{RUNS}/r", Answer(run("r", version="7")), Answer(run("r", "Succeeded", version="9")))
    api.on("PATCH", f"{RUNS}/r", refusal(409, "Conflict", "the object has been modified", "workflowruns"))
    assert "it has ended (Succeeded)" in on_api("cancel", "r").stdout
    assert len(patches(api)) == 1


def test_many_are_chosen_on_the_server_and_only_live_ones(api: Api, on_api: OnApi) -> None:
    api.on("GET", rf"{RUNS}\?.*", listed(run("a"), run("b", suspend=True)))
    api.on("PATCH", rf"{RUNS}/.*", Answer(run("a")))
    done = on_api("suspend", "-l", "team=x", "--field-selector", "spec.workflow=order")
    assert done.stdout.splitlines() == [
        "workflowrun.adze.dev/a suspended",
        "workflowrun.adze.dev/b left alone: it is suspended",
    ]
    query = api.asked[0][2]
    assert query["labelSelector"] == "team=x"
    assert query["fieldSelector"] == (
        "spec.workflow=order,status.phase!=Succeeded,status.phase!=Failed,status.phase!=Cancelled"
    )


def test_a_dry_run_asks_the_server_and_changes_nothing(api: Api, on_api: OnApi) -> None:
    api.on("GET", rf"{RUNS}\?.*", listed(run("a")))
    api.on("PATCH", rf"{RUNS}/a\?dryRun=All", Answer(run("a")))
    done = on_api("cancel", "--all", "--dry-run")
    assert (done.exit_code, done.stdout) == (exits.OK, "workflowrun.adze.dev/a would be cancelled\n")


def test_the_others_are_changed_though_one_is_missing(api: Api, on_api: OnApi) -> None:
    api.on("GET", f"{RUNS}/gone", refusal(404, "NotFound", "not found", RESOURCE.plural))
    api.on("GET", f"{RUNS}/r", Answer(run("r")))
    api.on("GET", rf"{RUNS}\?.*", listed())
    api.on("PATCH", f"{RUNS}/r", Answer(run("r")))
    done = on_api("cancel", "gone", "r", "r")
    assert done.exit_code == exits.NOT_FOUND
    assert done.stdout == "workflowrun.adze.dev/r cancelling\n"
    assert done.stderr == "Error: there is no run 'gone' in namespace 'shop'\n"


@pytest.mark.parametrize("words", [(), ("r", "--all"), ("r", "-l", "a=b"), ("--all", "-l", "a=b")])
def test_a_choice_must_be_one(api: Api, on_api: OnApi, words: tuple[str, ...]) -> None:
    assert on_api("cancel", *words).exit_code == exits.USAGE
    assert api.asked == []


def test_no_match_is_said(api: Api, on_api: OnApi) -> None:
    api.on("GET", rf"{RUNS}\?.*", listed())
    done = on_api("cancel", "--all")
    assert (done.exit_code, done.stdout) == (exits.OK, "")
    assert done.stderr == "No run in namespace shop matches that has not ended.\n"
