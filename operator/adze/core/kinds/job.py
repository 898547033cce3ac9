"""The job step: a batch/v1 Job, with whatever runs it: the Job controller alone, or a queue such as Kueue's."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from adze.core import names, overlay
from adze.core.kinds.base import ByObject, Frame
from adze.core.model import PodOverlay, Step
from adze.core.model.pod import JobPod

_LISTS = ("containers", "initContainers")


class Template(ValueError):
    """A Pod template with something in it that a step can't have; `field` is below `job.spec.template`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def template(step: Step) -> JobPod:
    """The Pods of a Job, held against the list of what a step may set; Template if there is more in it."""
    assert step.job is not None
    given = step.job.spec.template
    try:
        pod = msgspec.convert(given, JobPod)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        raise Template(place.strip(".`"), message) from None
    for place in _beyond(given, msgspec.to_builtins(pod)):
        raise Template(place, "can't be set")
    return pod


def _beyond(given: Any, known: Any, place: str = "") -> Iterator[str]:
    """The fields of `given` that aren't `known`. Empty ones are left out when types are written, and do no harm."""
    if isinstance(given, Mapping):
        for name, value in given.items():
            if name in known:
                yield from _beyond(value, known[name], f"{place}.{name}".lstrip("."))
            elif value not in ([], {}, None):
                yield f"{place}.{name}".lstrip(".")
    elif isinstance(given, list):
        for index, (value, other) in enumerate(zip(given, known, strict=True)):
            yield from _beyond(value, other, f"{place}[{index}]")


def _plain(step: Step) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(step.job))
    plain["spec"]["template"] = msgspec.json.decode(msgspec.json.encode(template(step)))
    return plain


def _texts(step: Step) -> dict[str, Any]:
    """Command, args and env of the containers, by their names."""
    pod = _plain(step)["spec"]["template"]["spec"]
    found: dict[str, Any] = {kind: {} for kind in _LISTS}
    for kind in _LISTS:
        for container in pod.get(kind, ()):
            env = {one["name"]: one["value"] for one in container.get("env", ()) if "value" in one}
            found[kind][container["name"]] = {
                **{field: container[field] for field in ("command", "args") if field in container},
                **({"env": env} if env else {}),
            }
    return {"job": found}


def _build(step: Step, texts: Mapping[str, Any], frame: Frame) -> dict[str, Any]:
    job = _plain(step)
    given = job.get("metadata", {})
    labels = {**given.get("labels", {}), **frame.metadata["labels"]}
    annotations = {
        **given.get("annotations", {}),
        names.GATE: labels.pop(names.QUEUE, ""),
    }  # Kueue would start the Job itself
    template = job["spec"]["template"]
    pod = {"restartPolicy": "Never", **template["spec"]}
    for kind in _LISTS:
        for container in pod.get(kind, ()):
            _equip(container, texts["job"][kind][container["name"]], frame)
    own = {"name": names.VOLUME, **frame.volume}
    pod["volumes"] = [*pod.get("volumes", ()), own]
    common = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
    }
    about = template.get("metadata", {})
    # Not the run's UID: these Pods are the Job's, and no attempts of their own.
    shared = {name: value for name, value in frame.metadata["labels"].items() if name != names.RUN_UID}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**frame.metadata, "labels": labels, "annotations": annotations},
        "spec": {
            **job["spec"],
            "suspend": True,
            "template": {
                "metadata": {
                    "labels": {**about.get("labels", {}), **shared},
                    "annotations": {**about.get("annotations", {}), names.CONTEXT: frame.context},
                },
                "spec": overlay.merge(common, pod),
            },
        },
    }


def _equip(container: dict[str, Any], texts: Mapping[str, Any], frame: Frame) -> None:
    """Fill the container's texts in, and give it what every step has."""
    env = texts.get("env", {})
    given = [{**one, "value": env[one["name"]]} if one["name"] in env else one for one in container.get("env", ())]
    mount = {"name": names.VOLUME, "mountPath": names.DIRECTORY, "readOnly": True}
    container |= {field: texts[field] for field in ("command", "args") if field in texts}
    container |= {
        "env": [*(one for one in frame.env if one["name"] != "ADZE_OUTPUT"), *given],
        "volumeMounts": [mount, *container.get("volumeMounts", ())],
        "securityContext": overlay.merge(overlay.FEW_RIGHTS, container.get("securityContext", {})),
    }


def _problems(step: Step) -> Iterator[tuple[str, str]]:
    assert step.job is not None
    try:
        pods = template(step)
    except Template as error:
        yield f"job.spec.template.{error.field}", str(error)
        return
    for place, message in overlay.problems(PodOverlay(metadata=step.job.metadata)):
        yield f"job.{place}", message
    for place, message in overlay.problems(pods, main=None):
        yield f"job.spec.template.{place}", message


KIND = ByObject("job", "Job", _build, _texts, _problems)
