"""A document's findings: the API server's checks, then the operator's own, then warnings."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from adze.core import planner
from adze.core.model import API_VERSION, GROUP, Event, Metadata, Run, RunStatus, Webhook, Workflow, WorkflowSpec
from adze.core.pieces import Problem
from adze.core.review import problems
from adze.core.revision import InvalidWorkflow, compile_workflow
from adze.core.webhooks import InvalidWebhook, compile_webhook
from adze.lint import schema
from adze.lint.documents import Document, read
from adze.lint.finding import Finding, Severity
from adze.lint.warnings import warnings

KINDS: dict[str, type[Workflow] | type[Run] | type[Event] | type[Webhook]] = {
    "Workflow": Workflow,
    "WorkflowRun": Run,
    "WorkflowEvent": Event,
    "WorkflowWebhook": Webhook,
}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass
class Checked:
    """The files' documents that are of use, and what was found in all of them."""

    workflows: list[tuple[Document, Workflow]] = field(default_factory=list)
    runs: list[tuple[Document, Run]] = field(default_factory=list)
    others: list[Document] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def broken(self) -> bool:
        """Whether anything would be refused."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)


def check_files(paths: Sequence[str], stdin: Any = None) -> Checked:
    """All documents of all files. A run is checked against its workflow where that is among them."""
    checked = Checked()
    for path in paths:
        for item in read(path, stdin):
            if isinstance(item, Finding):
                checked.findings.append(item)
            else:
                _sort(checked, item)
    known = {workflow.metadata.name: workflow for _, workflow in checked.workflows}
    for document, run in checked.runs:
        checked.findings += _check_run(document, run, known)
    order = {path: index for index, path in enumerate(paths)}
    unique = dict.fromkeys(checked.findings)  # what defaults get wrong, they get wrong for each step
    checked.findings = sorted(unique, key=lambda found: (order[found.file], found.place.line, found.place.column))
    return checked


def _sort(checked: Checked, document: Document) -> None:
    findings = list(_identity(document))
    if not findings and document.kind not in KINDS:
        checked.others.append(document)
        return
    findings = findings or [_fault(document, fault) for fault in schema.faults(document.kind, document.value)]
    checked.findings += findings
    if findings:
        return
    try:
        item = msgspec.convert(_named(document.value), KINDS[document.kind])
    except msgspec.ValidationError as error:
        checked.findings.append(document.finding(document.place(document.node), "schema", str(error)))
        return
    if isinstance(item, Workflow):
        checked.workflows.append((document, item))
        checked.findings += _check_workflow(document, item.spec)
    elif isinstance(item, Webhook):
        checked.findings += _check_webhook(document, item)
    elif isinstance(item, Run):
        checked.runs.append((document, item))
        if item.spec.workflow_spec:
            checked.findings += _check_inline(document, item.spec.workflow_spec)


def _named(value: dict[str, Any]) -> dict[str, Any]:
    """The object with its generateName as its name, where it has no other."""
    metadata = value["metadata"]
    return {**value, "metadata": {"name": metadata.get("generateName"), **metadata}}


def _identity(document: Document) -> Iterator[Finding]:
    """Whether this is one of our objects at all. Other kinds of other groups are none of our business."""
    value = document.value
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        place = document.place(document.node)
        yield document.finding(place, "kind", "an object with apiVersion and kind is expected")
        return
    version, kind = value.get("apiVersion"), document.kind
    ours = isinstance(version, str) and version.partition("/")[0] == GROUP
    if kind not in KINDS and not ours:
        return
    if kind not in KINDS:
        hint = schema.instead(kind, KINDS)
        yield document.finding(_at(document, ("kind",)), "kind", f"{GROUP} has no kind {kind!r}{hint}", "kind")
        return
    if version != API_VERSION:
        message = f"must be {API_VERSION} for a {kind}, not {version!r}"
        yield document.finding(_at(document, ("apiVersion",)), "kind", message, "apiVersion")
    metadata = value.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = metadata.get("name")
    field, whole = ("name", name) if name is not None else ("generateName", metadata.get("generateName"))
    if whole is None:
        yield document.finding(_at(document, ("metadata",)), "kind", "must be given", "metadata.name")
    elif not (isinstance(whole, str) and len(whole) <= 253 and _NAME.fullmatch(whole + "x" * (field != "name"))):
        message = f"must be lower-case letters, digits, '-' and '.', at most 253 of them, not {whole!r}"
        yield document.finding(_at(document, ("metadata", field)), "kind", message, f"metadata.{field}")


def _at(document: Document, path: schema.Path) -> Any:
    return document.place(document.find(path)[0])


def _fault(document: Document, fault: schema.Fault) -> Finding:
    place = document.key(fault.path) if fault.key else _at(document, fault.path)
    message = fault.message + ("" if fault.key else document.surprise(fault.path))
    return document.finding(place, fault.rule, message, dotted(document.value, fault.path))


def dotted(value: Any, path: Iterable[str | int]) -> str:
    """A path as people write it: spec.steps[charge].retries."""
    text = ""
    for part in path:
        member = value[part] if isinstance(value, list) and isinstance(part, int) else None
        if isinstance(part, int):
            name = member.get("name") if isinstance(member, dict) else None
            text += f"[{name if isinstance(name, str) else part}]"
        else:
            text += f".{part}"
            member = value.get(part) if isinstance(value, dict) else None
        value = member
    return text.lstrip(".")


def _check_workflow(document: Document, spec: WorkflowSpec) -> Iterator[Finding]:
    yield from (_problem(document, problem, ("spec",)) for problem in problems(spec))
    yield from _warned(document, spec, ("spec",))


def _check_inline(document: Document, spec: WorkflowSpec) -> Iterator[Finding]:
    root = ("spec", "workflowSpec")
    try:
        compile_workflow(spec)
    except InvalidWorkflow as error:
        yield from (_problem(document, problem, root) for problem in error.problems)
    yield from _warned(document, spec, root)


def _warned(document: Document, spec: WorkflowSpec, root: tuple[str, ...]) -> Iterator[Finding]:
    for path, rule, message in warnings(spec):
        full = (*root, *path)
        yield document.finding(document.key(full), rule, message, dotted(document.value, full))


def _check_webhook(document: Document, webhook: Webhook) -> Iterator[Finding]:
    try:
        compile_webhook(webhook.spec)
    except InvalidWebhook as error:
        yield from (_problem(document, Problem(*problem), ("spec",)) for problem in error.problems)


def _problem(document: Document, problem: Problem, root: tuple[str, ...]) -> Finding:
    """A problem of the operator's, with the place of its field in the file."""
    text, line, column = problem.field, 0, 0
    if found := re.search(r":(\d+):(\d+)$", text):
        text, line, column = text[: found.start()], int(found[1]), int(found[2])
    path = (*root, *_parts(text)[1:])
    node, taken = document.find(path)
    if taken < len(path) and len(path) > len(root) + 2:
        # What a step doesn't say itself comes from the defaults.
        default = (*root, "defaults", *path[len(root) + 2 :])
        other, reached = document.find(default)
        node, taken, path = (other, reached, default) if reached == len(default) else (node, taken, path)
    if taken == len(path) and line:
        inner, deeper = document.find((*path, "value"))
        node = inner if deeper > taken else node
        place = document.within(node, line, column)
    else:
        place = document.place(node)
    return document.finding(place, "workflow", problem.message, dotted(document.value, _indexed(document, path)))


def _parts(text: str) -> list[str]:
    return [name or index for name, index in re.findall(r"\.?([^.\[\]]+)|\[([^\]]*)\]", text)]


def _indexed(document: Document, path: Sequence[str]) -> list[str | int]:
    """The path with indices where the document has lists."""
    value, parts = document.value, list[str | int]()
    for part in path:
        key: str | int = part
        if isinstance(value, list):
            names = [item.get("name") if isinstance(item, dict) else None for item in value]
            key = names.index(part) if part in names else int(part) if part.isdigit() else part
            value = value[key] if isinstance(key, int) and key < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
        parts.append(key)
    return parts


def _check_run(document: Document, run: Run, workflows: dict[str, Workflow]) -> Iterator[Finding]:
    """The operator's verdict on a run that is new; only what isn't about its workflow is news here."""
    workflow = workflows.get(run.spec.workflow or "")
    if workflow is None and run.spec.workflow_spec is None:
        return
    fresh = msgspec.structs.replace(run, metadata=Metadata(name=run.metadata.name), status=RunStatus())
    status = planner.begin(fresh, workflow, _ANY_TIME).status
    if status and status.reason == "InvalidInput":
        field, _, message = (status.message or "").partition(": ")
        path = _parts(field)
        node, _ = document.find(path)
        yield document.finding(document.place(node), "input", message or field, field if message else "spec.input")
