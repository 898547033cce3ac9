"""A step that may hand over a large output has ended with a reference to it: here the two come together."""

from dataclasses import replace
from typing import Any

import msgspec

from adze.core import fanout, names, outputs
from adze.core.carrier import Outcome
from adze.core.draft import Draft
from adze.core.expressions import ExpressionError
from adze.core.model import Attempt, OutputPage
from adze.core.revision import Node
from adze.core.values import paged


def handed_over(draft: Draft, node: Node, attempt: Attempt, outcome: Outcome) -> tuple[Outcome, OutputPage | None]:
    """The outcome with the output that it refers to, and the page that holds it; PagesNeeded until it's been read."""
    if not node.step.large_output or outcome.reason is not None:
        return outcome, None
    try:
        reference = outputs.referred(outcome.output)
    except msgspec.ValidationError as error:
        return _failed(outcome, "OutputInvalid", f"output.{names.REFERENCE}: {error}"), None
    if reference is None:
        return outcome, None
    if node.index is not None and reference.bytes > fanout.PAGE_LIMIT:
        message = f"an item's output has {reference.bytes} bytes; {fanout.PAGE_LIMIT} is the limit"
        return _failed(outcome, "OutputTooLarge", message), None
    page = OutputPage(name=names.output(attempt.carrier), sha256=reference.sha256, bytes=reference.bytes)
    try:
        output = dict(paged(page, draft.observed.pages))
    except ExpressionError as error:
        return _failed(outcome, "OutputLost", str(error)), None
    return replace(outcome, output=output), page


def _failed(outcome: Outcome, reason: str, message: str) -> Outcome:
    return replace(outcome, reason=reason, message=message, output=None)


def keep(draft: Draft, node: Node, output: dict[str, Any] | None, page: OutputPage | None) -> dict[str, Any] | str:
    """The fields of a status that hold an output which was `page`'s, or why the run has no room for it.

    Items' outputs become part of the pages of their step.
    """
    if page is None or node.index is not None:
        if output and not draft.has_room(node, output):
            return draft.no_room(node)
        draft.spent += [page.name] if page else []
        return {"output": output}
    if output != draft.observed.pages[page.name]:
        # The schema has filled defaults in.
        draft.spent.append(page.name)
        page = outputs.own(draft.run, node.name, output or {})
        draft.pages[page.name] = output or {}
    others = sum(step.output_page.bytes for step in draft.steps.values() if step.output_page)
    if others + page.bytes > outputs.TOGETHER:
        return f"the large outputs of the run are together larger than {outputs.TOGETHER // 1024**2} MiB"
    return {"output": None, "output_page": page}
