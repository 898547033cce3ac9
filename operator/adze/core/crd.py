"""From the API types to CustomResourceDefinitions: one source for schema, columns and rules."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from adze.core.model import GROUP, VERSION, Event, Run, Webhook, Workflow, rule

_WORDS_TO_DROP = {"title", "$ref", "anyOf"}
NEW_ONLY = "oldSelf.hasValue() || "
"""Begins a rule that only what is new must obey, and that costs nothing where it was there before."""
ONE_OWNER = {"x-kubernetes-map-type": "atomic"}
"""Who writes it owns all of it, so the API server keeps no account of who wrote which field."""

RUN_RULES = [
    rule(
        "has(self.rerunOf) || has(self.workflow) != has(self.workflowSpec)",
        "exactly one of workflow and workflowSpec must be given",
    ),
    rule(
        "!has(self.rerunOf) || !has(self.workflowSpec) && !has(self.input)",
        "a rerun has the workflow and the input of the run that it repeats: leave out workflowSpec and input",
    ),
    rule(
        "!has(self.workflowSpec) || !has(self.workflowSpec.on) && !has(self.workflowSpec.suspend)",
        "a workflow within a run has no triggers (on) and no suspend: the run itself has",
    ),
    rule("!has(self.idempotencyWindow) || has(self.idempotencyKey)", "idempotencyWindow needs an idempotencyKey"),
    *(
        rule(
            f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
            f"{field} must not change: create another run",
        )
        for field in ("workflow", "input", "rerunOf", "runAt", "idempotencyKey", "idempotencyWindow")
    ),
    rule(
        "!has(oldSelf.approvals) || oldSelf.approvals.all(o, has(self.approvals) && "
        "self.approvals.exists(n, n.step == o.step && n.by == o.by))",
        "approvals must not be removed",
    ),
    rule("!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)", "cancel must not be undone"),
]

EVENT_RULES = [rule("self == oldSelf", "an event must not change: create another")]


def _column(name: str, path: str, kind: str = "string", priority: int = 0) -> dict[str, Any]:
    wide = {"priority": priority} if priority else {}
    return {"name": name, "jsonPath": path, "type": kind, **wide}


KINDS: tuple[dict[str, Any], ...] = (
    {
        "type": Workflow,
        "names": {"kind": "Workflow", "plural": "workflows", "singular": "workflow", "shortNames": ["awf"]},
        "description": "Workflow is a graph of steps; each WorkflowRun is one execution of it.",
        "columns": [
            _column("READY", '.status.conditions[?(@.type=="Ready")].status'),
            _column("REASON", '.status.conditions[?(@.type=="Ready")].reason'),
            _column("NEXT RUN", ".status.nextRunTime", priority=1),
            _column("MESSAGE", '.status.conditions[?(@.type=="Ready")].message', priority=1),
            _column("AGE", ".metadata.creationTimestamp", "date"),
        ],
        "selectable": [],
        "rules": [],
    },
    {
        "type": Run,
        "names": {"kind": "WorkflowRun", "plural": "workflowruns", "singular": "workflowrun", "shortNames": ["awr"]},
        "description": "WorkflowRun is one execution of a Workflow.",
        "columns": [
            _column("WORKFLOW", ".spec.workflow"),
            _column("PHASE", ".status.phase"),
            _column("PROGRESS", ".status.progress"),
            _column("REASON", ".status.reason"),
            _column("TRIGGER", ".status.trigger.kind", priority=1),
            _column("STARTED", ".status.startTime", "date", 1),
            _column("FINISHED", ".status.finishTime", "date", 1),
            _column("MESSAGE", ".status.message", priority=1),
            _column("AGE", ".metadata.creationTimestamp", "date"),
        ],
        "selectable": [".spec.workflow", ".spec.rerunOf.run", ".status.phase"],
        "rules": RUN_RULES,
    },
    {
        "type": Event,
        "names": {
            "kind": "WorkflowEvent",
            "plural": "workflowevents",
            "singular": "workflowevent",
            "shortNames": ["awe"],
        },
        "description": "WorkflowEvent is one CloudEvent; it starts runs of the Workflows that wait for it.",
        "columns": [
            _column("TYPE", ".spec.type"),
            _column("SOURCE", ".spec.source"),
            _column("RUNS", ".status.started", "integer"),
            _column("REASON", '.status.conditions[?(@.type=="Processed")].reason'),
            _column("ID", ".spec.id", priority=1),
            _column("SUBJECT", ".spec.subject", priority=1),
            _column("MESSAGE", '.status.conditions[?(@.type=="Processed")].message', priority=1),
            _column("AGE", ".metadata.creationTimestamp", "date"),
        ],
        "selectable": [".spec.type", ".spec.source"],
        "rules": EVENT_RULES,
    },
    {
        "type": Webhook,
        "names": {
            "kind": "WorkflowWebhook",
            "plural": "workflowwebhooks",
            "singular": "workflowwebhook",
            "shortNames": ["aww"],
        },
        "description": "WorkflowWebhook is an address of the gateway at which others tell what happened there.",
        "columns": [
            _column("AUTH", ".spec.auth.type"),
            _column("READY", '.status.conditions[?(@.type=="Ready")].status'),
            _column("REASON", '.status.conditions[?(@.type=="Ready")].reason'),
            _column("MESSAGE", '.status.conditions[?(@.type=="Ready")].message', priority=1),
            _column("AGE", ".metadata.creationTimestamp", "date"),
        ],
        "selectable": [],
        "rules": [],
    },
)


def structural(schema: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """A structural schema: references inlined, nullable unions reduced, every part typed."""
    merged: dict[str, Any] = {}
    if "$ref" in schema:
        merged |= structural(components[schema["$ref"].rsplit("/", 1)[1]], components)
    if "anyOf" in schema and "x-kubernetes-int-or-string" not in schema:
        members = [member for member in schema["anyOf"] if member != {"type": "null"}]
        if len(members) != 1:
            raise TypeError(f"a union of {len(members)} types has no structural schema")
        merged |= structural(members[0], components)
    merged |= {word: value for word, value in schema.items() if word not in _WORDS_TO_DROP}
    if not merged.get("default", True):
        del merged["default"]
    if isinstance(merged.get("default"), dict):
        raise TypeError("defaults of objects belong to their fields")
    if "enum" in merged:
        merged["type"] = "string"
    if "x-kubernetes-preserve-unknown-fields" in merged:
        merged.pop("additionalProperties", None)
    if "properties" in schema:
        merged["properties"] = {name: structural(part, components) for name, part in schema["properties"].items()}
        # A field with a default is filled in by the API server; required would refuse it first.
        merged.pop("required", None)
        required = [name for name in schema.get("required", ()) if "default" not in merged["properties"][name]]
        if required:
            merged["required"] = required
    for part in ("items", "additionalProperties"):
        if part in merged and isinstance(schema.get(part), Mapping):
            merged[part] = structural(schema[part], components)
    return merged


def _asked_once(workflow: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lists of steps of a run's own workflow, with rules for its creation only: docs/adr/0032-rules-of-runs.md."""
    for name in ("steps", "finally"):
        field = workflow["properties"][name]
        rules = [
            {**one, "rule": f"{NEW_ONLY}({one['rule']})", "optionalOldSelf": True}
            for one in field["items"]["x-kubernetes-validations"]
        ]
        yield name, {**field, "items": {**field["items"], "x-kubernetes-validations": rules}}


def definition(kind: Mapping[str, Any]) -> dict[str, Any]:
    """The CustomResourceDefinition of one of KINDS."""
    _, components = msgspec.json.schema_components([kind["type"]], ref_template="#/$defs/{name}")
    whole = components[kind["type"].__name__]
    parts = {name: structural(whole["properties"][name], components) for name in ("spec", "status")}
    parts["spec"]["description"] = "What is wanted."
    parts["status"]["description"] = "What is. Written by the operator only."
    parts["status"] |= ONE_OWNER
    if workflow := parts["spec"]["properties"].get("workflowSpec"):
        workflow["properties"] |= dict(_asked_once(workflow))
        workflow |= ONE_OWNER
    if kind["rules"]:
        parts["spec"]["x-kubernetes-validations"] = kind["rules"]
    schema = {
        "type": "object",
        "description": kind["description"],
        "required": ["spec"],
        "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
        | parts,
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": kind["columns"],
    }
    if kind["selectable"]:
        version["selectableFields"] = [{"jsonPath": path} for path in kind["selectable"]]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind['names']['plural']}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {**kind["names"], "listKind": f"{kind['names']['kind']}List", "categories": ["adze"]},
            "versions": [version],
        },
    }


def definitions() -> dict[str, dict[str, Any]]:
    """File stem to CustomResourceDefinition."""
    return {kind["names"]["plural"]: definition(kind) for kind in KINDS}
