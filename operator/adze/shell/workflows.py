"""Tells on each Workflow whether runs can be made of it."""

from typing import Any

import msgspec
import structlog

from adze.core import conditions, kinds
from adze.core.draft import Notice
from adze.core.model import API_VERSION, Workflow
from adze.core.policy import Policy
from adze.core.revision import InvalidWorkflow, digest, of_run
from adze.shell.cluster import MERGE, ApiError, Cluster, resource
from adze.shell.driver import kubernetes_event
from adze.shell.engine import utcnow

log = structlog.get_logger()


async def review(cluster: Cluster, workflow: Workflow, instance: str, policy: Policy) -> None:
    """Write the Ready condition if it isn't there yet for this generation."""
    metadata = workflow.metadata
    if workflow.status.observed_generation == metadata.generation or metadata.deletion_timestamp:
        return
    problem = None
    try:
        revision = of_run(digest(workflow.spec), workflow.spec)
        rulings = [(node.name, kinds.forbidden(node.step, policy)) for node in revision.nodes.values()]
        problem = "; ".join(f"spec.steps[{name}].{ruling}" for name, ruling in rulings if ruling) or None
    except InvalidWorkflow as error:
        problem = str(error)[:4096]
    wanted = conditions.of_workflow(problem)
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
