"""Large outputs: a step hands over what is too large for its termination message, and writes a reference instead.

The operator's receiver stores the output in a ConfigMap whose name follows from the attempt's Pod alone. So the step's
word decides neither where the output is looked for nor, with the digest, what is found there (docs/adr/0029).
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from adze.core import names
from adze.core.model import OutputPage, Record, Run
from adze.core.schema import DEEPEST, json_nested_deeper

LARGEST = 1_000_000
"""Bytes of a large output: a ConfigMap holds 1 MiB."""
TOGETHER = 16 * 1024 * 1024
"""Bytes of the large outputs of one run."""


class Reference(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a step writes in place of an output that it has handed over."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
    bytes: Annotated[int, Meta(ge=0, le=LARGEST)]


def checked(content: bytes) -> str:
    """The text of a large output; ValueError unless it is a JSON object that isn't nested too deep."""
    if json_nested_deeper(content, DEEPEST):
        raise ValueError(f"the output is nested more than {DEEPEST} levels deep")
    try:
        text = content.decode()
        msgspec.json.decode(text, type=dict)
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise ValueError(f"the output must be a JSON object: {error}") from None
    return text


def refer(text: bytes) -> dict[str, Any]:
    """The reference to an output, as the step writes it."""
    return {names.REFERENCE: {"sha256": digest(text), "bytes": len(text)}}


def referred(output: Mapping[str, Any] | None) -> Reference | None:
    """The reference that an output is; None if it's none. msgspec.ValidationError if it's a broken one."""
    if not output or output.keys() != {names.REFERENCE}:
        return None
    return msgspec.convert(output[names.REFERENCE], Reference)


def digest(text: bytes) -> str:
    """The digest by which an output is known again."""
    return hashlib.sha256(text).hexdigest()


def own(run: Run, step: str, output: Mapping[str, Any]) -> OutputPage:
    """The page of an output that the run itself stores: its name follows from the content."""
    text = msgspec.json.encode(output)
    name = names.page(run.metadata.name, run.metadata.uid, step, text.decode())
    return OutputPage(name=name, sha256=digest(text), bytes=len(text))


def read(text: str, sha256: str | None) -> dict[str, Any] | None:
    """The JSON object in a page; None if it's none, or has another digest than the one that is given."""
    data = text.encode()
    if sha256 is not None and digest(data) != sha256:
        return None
    try:
        found: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return None
    return found
