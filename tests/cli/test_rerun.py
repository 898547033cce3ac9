"""rerun: what is created, what is left alone, and what is said."""

from typing import Any

import pytest

from adze.cli import exits
from tests.cli.api import CLUSTER, Answer, Api, refusal
from tests.cli.test_cluster import OnApi, listed, run

RUNS = f"{CLUSTER}/workflowruns"
STEPS = {"steps": [{"name": "a", "image": "i"}]}


def ended(name: str = "r", phase: str = "Failed", step: str = "Failed", **spec: Any) -> dict[str, Any]:
    """A run that has ended."""
    made = run(name, phase, **spec)
    made["status"] |= {"workflowSpec": STEPS, "steps": [{"name": "a", "phase": step}]}
    made["metadata"] |= {"namespace": "shop", "labels": {"team": "x", "adze.dev/trigger": "cron"}}
    return made


def repeats(name: str, of: str, uid: str | None, **status: Any) -> dict[str, Any]:
    made = run(name, "Running", rerunOf={"run": of})
    made["status"] |= status | ({"trigger": {"kind": "Rerun", "runUid": uid}} if uid else {})
    return made


def created(api: Api) -> list[tuple[dict[str, str], Any]]:
    """What was to be created: query and body."""
    return [(query, body) for method, _, query, _, body in api.asked if method == "POST"]


def test_a_rerun_has_workflow_labels_and_priority_of_the_other(api: Api, on_api: OnApi) -> None:
    api.on("GET", f"{RUNS}/r", Answer(ended(workflow="w", priority=3, input={"a": 1}, cancel=True)))
    api.on("POST", rf"{RUNS}\?.*", Answer(run("r-x", None), 201))
    done = on_api("rerun", "r", "--from", "Failed")
    assert (done.exit_code, done.stdout) == (exits.OK, "workflowrun.adze.dev/r repeated by r-x\n")
    ((query, body),) = created(api)
    assert query == {"fieldValidation": "Strict"}
    assert body["metadata"] == {"generateName": "r-", "labels": {"team": "x"}}
    assert body["spec"] == {"workflow": "w", "priority": 3, "rerunOf": {"run": "r", "from": "Failed"}}


def test_an_inline_workflow_needs_nothing_but_the_name(api: Api, on_api: OnApi) -> None:
    inline = ended(workflowSpec=STEPS)
    del inline["spec"]["workflow"]
    api.on("GET", f"{RUNS}/r", Answer(inline))
    api.on("POST", rf"{RUNS}\?.*", Answer(run("new", None), 201))
    assert on_api("rerun", "r", "--name", "new").exit_code == exits.OK
    ((_, body),) = created(api)
    assert (body["metadata"]["name"], body["spec"]) == ("new", {"rerunOf": {"run": "r"}})


@pytest.mark.parametrize(
    ("item", "words", "said"),
    [
        (run("r", "Running"), (), "run 'r' has not ended (Running): wait for its end, or cancel it"),
        (run("r", None), (), "run 'r' has not ended (Pending): wait for its end, or cancel it"),
        (run("r", "Failed"), (), "run 'r' never began (None): create a new run"),
        (
            ended(phase="Succeeded", step="Succeeded"),
            ("--from", "Failed"),
            "no step of run 'r' failed or was cancelled",
        ),
        (ended(), ("--from", "b"), "run 'r' has no step 'b' in steps or finally"),
    ],
)
def test_what_can_not_be_repeated_is_said(
    api: Api, on_api: OnApi, item: dict[str, Any], words: tuple[str, ...], said: str
) -> None:
    api.on("GET", f"{RUNS}/r", Answer(item))
    done = on_api("rerun", "r", *words)
    assert (done.exit_code, done.stderr) == (exits.USAGE, f"Error: r can't be repeated: {said}\n")
    assert created(api) == []


def test_a_step_that_no_step_can_be(api: Api, on_api: OnApi) -> None:
    api.on("GET", f"{RUNS}/r", Answer(ended()))
    done = on_api("rerun", "r", "--from", "Charge")
    assert done.exit_code == exits.USAGE
    assert "--from Charge: " in done.stderr


def test_many_are_chosen_on_the_server_and_each_is_repeated_once(api: Api, on_api: OnApi) -> None:
    reruns = listed(
        repeats("b-1", "b", "uid-b"), repeats("c-1", "c", None), repeats("d-1", "d", "uid-d", reason="RerunRefused")
    )
    api.on("GET", rf"{RUNS}\?fieldSelector=spec.rerunOf.*", reruns)
    api.on("GET", rf"{RUNS}\?.*", listed(*(ended(name) for name in "abcd"), ended("e", "Succeeded", "Succeeded")))
    api.on("POST", rf"{RUNS}\?.*", Answer(run("new", None), 201))
    done = on_api("rerun", "-l", "team=x", "--field-selector", "spec.workflow=order", "--from", "Failed")
    assert done.exit_code == exits.OK
    assert done.stdout.splitlines() == [
        "workflowrun.adze.dev/a repeated by new",
        "workflowrun.adze.dev/b left alone: b-1 repeats it",
        "workflowrun.adze.dev/c left alone: c-1 repeats it",
        "workflowrun.adze.dev/d repeated by new",
        "workflowrun.adze.dev/e left alone: no step of run 'e' failed or was cancelled",
    ]
    query = api.asked[0][2]
    assert query["labelSelector"] == "team=x"
    assert query["fieldSelector"] == (
        "spec.workflow=order,status.phase!=Pending,status.phase!=Queued,status.phase!=Running"
    )


def test_a_dry_run_asks_the_server_and_creates_nothing(api: Api, on_api: OnApi) -> None:
    api.on("GET", rf"{RUNS}\?fieldSelector=spec.rerunOf.*", listed())
    api.on("GET", rf"{RUNS}\?.*", listed(ended("a")))
    api.on("POST", rf"{RUNS}\?.*dryRun=All.*", Answer(run("a-x", None), 201))
    done = on_api("rerun", "--all", "--dry-run")
    assert (done.exit_code, done.stdout) == (exits.OK, "workflowrun.adze.dev/a would be repeated\n")
    assert [query["dryRun"] for query, _ in created(api)] == ["All"]


def test_the_others_are_repeated_though_one_is_missing(api: Api, on_api: OnApi) -> None:
    api.on("GET", f"{RUNS}/gone", refusal(404, "NotFound", "not found", "workflowruns"))
    api.on("GET", f"{RUNS}/r", Answer(ended()))
    api.on("GET", rf"{RUNS}\?.*", listed())
    api.on("POST", rf"{RUNS}\?.*", Answer(run("r-x", None), 201))
    done = on_api("rerun", "gone", "r")
    assert (done.exit_code, done.stdout) == (exits.NOT_FOUND, "workflowrun.adze.dev/r repeated by r-x\n")


@pytest.mark.parametrize(
    "words", [(), ("r", "--all"), ("a", "b", "--wait"), ("--all", "--name", "x"), ("r", "--timeout", "5s")]
)
def test_a_choice_must_be_one(api: Api, on_api: OnApi, words: tuple[str, ...]) -> None:
    assert on_api("rerun", *words).exit_code == exits.USAGE
    assert api.asked == []
