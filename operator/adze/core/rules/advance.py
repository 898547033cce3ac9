"""Start what may start: the graph, then onFailure, then finally. What can't run any more is skipped or cancelled."""

import msgspec

from adze.core import kinds, manifest, names
from adze.core.draft import Draft
from adze.core.expressions import ExpressionError
from adze.core.model import Attempt, ItemStatus, Phase, StepStatus
from adze.core.rates import InvalidRate
from adze.core.revision import Node, Stage
from adze.core.rules import items, retry
from adze.core.rules.admit import may_claim
from adze.core.rules.reach import Ending, reach
from adze.core.rules.reuse import reuse
from adze.core.rules.settle import settle_wait
from adze.core.slots import InvalidKey


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
    verdict = reach(node.step.run_if, {parent: draft.steps[parent].phase for parent in node.step.parents})
    if isinstance(verdict, Ending):
        draft.put(msgspec.structs.replace(status, phase=verdict.phase, reason=verdict.reason, message=verdict.message))
        return False
    return verdict


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
    except ExpressionError as error:
        retry.fail(draft, status, "ExpressionError", str(error))
    except InvalidKey as error:
        retry.fail(draft, status, "InvalidConcurrency", str(error))
    except InvalidRate as error:
        retry.fail(draft, status, "InvalidRateLimit", str(error))
    except kinds.Impossible as error:
        retry.fail(draft, status, error.reason, str(error))


def _skip(draft: Draft, node: Node, status: ItemStatus, verdict: object) -> None:
    if verdict is not False:
        raise ExpressionError(f"when must give true or false, not {verdict!r}")
    assert node.when is not None
    draft.put(
        msgspec.structs.replace(status, phase=Phase.SKIPPED, reason="WhenFalse", message=f"{node.when.source} is false")
    )


def _claim(draft: Draft, node: Node, status: ItemStatus, number: int) -> None:
    kind = kinds.of(node.step)
    if isinstance(kind, kinds.Waits):
        attempt = Attempt(number=number, start_time=draft.now)
        draft.put(msgspec.structs.replace(status, attempts=(*status.attempts, attempt)))
        settle_wait(draft, node, attempt)
        return
    metadata = draft.run.metadata
    carrier = kind.field if isinstance(kind, kinds.ByObject) else "pod"
    name = names.pod(metadata.name, metadata.uid, node.name, number, node.index)
    attempt = msgspec.structs.replace(Attempt(number=number), **{carrier: name})
    draft.manifests[attempt.carrier] = manifest.build(draft.run, node, attempt, draft.values(node), draft.policy)
    draft.put(
        msgspec.structs.replace(
            status, reason="Starting", message=None, retry_at=None, attempts=(*status.attempts, attempt)
        )
    )
