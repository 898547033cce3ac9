"""What nobody refuses, and what is still likely a mistake."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from adze.core.model import Step, WorkflowSpec

Warning_ = tuple[tuple[str | int, ...], str, str]


def warnings(spec: WorkflowSpec) -> Iterator[Warning_]:
    """Path below the spec, rule and message."""
    yield from _unused_inputs(spec)
    yield from _loose_images(spec)


def _unused_inputs(spec: WorkflowSpec) -> Iterator[Warning_]:
    """Properties that occur nowhere as a word. A container whose command isn't shown may read the context."""
    if any((step.image or step.args) and not step.command for step, _ in _steps(spec)):
        return
    properties = (spec.input or {}).get("properties")
    text = msgspec.json.encode(msgspec.structs.replace(spec, input=None)).decode()
    words = set(re.findall(r"\w+", re.sub(r"\\[nrt\"]", " ", text)))
    for name in properties if isinstance(properties, dict) else ():
        if not set(re.findall(r"\w+", name)) <= words:
            message = f"no expression, script or command names the input {name!r}"
            yield ("input", "properties", name), "unused-input", message


def _loose_images(spec: WorkflowSpec) -> Iterator[Warning_]:
    places: list[tuple[tuple[str | int, ...], str | None]] = []
    if spec.defaults:
        places.append((("defaults", "image"), spec.defaults.image))
    for step, path in _steps(spec):
        places += [((*path, "image"), step.image)]
        places += [((*path, "script", "image"), step.script.image)] if step.script else []
    for path, image in places:
        if image and loose(image):
            yield path, "loose-image", f"the image {image} has no fixed version: give it a tag or a digest"


def loose(image: str) -> bool:
    """Whether an image's name may mean another image tomorrow."""
    _, _, last = image.rpartition("/")
    _, _, tag = last.partition(":")
    return "@" not in last and tag in ("", "latest")


def _steps(spec: WorkflowSpec) -> Iterator[tuple[Step, tuple[Any, ...]]]:
    for index, step in enumerate(spec.steps):
        yield step, ("steps", index)
    if spec.on_failure:
        yield spec.on_failure, ("onFailure",)
    for index, step in enumerate(spec.finally_):
        yield step, ("finally", index)
