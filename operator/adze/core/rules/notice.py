"""News for people: what runs where, and why something waits. None of it is worth a write of its own at once."""

from datetime import timedelta

import msgspec

from adze.core.carrier import Carrier
from adze.core.draft import Draft
from adze.core.model import Attempt, ItemStatus, Phase
from adze.core.revision import Node

PATIENCE = timedelta(seconds=2)
"""A step that ends sooner than this costs no write for having run, or for having waited."""
ITEM_PATIENCE = timedelta(seconds=10)
"""The same for an item that runs: what its neighbours cause to be written tells of it too."""


def notice(draft: Draft) -> None:
    """Note on open attempts whether they run, and if not, why."""
    for node, status in draft.open():
        attempt = status.attempts[-1]
        pod = draft.pod(attempt)
        refusal = draft.observed.refusals.get(attempt.carrier)
        if pod:
            _notice_pod(draft, node, status, attempt, pod)
        elif refusal and not refusal.lasting:
            draft.put(msgspec.structs.replace(status, reason=refusal.reason, message=refusal.message))
            draft.wake_at(refusal.retry_at)


def _notice_pod(draft: Draft, node: Node, status: ItemStatus, attempt: Attempt, pod: Carrier) -> None:
    started = pod.started
    wait = pod.waiting()
    if started:
        attempt = msgspec.structs.replace(attempt, node=pod.node, start_time=started)
        reason, message = wait or (None, None)
        news = msgspec.structs.replace(
            status,
            phase=Phase.RUNNING,
            reason=reason,
            message=message,
            attempts=(*status.attempts[:-1], attempt),
        )
        draft.put_when_ripe(news, started + (PATIENCE if node.index is None else ITEM_PATIENCE))
    elif wait is None and status.reason not in (None, "Starting"):
        news = msgspec.structs.replace(status, reason="Starting", message=None)
        draft.put(news)
    elif wait and wait[0] != status.reason:
        created = pod.metadata.creation_timestamp or draft.now
        news = msgspec.structs.replace(status, reason=wait[0], message=wait[1])
        draft.put_when_ripe(news, created + PATIENCE)
