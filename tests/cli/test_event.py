"""event push: one event a source and id."""

from typing import Any

import pytest

from adze.cli import exits
from adze.core import names
from tests.cli.api import CLUSTER, Answer, Api, refusal
from tests.cli.test_cluster import OnApi

EVENTS = f"{CLUSTER}/workflowevents"


def created(api: Api) -> list[Any]:
    """What was to be created."""
    return [body for method, _, _, _, body in api.asked if method == "POST"]


def test_an_event_is_created_under_its_own_name(api: Api, on_api: OnApi) -> None:
    api.on("POST", rf"{EVENTS}\?.*", Answer({}, 201))
    done = on_api("event", "push", "user:created", "--source", "shop", "--id", "7", "-d", '{"plan": "pro"}')
    name = names.event("shop", "7")
    assert (done.exit_code, done.stdout) == (exits.OK, f"workflowevent.adze.dev/{name} created\n")
    assert created(api) == [
        {
            "apiVersion": "adze.dev/v1alpha1",
            "kind": "WorkflowEvent",
            "metadata": {"name": name},
            "spec": {"source": "shop", "id": "7", "type": "user:created", "data": {"plan": "pro"}},
        }
    ]


def test_an_event_that_is_known_is_no_error(api: Api, on_api: OnApi) -> None:
    api.on("POST", rf"{EVENTS}\?.*", refusal(409, "AlreadyExists", "already exists", "workflowevents"))
    api.on("GET", f"{EVENTS}/.*", Answer({"metadata": {}}))
    done = on_api("event", "push", "user:created", "--id", "7")
    assert (done.exit_code, done.stdout.split(maxsplit=1)[1]) == (exits.OK, "is known already\n")


def test_what_the_server_refuses_is_told(api: Api, on_api: OnApi) -> None:
    api.on("POST", rf"{EVENTS}\?.*", refusal(422, "Invalid", "spec.type: too long", "workflowevents"))
    api.on("GET", f"{EVENTS}/.*", refusal(404, "NotFound", "not found", "workflowevents"))
    done = on_api("event", "push", "x" * 999)
    assert (done.exit_code, done.stderr) == (exits.USAGE, "Error: spec.type: too long\n")


def test_without_an_id_each_push_is_an_event_of_its_own(api: Api, on_api: OnApi) -> None:
    api.on("POST", rf"{EVENTS}\?.*", Answer({}, 201))
    on_api("event", "push", "a")
    on_api("event", "push", "a")
    assert len({body["metadata"]["name"] for body in created(api)}) == 2


@pytest.mark.parametrize("data", ["{", "[1]", "3"])
def test_data_must_be_an_object(api: Api, on_api: OnApi, data: str) -> None:
    assert on_api("event", "push", "a", "-d", data).exit_code == exits.USAGE
    assert api.asked == []
