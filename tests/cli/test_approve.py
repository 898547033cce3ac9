"""approve: which step is meant, whose decision it is, and what stands already."""

from typing import Any

import pytest

from adze.cli import exits
from tests.cli.api import CLUSTER, Answer, Api, refusal
from tests.cli.test_change import patches
from tests.cli.test_cluster import OnApi, run

RUN = f"{CLUSTER}/workflowruns/r"


def waiting(*steps: str, approvers: tuple[str, ...] = (), version: str = "4", **spec: Any) -> dict[str, Any]:
    """A run whose steps wait for a decision; `build` doesn't."""
    item = run("r", version=version, **spec)
    request = {"message": "go?", **({"approvers": [*approvers]} if approvers else {})}
    item["status"] |= {
        "workflowSpec": {"steps": [{"name": name, "approval": request} for name in steps]},
        "steps": [
            {"name": "build", "phase": "Succeeded"},
            *({"name": name, "phase": "Running", "reason": "WaitingForApproval"} for name in steps),
        ],
    }
    return item


@pytest.fixture
def ada(api: Api) -> Api:
    """A cluster that knows who asks as ada."""
    api.on("POST", ".*/selfsubjectreviews", Answer({"status": {"userInfo": {"username": "ada"}}}, 201))
    api.on("PATCH", rf"{RUN}(\?.*)?", Answer(run("r")))
    return api


def test_the_only_step_that_waits_is_approved_in_my_name(ada: Api, on_api: OnApi) -> None:
    ada.on("GET", RUN, Answer(waiting("ask", approvals=[{"step": "other", "by": "eve", "decision": "Approved"}])))
    done = on_api("approve", "r", "-m", "fine")
    assert (done.exit_code, done.stdout) == (exits.OK, "workflowrun.adze.dev/r ask approved by ada\n")
    ((_, _, body),) = patches(ada)
    assert body == {
        "metadata": {"uid": "uid-r", "resourceVersion": "4"},
        "spec": {
            "approvals": [
                {"step": "other", "by": "eve", "decision": "Approved"},
                {"step": "ask", "by": "ada", "decision": "Approved", "message": "fine"},
            ]
        },
    }


def test_a_named_step_is_denied(ada: Api, on_api: OnApi) -> None:
    ada.on("GET", RUN, Answer(waiting("ask", "tell", approvers=("ada",))))
    assert on_api("approve", "r", "tell", "--deny").stdout == "workflowrun.adze.dev/r tell denied by ada\n"
    assert patches(ada)[0][2]["spec"]["approvals"] == [{"step": "tell", "by": "ada", "decision": "Denied"}]


WRONG = {
    "none waits": (waiting(), (), exits.NOT_FOUND, "no step of run 'r' waits for a decision"),
    "several wait": (waiting("ask", "tell"), (), exits.USAGE, "name one of ask, tell"),
    "it doesn't wait": (waiting("ask"), ("build",), exits.NOT_FOUND, "step 'build' of run 'r' does not wait"),
    "misspelt": (waiting("ask"), ("aks",), exits.NOT_FOUND, "did you mean ask?"),
    "no approver": (waiting("ask", approvers=("eve",)), (), exits.FORBIDDEN, "takes decisions of eve, and you are ada"),
    "decided": (
        waiting("ask", approvals=[{"step": "ask", "by": "ada", "decision": "Denied"}]),
        (),
        exits.USAGE,
        "you have decided about step 'ask' already",
    ),
}


@pytest.mark.parametrize(("item", "words", "code", "message"), WRONG.values(), ids=WRONG)
def test_what_makes_no_sense_decides_nothing(
    ada: Api, on_api: OnApi, item: dict[str, Any], words: tuple[str, ...], code: int, message: str
) -> None:
    ada.on("GET", RUN, Answer(item))
    done = on_api("approve", "r", *words)
    assert done.exit_code == code
    assert message in done.stderr
    assert patches(ada) == []


def test_a_run_that_changes_is_read_again_and_others_decisions_stay(api: Api, on_api: OnApi) -> None:
    theirs = {"step": "ask", "by": "eve", "decision": "Approved"}
    api.on("POST", ".*/selfsubjectreviews", Answer({"status": {"userInfo": {"username": "ada"}}}, 201))
    api.on("GET", RUN, Answer(waiting("ask")), Answer(waiting("ask", version="5", approvals=[theirs])))
    api.on("PATCH", RUN, refusal(409, "Conflict", "changed", "workflowruns"), Answer(run("r")))
    assert on_api("approve", "r").exit_code == exits.OK
    assert [entry["by"] for entry in patches(api)[1][2]["spec"]["approvals"]] == ["eve", "ada"]
