"""The Pod of one attempt. Any image works: nothing is injected, no rights are needed in the step."""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from adze.core import kinds, names, overlay
from adze.core.expressions import variable as variable_of
from adze.core.model import API_VERSION, Attempt, Run
from adze.core.policy import Policy
from adze.core.revision import Node, Stage
from adze.core.values import Values, error

OUTPUT_PATH = "/dev/termination-log"
CONTEXT_LIMIT = 200 * 1024
"""Bytes of context and script together: all annotations of an object may hold 256 KiB."""

TOKEN = {"serviceAccountToken": {"audience": names.AUDIENCE, "expirationSeconds": 3600, "path": "token"}}
"""Says to the operator which Pod it is that hands an output over; the API server doesn't take it."""
_FILES = {"context.json": names.CONTEXT, "script": names.SCRIPT}


class TooLarge(kinds.Impossible):
    """A step whose files don't fit in its Pod."""

    def __init__(self, size: int) -> None:
        message = f"context and script take {size} bytes; {CONTEXT_LIMIT} fit: hand over less, or a reference"
        super().__init__("ContextTooLarge", message)


def build(run: Run, node: Node, attempt: Attempt, values: Values, policy: Policy) -> dict[str, Any]:
    """The manifest of what carries an attempt out. Raises ExpressionError or Impossible."""
    for field, message in kinds.forbidden(node.step, policy):
        raise kinds.Impossible("Forbidden", f"{field}: {message}")
    kind = kinds.of(node.step)
    if isinstance(kind, kinds.InPod):
        return _pod(kind, run, node, attempt, values, policy)
    assert isinstance(kind, kinds.ByObject)
    in_pods = kind.resource == "Job"
    # What becomes part of a Pod is text for the kubelet; what becomes a child's input keeps its types.
    texts = node.texts.texts(values, _unexpanded) if in_pods else node.texts.render(values)
    frame = kinds.Frame(
        run=run,
        metadata=_metadata(run, node, attempt),
        context=_fitting(node, attempt, values, {}) if in_pods else "",
        volume=_files(("context.json",), _pages(node, values)) if in_pods else {},
        env=_own_env(run, node, attempt, policy),
    )
    return kind.build(node.step, texts, frame)


def _fitting(node: Node, attempt: Attempt, values: Values, files: Mapping[str, str]) -> str:
    text = context(node, attempt, values)
    size = sum(len(one.encode()) for one in (text, *files.values()))
    if size > CONTEXT_LIMIT:
        raise TooLarge(size)
    return text


def _metadata(run: Run, node: Node, attempt: Attempt) -> dict[str, Any]:
    labels = {
        names.MANAGED_BY: "adze",
        names.RUN: names.label(run.metadata.name),
        names.RUN_UID: run.metadata.uid,
        names.STEP: node.name,
        names.ATTEMPT: str(attempt.number),
    }
    if node.index is not None:
        labels[names.ITEM] = str(node.index)
    if run.spec.workflow:
        labels[names.WORKFLOW] = names.label(run.spec.workflow)
    return {
        "name": attempt.carrier,
        "namespace": run.metadata.namespace,
        "labels": labels,
        "finalizers": [names.FINALIZER],
        "ownerReferences": [owner(run)],
    }


def _pod(kind: kinds.InPod, run: Run, node: Node, attempt: Attempt, values: Values, policy: Policy) -> dict[str, Any]:
    texts = node.texts.texts(values, _unexpanded)
    content = kind.content(node.step, texts, policy)
    files = {"context.json": _fitting(node, attempt, values, content.files), **content.files}
    annotations = {_FILES[name]: text for name, text in files.items()}
    plain = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**_metadata(run, node, attempt), "annotations": annotations},
        "spec": spec(node, texts["env"], content, _pages(node, values), _own_env(run, node, attempt, policy)),
    }
    return overlay.apply(plain, node.step.pod)


def page(run: Run, name: str, content: str) -> dict[str, Any]:
    """A ConfigMap with outputs of a step's items, or a large output. It never changes, and goes with its run."""
    labels = {
        names.MANAGED_BY: "adze",
        names.RUN: names.label(run.metadata.name),
        names.RUN_UID: run.metadata.uid,
    }
    metadata = {"name": name, "namespace": run.metadata.namespace, "labels": labels, "ownerReferences": [owner(run)]}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "immutable": True,
        "data": {names.PAGE: content},
    }


def owner(run: Run) -> dict[str, Any]:
    """The reference that lets Kubernetes delete the Pods with their run."""
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkflowRun",
        "name": run.metadata.name,
        "uid": run.metadata.uid,
        "controller": True,
    }


def spec(
    node: Node, env: Mapping[str, Any], content: kinds.Content, pages: Mapping[str, str], own: list[dict[str, str]]
) -> dict[str, Any]:
    """The Pod's spec: gated, without a token for the API server, with as few rights as any image can live with."""
    step = node.step
    container: dict[str, Any] = {
        "name": names.MAIN,
        "image": content.image,
        "env": [*own, *_user_env(node, env)],
        "terminationMessagePath": OUTPUT_PATH,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": names.VOLUME, "mountPath": names.DIRECTORY, "readOnly": True}],
        "securityContext": overlay.FEW_RIGHTS | ({"runAsNonRoot": True} if content.non_root else {}),
    }
    optional = {
        "command": content.command,
        "args": content.args,
        "imagePullPolicy": step.image_pull_policy,
        "envFrom": list(step.env_from) if step.env_from else None,
        "resources": step.resources,
    }
    container |= {field: value for field, value in optional.items() if value is not None}
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "schedulingGates": [{"name": names.GATE}],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [
            {
                "name": names.VOLUME,
                **_files(("context.json", *content.files), pages, [TOKEN] if step.large_output else []),
            }
        ],
    }
    if node.timeout:
        # A backstop for when no operator runs; it counts from the kubelet's acceptance, so image pulls are in it.
        pod["activeDeadlineSeconds"] = math.ceil((node.timeout + node.start_timeout) / timedelta(seconds=1))
    return pod


def _pages(node: Node, values: Values) -> dict[str, str]:
    """The pages of outputs that a step is shown: by path, outputs/STEP/NUMBER.json or outputs/STEP.json."""
    shown: dict[str, str] = {}
    for status in (values.steps[step] for step in _shown(node, values)):
        if status.output_page:
            shown[f"outputs/{status.name}.json"] = status.output_page.name
        for number, name in enumerate(status.items.pages if status.items else ()):
            shown[f"outputs/{status.name}/{number}.json"] = name
    return shown


def _files(files: Sequence[str], pages: Mapping[str, str], others: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """The volume with the step's files: context and script, its parents' pages, and other sources."""
    annotations = {
        "items": [
            {"path": name, "fieldRef": {"fieldPath": f"metadata.annotations['{_FILES[name]}']"}} for name in files
        ]
    }
    maps = [{"configMap": {"name": name, "items": [{"key": names.PAGE, "path": path}]}} for path, name in pages.items()]
    if not (maps or others):
        return {"downwardAPI": annotations}
    return {"projected": {"sources": [{"downwardAPI": annotations}, *maps, *others]}}


def _unexpanded(text: str) -> str:
    """Data as the kubelet leaves it alone: it expands `$(NAME)`, which authors may write but data must not."""
    return text.replace("$", "$$")


def _own_env(run: Run, node: Node, attempt: Attempt, policy: Policy) -> list[dict[str, str]]:
    outputs = {"ADZE_OUTPUTS_URL": policy.outputs_url, "ADZE_OUTPUTS_TOKEN": f"{names.DIRECTORY}/token"}
    values = {
        "ADZE_CONTEXT": f"{names.DIRECTORY}/context.json",
        "ADZE_OUTPUT": OUTPUT_PATH,
        "ADZE_RUN": run.metadata.name,
        "ADZE_STEP": node.name,
        "ADZE_ATTEMPT": str(attempt.number),
        **({"ADZE_ITEM": str(node.index)} if node.index is not None else {}),
        **(outputs if node.step.large_output else {}),
    }
    return [{"name": name, "value": value} for name, value in values.items()]


def _user_env(node: Node, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": variable.name, "value": values[variable.name]}
        if variable.value is not None
        else {"name": variable.name, "valueFrom": variable.value_from}
        for variable in node.step.env
    ]


def context(node: Node, attempt: Attempt, values: Values) -> str:
    """What the step reads from /adze/context.json: input, its parents' results, and who it is.

    For an item the lists are left out that its forEach reads: it finds its own item instead.
    """
    about = values.identity() if node.stage is Stage.GRAPH else values.identity() | values.outcome()
    item = {"item": values.item[1], "index": values.item[0]} if values.item else {}
    return msgspec.json.encode(
        {
            "input": _without_lists(node, "input", values.input),
            "steps": {step: _result(node, values, step) for step in _shown(node, values)},
            "run": about,
            "step": node.name,
            "attempt": attempt.number,
            **item,
        }
    ).decode()


def _shown(node: Node, values: Values) -> list[str]:
    """The steps whose results a step is shown: its parents, or for what comes after the graph, all."""
    shown = node.step.parents if node.stage is Stage.GRAPH else tuple(values.steps)
    return [step for step in shown if step != node.name]


def _result(node: Node, values: Values, step: str) -> dict[str, Any]:
    status = values.steps[step]
    variable = variable_of(step, "output")
    left_out = node.index is not None and step in values.lists and variable in node.iterated
    if left_out:
        output = {}
    elif status.items and status.items.pages:
        output = {"outputs": f"{names.DIRECTORY}/outputs/{step}"}
    elif status.output_page:
        output = {"outputFile": f"{names.DIRECTORY}/outputs/{step}.json"}
    else:
        output = {"output": _without_lists(node, variable, values.output(step))}
    result = {**output, "phase": status.phase.value}
    return {**result, "error": error(status)} if error(status) else result


def _without_lists(node: Node, owner: str, value: Any) -> Any:
    if node.index is None or not isinstance(value, Mapping):
        return value
    return {
        name: member
        for name, member in value.items()
        if not (isinstance(member, list) and f"{owner}.{name}" in node.iterated)
    }
