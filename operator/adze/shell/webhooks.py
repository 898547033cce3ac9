"""Webhooks: the WorkflowWebhook and its Secret as they are now, and the event of a delivery. Also their review."""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import structlog

from adze.core import conditions, signatures, webhooks
from adze.core.cloudevents import Rejected
from adze.core.model import API_VERSION, EventSpec, Webhook
from adze.core.signatures import SecretUnusable, Unproven
from adze.core.webhooks import InvalidWebhook
from adze.shell.cluster import MERGE, ApiError, Cluster, resource
from adze.shell.outside import utcnow

log = structlog.get_logger()


class _Secret(msgspec.Struct, frozen=True):
    data: dict[str, str] = {}


class Webhooks:
    """Turns deliveries into events."""

    def __init__(self, cluster: Cluster, clock: Callable[[], datetime] = utcnow) -> None:
        self._cluster = cluster
        self._clock = clock

    async def event(self, namespace: str, name: str, headers: Mapping[str, str], body: bytes) -> EventSpec | None:
        """The event of a delivery; None if its filter leaves it out. Rejected, with a status, if not.

        The Secret is read each time: a changed one counts at once, and none is kept in memory.
        """
        try:
            answer = await self._cluster.call("GET", resource(API_VERSION, namespace, "workflowwebhooks", name))
        except ApiError as error:
            if error.code == 404:
                raise Rejected(
                    "name", f"there is no WorkflowWebhook {name!r} in namespace {namespace!r}", 404
                ) from None
            raise
        spec = msgspec.json.decode(answer, type=Webhook).spec
        try:
            secret = await self._secret(namespace, spec.auth.secret_ref.name)
            signatures.verify(spec.auth, secret, headers, body, self._clock())
            return webhooks.event(name, spec, headers, body)
        except Unproven as error:
            raise Rejected("", str(error), 401) from None
        except (SecretUnusable, InvalidWebhook) as error:
            # The sender can't help it, and had better come again once it's mended.
            log.warning("a webhook can't take deliveries", namespace=namespace, webhook=name, error=str(error))
            raise Rejected("", f"WorkflowWebhook {name} is not set up", 503) from None

    async def _secret(self, namespace: str, name: str) -> dict[str, bytes]:
        try:
            answer = await self._cluster.call("GET", resource("v1", namespace, "secrets", name))
        except ApiError as error:
            if error.code in (403, 404):
                raise SecretUnusable(error.message) from None
            raise
        try:
            data = msgspec.json.decode(answer, type=_Secret).data
            return {key: base64.b64decode(value) for key, value in data.items()}
        except (msgspec.ValidationError, binascii.Error):
            raise SecretUnusable(f"the Secret {name} can't be read") from None


async def review(cluster: Cluster, webhook: Webhook) -> None:
    """Write the Ready condition if it isn't there yet for this generation."""
    metadata = webhook.metadata
    if webhook.status.observed_generation == metadata.generation or metadata.deletion_timestamp:
        return
    problem = None
    try:
        webhooks.compile_webhook(webhook.spec)
    except InvalidWebhook as error:
        problem = str(error)[:4096]
    wanted = conditions.of_workflow(problem)
    found = conditions.set_conditions(webhook.status.conditions, wanted, metadata.generation, utcnow())
    status: dict[str, Any] = {"observedGeneration": metadata.generation, "conditions": msgspec.to_builtins(found)}
    path = resource(API_VERSION, metadata.namespace, "workflowwebhooks", metadata.name, "status")
    try:
        await cluster.call(
            "PATCH", path, {"metadata": {"resourceVersion": metadata.resource_version}, "status": status}, MERGE
        )
    except ApiError as error:
        # A newer version of it is on its way to us, or its deletion.
        if error.code not in (404, 409):
            raise
