"""Tells on each Workflow whether runs can be made of it."""

import asyncio
from typing import Any

import msgspec
import structlog

from adze.core import conditions
from adze.core.draft import Notice
from adze.core.model import API_VERSION, GROUP, Workflow
from adze.core.policy import Policy
from adze.core.review import problems
from adze.core.revision import InvalidWorkflow
from adze.shell.cluster import MERGE, ApiError, Cluster, resource
from adze.shell.driver import kubernetes_event
from adze.shell.outside import utcnow

log = structlog.get_logger()

POLL = 0.5
"""Seconds between two looks for the kind while its CRD isn't installed."""


class _Named(msgspec.Struct):
    name: str


class _Discovery(msgspec.Struct):
    groups: list[_Named] = []
    resources: list[_Named] = []


async def served(cluster: Cluster) -> None:
    """Return once discovery shows the kinds that kopf watches."""
    while True:
        try:
            groups = msgspec.json.decode(await cluster.call("GET", "/apis"), type=_Discovery).groups
            if any(group.name == GROUP for group in groups):
                answer = await cluster.call("GET", f"/apis/{API_VERSION}")
                resources = msgspec.json.decode(answer, type=_Discovery).resources
                if {"workflows", "workflowwebhooks"} <= {one.name for one in resources}:
                    return
        except ApiError as error:
            if error.code != 404:
                log.warning("the kinds can't be looked up", error=str(error))
        await asyncio.sleep(POLL)


async def review(cluster: Cluster, workflow: Workflow, instance: str, policy: Policy) -> None:
    """Write the Ready condition if it isn't there yet for this generation."""
    metadata = workflow.metadata
    if workflow.status.observed_generation == metadata.generation or metadata.deletion_timestamp:
        return
    found = problems(workflow.spec, policy)
    problem = str(InvalidWorkflow(found))[:4096] if found else None
    wanted = conditions.of_workflow(problem, suspended=workflow.spec.suspend)
    status: dict[str, Any] = {
        "observedGeneration": metadata.generation,
        "conditions": msgspec.to_builtins(
            conditions.set_conditions(workflow.status.conditions, wanted, metadata.generation, utcnow())
        ),
    }
    body = {"metadata": {"resourceVersion": metadata.resource_version}, "status": status}
    path = resource(API_VERSION, metadata.namespace, "workflows", metadata.name, "status")
    try:
        await cluster.call("PATCH", path, body, MERGE)
        if problem:
            event = kubernetes_event("Workflow", metadata, Notice("Warning", "Invalid", problem[:1000]), instance)
            await cluster.call("POST", resource("v1", metadata.namespace, "events"), event)
    except ApiError as error:
        # A newer version of the Workflow is on its way to us, or its deletion.
        if error.code not in (404, 409):
            raise
