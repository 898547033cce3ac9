"""The gateway over a cluster in memory, and a client for it."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from adze.shell.access import ACCESS, TOKENS
from adze.shell.gateway import Gateway
from adze.shell.webhooks import Webhooks
from tests.builders import NOW
from tests.shell.fake_cluster import FakeCluster, Object

EVENTS = "/v1/namespaces/shop/events"
SENDER = {"Authorization": "Bearer sender"}
WHOLE = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "user:created", "data": {"plan": "pro"}}
STRUCTURED = {**SENDER, "Content-Type": "application/cloudevents+json"}
BATCH = {**SENDER, "Content-Type": "application/cloudevents-batch+json"}


class GatewayWorld:
    """A cluster that knows two tokens: sender may create events in the namespace shop, reader may not."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.cluster.answers = {TOKENS: self._token, ACCESS: self._access}
        self.waiting = 0
        self.gateway: Gateway | None = None

    @staticmethod
    def _token(body: Object) -> Object:
        token = body["spec"]["token"]
        known = token in ("sender", "reader")
        return {"status": {"authenticated": known, "user": {"username": token, "groups": ["g"]} if known else {}}}

    @staticmethod
    def _access(body: Object) -> Object:
        spec = body["spec"]
        asked = spec["resourceAttributes"]
        right = {"group": "adze.dev", "resource": "workflowevents", "verb": "create", "namespace": "shop"}
        return {"status": {"allowed": spec["user"] == "sender" and asked == right}}

    def secret(self, name: str, **values: str) -> None:
        """A Secret."""
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        self.cluster.objects["secrets", "shop", name] = {"metadata": {"name": name}, "data": data}

    def webhook(self, name: str, type_: str, **spec: Any) -> None:
        """A WorkflowWebhook whose Secret has its name."""
        auth = {"type": type_, "secretRef": {"name": name}}
        self.cluster.add("workflowwebhooks", "shop", name, spec={"auth": auth, **spec})

    @property
    def events(self) -> list[Object]:
        """The specs of the WorkflowEvents."""
        return [item["spec"] for item in self.cluster.of("workflowevents")]

    @asynccontextmanager
    async def serving(self, *namespaces: str, webhooks: bool = True) -> AsyncIterator[TestClient[Any, Any]]:
        """A client of the gateway."""
        cluster: Any = self.cluster
        hooks = Webhooks(cluster, lambda: NOW) if webhooks else None
        self.gateway = Gateway(cluster, namespaces, lambda _: self.waiting, hooks)
        server = TestServer(self.gateway.server().app)
        async with TestClient(server, auto_decompress=False) as client:
            yield client
