"""The gateway's description for machines (OpenAPI 3.1), made of the types that it reads and writes."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from adze.core.cloudevents import BATCH, BATCH_LIMIT, STRUCTURED, CloudEvent

NAMESPACE = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
WEBHOOK = "^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
"""What the names in paths look like. They become parts of paths at the API server, so nothing else is let through."""


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The events of a request are WorkflowEvents now."""

    events: Annotated[tuple[str, ...], Meta(description="Names of the WorkflowEvents, in the order of the request.")]


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request was not accepted (RFC 9457)."""

    title: Annotated[str, Meta(description="The status in words.")]
    status: Annotated[int, Meta(description="The HTTP status.", ge=400, le=599)]
    detail: Annotated[str, Meta(description="What is wrong, for people.")] = ""
    field: Annotated[str, Meta(description="Where in the request.")] = ""


REFUSALS = {
    400: "no event can be made of the request; `field` says where it is wrong",
    401: "the sender isn't known",
    403: "the sender may not create WorkflowEvents in that namespace",
    404: "there is no such address, or adze does not serve that namespace",
    408: "the body did not come in time",
    409: "the same source and id came with other content, or the namespace is being deleted",
    413: "the request is too big",
    415: "the content is of a kind that is not taken",
    429: "too much at once: come again after Retry-After seconds",
    503: "the API server can't take it now: come again after Retry-After seconds",
}


def document(version: str, webhooks: bool) -> dict[str, Any]:
    """The OpenAPI document; with the webhooks' address if they are enabled."""
    types = (CloudEvent, Accepted, Problem)
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    components["CloudEvent"] |= {
        "additionalProperties": {"type": ["string", "integer", "boolean", "null"], "maxLength": 1024},
        "propertyNames": {"pattern": "^[a-z0-9]{1,64}$"},
    }
    event = {"$ref": "#/components/schemas/CloudEvent"}
    batch = {"type": "array", "items": event, "maxItems": BATCH_LIMIT}
    content = {
        STRUCTURED: {"schema": event},
        BATCH: {"schema": batch},
        "application/json": {"schema": {"type": "object"}},
    }
    events = _operation("sendEvents", "Send events: structured, as a batch, or binary with the headers ce-….", content)
    events["parameters"] = [_header(name) for name in ("specversion", "id", "source", "type")]
    paths = {"/v1/namespaces/{namespace}/events": _path(events, namespace=NAMESPACE)}
    if webhooks:
        body = {"application/json": {"schema": {"type": "object"}}}
        delivery = _operation("deliver", "Deliver to a WorkflowWebhook, which says how the sender is known.", body)
        delivery["security"] = []
        delivery["responses"]["204"] = {"description": "taken; its filter leaves it out"}
        paths["/v1/namespaces/{namespace}/webhooks/{name}"] = _path(delivery, namespace=NAMESPACE, name=WEBHOOK)
    return {
        "openapi": "3.1.0",
        "info": {"title": "adze events gateway", "version": version},
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token that the API server takes."}
            },
        },
    }


def _path(operation: dict[str, Any], **parameters: str) -> dict[str, Any]:
    return {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern}}
            for name, pattern in parameters.items()
        ],
        "post": operation,
    }


def _header(name: str) -> dict[str, Any]:
    return {
        "name": f"ce-{name}",
        "in": "header",
        "required": False,
        "description": "Binary mode: an attribute of the event.",
        "schema": {"type": "string"},
    }


def _operation(name: str, summary: str, content: dict[str, Any]) -> dict[str, Any]:
    accepted = {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}}
    refused = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        "operationId": name,
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": {
            "202": {"description": "the events are durable", "content": accepted},
            **{str(code): {"description": text, "content": refused} for code, text in REFUSALS.items()},
        },
    }
