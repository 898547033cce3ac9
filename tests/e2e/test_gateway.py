"""Events over HTTP: what was answered with 202 has its runs, each once, though the operator is killed meanwhile."""

import base64
import hashlib
import hmac
import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from tests.e2e.kube import Kube, Object
from tests.e2e.test_events import all_processed, condition, processed, runs, triggered
from tests.e2e.test_operator import kill, operators, until_ready
from tests.installation import NAMESPACE, RELEASE, ROOT, Installation


@dataclass
class Gateway:
    """The gateway as `kubectl port-forward` shows it; begun anew when its Pod has gone."""

    adze: Installation
    forward: subprocess.Popen[str] | None = None
    url: str = ""

    def open(self) -> None:
        """Forward a free local port to some replica."""
        self.close()
        command = ["kubectl", "-n", NAMESPACE, "port-forward", f"service/{RELEASE}-gateway", ":80"]
        self.forward = subprocess.Popen(command, env=self.adze.environment, stdout=subprocess.PIPE, text=True)
        assert self.forward.stdout is not None
        line = self.forward.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, line
        self.url = f"http://127.0.0.1:{found[1]}"

    def close(self) -> None:
        """End the forwarding."""
        if self.forward:
            with self.forward:
                self.forward.kill()
            self.forward = None

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> requests.Response:
        """One request."""
        return requests.post(f"{self.url}{path}", data=body, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def gateway(adze: Installation) -> Iterator[Gateway]:
    """The gateway of an installation with two replicas, with webhooks."""
    switch(adze, "true", replicas=2)
    gateway = Gateway(adze)
    gateway.open()
    yield gateway
    gateway.close()
    switch(adze, "false", replicas=1)


def switch(adze: Installation, enabled: str, replicas: int) -> None:
    """Turn the gateway on or off, as a user does."""
    values = f"gateway.enabled={enabled},gateway.webhooks.enabled={enabled},replicas={replicas}"
    where = [RELEASE, str(ROOT / "charts/adze"), "--namespace", NAMESPACE, "--reuse-values"]
    done = adze.helm("upgrade", *where, "--set", values, "--wait", "--timeout", "120s")
    assert done.returncode == 0, done.stderr


def token(kube: Kube, name: str, role: str) -> dict[str, str]:
    """The Authorization header of a new service account with a role in the namespace."""
    kube.must("create", "serviceaccount", name)
    kube.must("create", "rolebinding", name, f"--clusterrole={role}", f"--serviceaccount={kube.namespace}:{name}")
    return {"Authorization": f"Bearer {kube.must('create', 'token', name).strip()}"}


def event(id_: str, **data: Any) -> CloudEvent:
    """An event of the official SDK."""
    attributes = {"id": id_, "source": "/shop", "type": "user:created", "datacontenttype": "application/json"}
    return CloudEvent(attributes={**attributes, "specversion": "1.0"}, data=data)


def address(kube: Kube) -> str:
    return f"/v1/namespaces/{kube.namespace}/events"


def test_what_the_official_sdk_sends_starts_runs(gateway: Gateway, kube: Kube) -> None:
    kube.apply(triggered("welcome", {"name": "user:created"}))
    who = token(kube, "sender", "edit")
    for id_, to_message in (("1", to_structured_event), ("2", to_binary_event), ("2", to_structured_event)):
        message = to_message(event(id_, plan="pro"))
        answer = gateway.post(address(kube), message.body, {**message.headers, **who})
        assert answer.status_code == 202, answer.text
        (name,) = answer.json()["events"]
        assert condition(processed(kube, name)) == ("True", "RunsStarted")
    batch = json.dumps([json.loads(to_structured_event(event(id_)).body) for id_ in ("3", "4")]).encode()
    answer = gateway.post(address(kube), batch, {"Content-Type": "application/cloudevents-batch+json", **who})
    assert answer.status_code == 202, answer.text
    for name in answer.json()["events"]:
        processed(kube, name)
    assert sorted(run["metadata"]["annotations"]["adze.dev/event-id"] for run in runs(kube)) == ["1", "2", "3", "4"]


def test_who_and_what_is_refused(gateway: Gateway, kube: Kube) -> None:
    sender, reader = token(kube, "sender", "edit"), token(kube, "reader", "view")
    message = to_structured_event(event("1"))
    body, headers = message.body, message.headers
    bad = json.dumps({**json.loads(body), "id": ""}).encode()
    cases = [
        (401, "Authorization", body, {}),
        (401, "Authorization", body, {"Authorization": "Bearer nobody"}),
        (403, "", body, reader),
        (400, "id", bad, sender),
        (400, "body", b"{", sender),
        (400, "body", b"[" * 250_000, sender),
        (413, "body", b" " * (256 * 1024 + 1), sender),
        (415, "Content-Type", body, {**sender, "content-type": "application/cloudevents+xml"}),
    ]
    for status, place, content, more in cases:
        answer = gateway.post(address(kube), content, {**headers, **more})
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.text
        assert answer.json().get("field", "") == place
    elsewhere = gateway.post("/v1/namespaces/kube-system/events", body, {**headers, **sender})
    assert elsewhere.status_code == 403
    assert kube.list("workflowevents") == []
    assert gateway.post(address(kube), body, {**headers, **sender}).status_code == 202


def test_a_right_that_is_taken_away_ends_soon(gateway: Gateway, kube: Kube) -> None:
    who = token(kube, "sender", "edit")
    message = to_structured_event(event("1"))
    assert gateway.post(address(kube), message.body, {**message.headers, **who}).status_code == 202
    kube.must("delete", "rolebinding", "sender")
    end = time.monotonic() + 45
    while (answer := gateway.post(address(kube), message.body, {**message.headers, **who})).status_code != 403:
        assert time.monotonic() < end, answer.text
        time.sleep(1)


def secret(kube: Kube, name: str, **values: str) -> None:
    kube.must("create", "secret", "generic", name, *(f"--from-literal={key}={value}" for key, value in values.items()))


def webhook(name: str, type_: str, **spec: Any) -> Object:
    """A WorkflowWebhook whose Secret has its name."""
    return {
        "apiVersion": "adze.dev/v1alpha1",
        "kind": "WorkflowWebhook",
        "metadata": {"name": name},
        "spec": {"auth": {"type": type_, "secretRef": {"name": name}}, **spec},
    }


def test_a_github_delivery_starts_a_run_once(gateway: Gateway, kube: Kube) -> None:
    secret(kube, "github", secret="It's a Secret to Everybody")
    kube.apply(
        webhook("github", "GitHub"), triggered("ci", {"name": "github:push", "input": {"ref": "${event.data.ref}"}})
    )
    kube.must("wait", "workflowwebhook/github", "--for=condition=Ready", "--timeout=20s")
    body = json.dumps({"ref": "refs/heads/main"}).encode()
    signature = hmac.new(b"It's a Secret to Everybody", body, hashlib.sha256).hexdigest()
    headers = {"X-GitHub-Event": "push", "X-GitHub-Delivery": "d-1", "Content-Type": "application/json"}
    path = f"/v1/namespaces/{kube.namespace}/webhooks/github"
    assert gateway.post(path, body, {**headers, "X-Hub-Signature-256": "sha256=" + "0" * 64}).status_code == 401
    for _ in range(3):
        answer = gateway.post(path, body, {**headers, "X-Hub-Signature-256": f"sha256={signature}"})
        assert answer.status_code == 202, answer.text
    processed(kube, answer.json()["events"][0])
    (run,) = runs(kube)
    assert run["spec"]["input"] == {"ref": "refs/heads/main"}


def test_user_and_password_and_a_filter(gateway: Gateway, kube: Kube) -> None:
    secret(kube, "shop", username="u", password="p")
    kube.apply(webhook("shop", "Basic", filter="request.body.total > 100", type="order:big"))
    path = f"/v1/namespaces/{kube.namespace}/webhooks/shop"
    who = {"Authorization": "Basic " + base64.b64encode(b"u:p").decode()}
    assert gateway.post(path, b'{"total": 7}', who).status_code == 204
    assert gateway.post(path, b'{"total": 700}', {"Authorization": "Basic dTp4"}).status_code == 401
    assert gateway.post(path, b'{"total": 700}', who).status_code == 202
    (item,) = kube.list("workflowevents")
    assert item["spec"]["type"] == "order:big"


def test_a_webhook_that_is_wrong_says_where(gateway: Gateway, kube: Kube) -> None:
    kube.apply(webhook("bad", "Bearer", type="${request.bdy.a}"))
    seen = kube.until("reviewed", "workflowwebhook", "bad", lambda item: "conditions" in item.get("status", {}))
    (ready,) = (c for c in seen["status"]["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Invalid")
    assert "spec.type:1:" in ready["message"]
    broken = webhook("x", "Bearer")
    broken["spec"]["auth"]["header"] = "X-Y"
    assert "header and encoding are for the type HMAC" in kube.refused(broken)


def test_accepted_events_have_their_runs_though_operators_are_killed(gateway: Gateway, kube: Kube) -> None:
    kube.apply(triggered("welcome", {"name": "*"}, input={"type": "object", "required": ["never"]}))
    who = token(kube, "sender", "edit")
    accepted: set[str] = set()
    waiting = [str(number) for number in range(120)]
    end = time.monotonic() + 240
    while waiting:
        assert time.monotonic() < end, f"{len(accepted)} accepted"
        message = to_structured_event(event(waiting[0]))
        try:
            answer = gateway.post(address(kube), message.body, {**message.headers, **who})
        except requests.RequestException:
            gateway.open()
            continue
        if answer.status_code == 202:
            accepted.add(waiting.pop(0))
        else:
            assert answer.status_code in (429, 503), answer.text
            time.sleep(float(answer.headers["Retry-After"]))
        if len(accepted) in (40, 80) and answer.status_code == 202:
            for pod in operators(gateway.adze):
                kill(gateway.adze, pod["metadata"]["name"])
            until_ready(gateway.adze)
            gateway.open()
    all_processed(kube, timeout=60)
    origins = [run["metadata"]["annotations"]["adze.dev/event-id"] for run in runs(kube)]
    assert len(origins) == len(set(origins))
    assert set(origins) == accepted
