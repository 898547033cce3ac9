"""Start what may start: the graph, then onFailure, then finally. What can't run any more is skipped or cancelled."""

import msgspec

from adze.core import manifest, names
from adze.core.draft import Draft
from adze.core.expressions import ExpressionError
from adze.core.model import Attempt, ItemStatus, Phase, StepStatus
from adze.core.revision import Node, Stage
from adze.core.rules import items, retry
from adze.core.rules.admit import may_claim
from adze.core.rules.reuse import reuse
from adze.core.slots import InvalidKey

REASONS: dict[type[Exception], str] = {
    ExpressionError: "ExpressionError",
    manifest.TooLarge: "ContextTooLarge",
    InvalidKey: "InvalidConcurrency",
}
"""Why a step fails that can't be claimed."""


def advance(draft: Draft) -> None:
    """Claim an attempt for every step that is ready, in the first stage that hasn't ended."""
    _advance_graph(draft)
    if not draft.ended(Stage.GRAPH):
        return
    if not _advance_handlers(draft, Stage.ON_FAILURE, wanted=draft.failed() and not draft.ending):
        return
    _advance_handlers(draft, Stage.FINALLY, wanted=True)


def _advance_graph(draft: Draft) -> None:
    # In topological order one pass carries a skip or a failure through the whole graph.
    for name in draft.revision.order:
        status = draft.steps[name]
        node = draft.revision.nodes[name]
        if status.phase.final or status.open_attempt:
            continue
        if not status.attempts and not _reachable(draft, node, status):
            continue
        _start(draft, node)


def _reachable(draft: Draft, node: Node, status: StepStatus) -> bool:
    """Whether the parents let a step start now; if they never will, the step ends here."""
    phases = [draft.steps[parent].phase for parent in node.step.parents]
    unhappy = [parent for parent in node.step.parents if draft.steps[parent].phase in (Phase.FAILED, Phase.CANCELLED)]
    if unhappy:
        message = f"{unhappy[0]} ended {draft.steps[unhappy[0]].phase.value}"
        draft.put(msgspec.structs.replace(status, phase=Phase.CANCELLED, reason="ParentFailed", message=message))
        return False
    if not all(phase.final for phase in phases):
        return False
    if phases and all(phase is Phase.SKIPPED for phase in phases):
        draft.put(
            msgspec.structs.replace(
                status, phase=Phase.SKIPPED, reason="ParentsSkipped", message="all its parents were skipped"
            )
        )
        return False
    return True


def _advance_handlers(draft: Draft, stage: Stage, *, wanted: bool) -> bool:
    """Run an onFailure or finally stage once nothing before it can still run; True when it has ended."""
    nodes = draft.revision.stage(stage)
    if not wanted or not nodes:
        return draft.ended(stage)
    if any(node.name not in draft.steps for node in nodes):
        if not draft.quiet():
            return False
        for node in nodes:
            draft.put(StepStatus(name=node.name))
    for node in nodes:
        status = draft.steps[node.name]
        if not status.phase.final and not status.open_attempt:
            _start(draft, node)
    return draft.ended(stage)


def _start(draft: Draft, node: Node) -> None:
    """Claim the next attempt of a step, unless something holds it back or its `when` is false."""
    status = draft.status(node)
    if draft.run.spec.suspend and not draft.ending:
        return
    if node.name in draft.fans and node.index is None:
        items.fill(draft, node, _start)
        return
    if status.retry_at and draft.now < status.retry_at:
        draft.wake_at(status.retry_at)
        return
    if status.attempts and not draft.over(status.attempts[-1]):
        return
    try:
        if node.when is not None and not status.attempts:
            wanted = node.when(draft.values())
            if wanted is not True:
                _skip(draft, node, status, wanted)
                return
        if node.for_each and isinstance(status, StepStatus):
            items.expand(draft, node, status)
            if node.name in draft.fans:
                items.fill(draft, node, _start)
            return
        if reuse(draft, node, status):
            return
        number = status.attempts[-1].number + 1 if status.attempts else 1
        if may_claim(draft, node, status, number):
            _claim(draft, node, draft.status(node), number)
    except tuple(REASONS) as error:
        retry.fail(draft, status, REASONS[type(error)], str(error))


def _skip(draft: Draft, node: Node, status: ItemStatus, verdict: object) -> None:
    if verdict is not False:
        raise ExpressionError(f"when must give true or false, not {verdict!r}")
    assert node.when is not None
    draft.put(
        msgspec.structs.replace(status, phase=Phase.SKIPPED, reason="WhenFalse", message=f"{node.when.source} is false")
    )


def _claim(draft: Draft, node: Node, status: ItemStatus, number: int) -> None:
    metadata = draft.run.metadata
    attempt = Attempt(number=number, pod=names.pod(metadata.name, metadata.uid, node.name, number, node.index))
    draft.manifests[attempt.pod] = manifest.build(draft.run, node, attempt, draft.values(node), draft.policy)
    draft.put(
        msgspec.structs.replace(
            status, reason="Starting", message=None, retry_at=None, attempts=(*status.attempts, attempt)
        )
    )
