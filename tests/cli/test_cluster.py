"""What the commands make of an API server's answers, and of none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adze.cli import exits, follow, main
from tests.cli.api import CLUSTER, Answer, Api, events, refusal

OnApi = Callable[..., Result]
RUNS = f"{CLUSTER}/workflowruns"


def run(name: str, phase: str | None = "Running", version: str = "1", **spec: Any) -> dict[str, Any]:
    """A run as the API server has it."""
    metadata = {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-{name}",
        "resourceVersion": version,
        "creationTimestamp": "2026-03-01T12:00:00Z",
    }
    status = {"phase": phase, "startTime": "2026-03-01T12:00:00Z"} if phase else {}
    if phase in ("Succeeded", "Failed"):
        status["finishTime"] = "2026-03-01T12:00:07Z"
    kind = {"apiVersion": "adze.dev/v1alpha1", "kind": "WorkflowRun"}
    return {**kind, "metadata": metadata, "spec": {"workflow": "order", **spec}, "status": status}


def listed(*items: dict[str, Any], more: str = "") -> Answer:
    """A page of a list."""
    metadata = {"resourceVersion": "9", **({"continue": more} if more else {})}
    return Answer(
        {"apiVersion": "adze.dev/v1alpha1", "kind": "WorkflowRunList", "metadata": metadata, "items": [*items]}
    )


ANSWERS = {
    "not logged in": (refusal(401, "Unauthorized", "Unauthorized"), exits.FORBIDDEN, "refuses the credentials"),
    "no right": (
        refusal(403, "Forbidden", 'User "jane" cannot get resource "workflowruns"', "workflowruns"),
        exits.FORBIDDEN,
        'no permission to get workflowruns.adze.dev: User "jane" cannot get resource',
    ),
    "not installed": (Answer("404 page not found\n", 404), exits.NOT_FOUND, "adze is not installed in this cluster"),
    "broken": (refusal(500, "InternalError", "etcd is away"), exits.UNREACHABLE, "answers 500: etcd is away"),
    "a proxy's own page": (Answer("<html>Bad gateway</html>", 502), exits.UNREACHABLE, "answers 502: <html>Bad"),
}


@pytest.mark.parametrize(("answer", "code", "message"), ANSWERS.values(), ids=ANSWERS)
def test_each_refusal_is_one_line_and_a_code(api: Api, on_api: OnApi, answer: Answer, code: int, message: str) -> None:
    api.on("GET", ".*", answer)
    done = on_api("describe", "run", "order-1")
    assert (done.exit_code, done.stdout) == (code, "")
    assert message in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


def test_an_overloaded_server_is_asked_again(api: Api, on_api: OnApi) -> None:
    busy = Answer("", 429, headers=(("Retry-After", "0"),))
    api.on("GET", f"{RUNS}/order-1", busy, busy, Answer(run("order-1")))
    assert on_api("get", "run", "order-1", "-o", "name").stdout == "workflowrun.adze.dev/order-1\n"


def test_a_server_that_stays_busy_is_told(api: Api, on_api: OnApi) -> None:
    api.on("GET", ".*", Answer("", 429, headers=(("Retry-After", "0"),)))
    done = on_api("get", "run", "order-1")
    assert (done.exit_code, done.stderr.count("\n")) == (exits.UNREACHABLE, 1)
    assert len(api.asked) == 7


def test_a_kept_connection_that_was_closed_is_no_error_for_a_read(api: Api, on_api: OnApi) -> None:
    api.on("GET", f"{RUNS}/r", Answer(hangs_up=True), Answer(run("r")))
    done = on_api("get", "run", "r", "-o", "name")
    assert (done.stdout, done.stderr) == ("workflowrun.adze.dev/r\n", "")


def test_a_write_is_never_repeated(api: Api, on_api: OnApi) -> None:
    api.on("GET", f"{RUNS}/r", Answer(run("r")))
    api.on("PATCH", f"{RUNS}/r", Answer(hangs_up=True))
    assert on_api("cancel", "r").exit_code == exits.UNREACHABLE
    assert [method for method, *_ in api.asked] == ["GET", "PATCH"]


def test_a_name_that_comes_close_is_offered(api: Api, on_api: OnApi) -> None:
    api.on("GET", f"{RUNS}/oder-1", refusal(404, "NotFound", "not found", "workflowruns"))
    api.on("GET", rf"{RUNS}\?.*", listed(run("order-1"), run("report-9")))
    done = on_api("watch", "oder-1")
    assert done.exit_code == exits.NOT_FOUND
    assert done.stderr == "Error: there is no run 'oder-1' in namespace 'shop'; did you mean order-1?\n"


def test_a_name_is_refused_without_the_right_to_list(api: Api, on_api: OnApi) -> None:
    api.on("GET", f"{RUNS}/oder-1", refusal(404, "NotFound", "not found", "workflowruns"))
    api.on("GET", rf"{RUNS}\?.*", refusal(403, "Forbidden", "no", "workflowruns"))
    assert on_api("watch", "oder-1").stderr == "Error: there is no run 'oder-1' in namespace 'shop'\n"


def test_all_pages_of_a_list_are_read(api: Api, on_api: OnApi) -> None:
    api.on("GET", rf"{RUNS}\?.*continue=x.*", listed(run("order-2")))
    api.on("GET", rf"{RUNS}\?.*", listed(run("order-1"), more="x"))
    done = on_api("get", "runs", "-l", "a=b", "-o", "name")
    assert done.stdout.split() == ["workflowrun.adze.dev/order-1", "workflowrun.adze.dev/order-2"]
    assert [query.get("labelSelector") for _, _, query, _, _ in api.asked] == ["a=b", "a=b"]


def test_nobody_answers(tmp_path: Path) -> None:
    nobody = Api("http://127.0.0.1:9")
    done = CliRunner().invoke(main, ["get", "runs", "--kubeconfig", nobody.kubeconfig(tmp_path / "k")])
    assert done.exit_code == exits.UNREACHABLE
    assert done.stderr.startswith("Error: can't reach the cluster at http://127.0.0.1:9 (context here): ")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between two looks."""
    monkeypatch.setattr(follow, "PAUSE", 0.0)


@pytest.mark.usefixtures("impatient")
def test_a_watch_that_ends_goes_on_and_what_it_lost_is_found(api: Api, on_api: OnApi) -> None:
    answers = [run("r", None), run("r", None), run("r", "Running", "5"), run("r", "Failed", "9")]
    api.on("GET", f"{RUNS}/r", *map(Answer, answers))
    expired = events(("ERROR", {"code": 410, "message": "too old resource version"}))
    api.on("GET", rf"{RUNS}\?.*watch=true.*", events(("MODIFIED", run("r", "Running", "3"))), expired)
    done = on_api("watch", "r")
    assert (done.exit_code, done.stderr) == (exits.FAILED, "")
    phases = [line.split()[2] for line in done.stdout.splitlines()]
    assert phases == ["Pending", "Running", "Failed"]


@pytest.mark.usefixtures("impatient")
def test_a_cluster_that_is_away_for_a_while_is_waited_for(api: Api, on_api: OnApi) -> None:
    away = refusal(503, "ServiceUnavailable", "starting")
    api.on("GET", f"{RUNS}/r", Answer(run("r")), away, away, Answer(run("r", "Succeeded", "4")))
    done = on_api("watch", "r")
    assert done.exit_code == exits.OK
    assert done.stderr.count("answers 503: starting; trying again") == 1


@pytest.mark.usefixtures("impatient")
def test_a_cluster_that_stays_away_is_given_up(api: Api, on_api: OnApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "PATIENCE", 0.0)
    api.on("GET", f"{RUNS}/r", Answer(run("r")), refusal(503, "ServiceUnavailable", "starting"))
    assert on_api("watch", "r").exit_code == exits.UNREACHABLE


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "ends", [events(("DELETED", run("r"))), events(("MODIFIED", {**run("r"), "metadata": {"uid": "another"}}))]
)
def test_a_run_that_is_deleted_ends_its_watch(api: Api, on_api: OnApi, ends: Answer) -> None:
    api.on("GET", f"{RUNS}/r", Answer(run("r")))
    api.on("GET", rf"{RUNS}\?.*watch=true.*", ends)
    done = on_api("watch", "r")
    assert done.exit_code == exits.NOT_FOUND
    assert "was deleted meanwhile" in done.stderr


PODS = "/api/v1/namespaces/shop/pods"


def pod(state: str) -> dict[str, Any]:
    """The Pod of step a's first attempt."""
    labels = {"adze.dev/step": "a", "adze.dev/attempt": "1"}
    return {
        "metadata": {"name": "r-a-1", "uid": "p", "labels": labels, "resourceVersion": "2"},
        "status": {"containerStatuses": [{"name": "main", "state": {state: {}}}]},
    }


@pytest.mark.usefixtures("impatient")
def test_a_log_that_breaks_is_taken_up_where_it_broke(api: Api, on_api: OnApi) -> None:
    api.on("GET", f"{RUNS}/r", Answer(run("r")), Answer(run("r")), Answer(run("r", "Succeeded", "7")))
    api.on("GET", f"{PODS}/r-a-1", Answer(pod("running")), Answer(pod("terminated")))
    api.on("GET", rf"{PODS}\?.*watch=true.*", events())
    api.on("GET", rf"{PODS}\?.*", listed(pod("running")))
    stamp = "2026-03-01T12:00:0{}.000000000Z".format
    first = Answer(chunks=(f"{stamp(1)} one\n{stamp(2)} two\n{stamp(3)} th",), broken=True)
    second = Answer(chunks=(f"{stamp(2)} two\n{stamp(3)} three\n{stamp(4)} four",))
    api.on("GET", rf"{PODS}/r-a-1/log\?.*", first, second)
    done = on_api("logs", "r", "-f", "--no-prefix")
    assert done.stdout.splitlines() == ["one", "two", "three", "four"], done.stderr
    assert [query.get("sinceTime") for _, path, query, _, _ in api.asked if path.endswith("/log")] == [None, stamp(2)]


def test_a_log_that_cannot_be_read_is_said_and_the_others_are_printed(api: Api, on_api: OnApi) -> None:
    other = pod("terminated")
    other = {**other, "metadata": {**other["metadata"], "name": "r-b-1", "labels": {"adze.dev/step": "b"}}}
    api.on("GET", f"{RUNS}/r", Answer(run("r", "Succeeded")))
    api.on("GET", rf"{PODS}\?.*", listed(pod("terminated"), other))
    api.on("GET", rf"{PODS}/r-a-1/log.*", refusal(500, "InternalError", "dial tcp: node is away"))
    api.on("GET", rf"{PODS}/r-b-1/log.*", Answer(chunks=("hello\n",)))
    done = on_api("logs", "r")
    assert done.exit_code == exits.UNREACHABLE
    assert "a/1 can't be read" in done.stderr
    assert done.stdout.endswith("| hello\n")


def test_a_steps_own_colours_are_kept_in_a_file(api: Api, on_api: OnApi) -> None:
    api.on("GET", f"{RUNS}/r", Answer(run("r", "Succeeded")))
    api.on("GET", rf"{PODS}\?.*", listed(pod("terminated")))
    api.on("GET", rf"{PODS}/r-a-1/log.*", Answer(chunks=("\x1b[31mred\x1b[0m\n",)))
    assert on_api("logs", "r", "--no-prefix").stdout == "\x1b[31mred\x1b[0m\n"
