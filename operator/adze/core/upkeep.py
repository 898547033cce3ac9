"""What a status that stands asks for among the Pods: the other half of a decision, after `planner`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from adze.core import names
from adze.core.carrier import Carrier
from adze.core.draft import WITHDRAWN
from adze.core.fanout import settled
from adze.core.model import ItemStatus, Run, StepStatus
from adze.core.observed import Observed
from adze.core.rules.admit import idle_slots
from adze.core.slots import Slot

SIDE_PATIENCE = timedelta(seconds=10)
"""How long side containers may outlive a step's own before their Pod is deleted."""


@dataclass(frozen=True, slots=True)
class Chores:
    """What a status that stands asks for among the Pods."""

    create: tuple[str, ...] = ()
    open: tuple[Carrier, ...] = ()
    release: tuple[Carrier, ...] = ()
    delete: tuple[Carrier, ...] = ()
    free: tuple[Slot, ...] = ()
    wake: datetime | None = None


def chores(run: Run, observed: Observed, now: datetime) -> Chores:
    """What the run's status, once it stands in the API server, asks for among its Pods.

    An open attempt wants its Pod created and its gate opened; a closed one wants its Pod released, and deleted if it
    may still run: at once if its claim was withdrawn, after a while if only side containers are left.
    A create is held back by a refusal until its time, and for good once the Pod was there and vanished.
    """
    create: list[str] = []
    opening: list[Carrier] = []
    release: list[Carrier] = []
    delete: list[Carrier] = []
    wake: datetime | None = None
    parts = {part.name: part for part in run.status.parts()}
    for forgotten in (pod for pod in observed.owned(run.metadata.uid) if _forgotten(parts, pod)):
        release += [forgotten] if forgotten.held else []
        outcome = forgotten.outcome()
        end = _end_of_patience(forgotten, (outcome.finish or now) + SIDE_PATIENCE if outcome else now)
        if end and now >= end:
            delete.append(forgotten)
        elif end:
            wake = min(wake or end, end)
    for part in parts.values():
        for attempt in part.attempts:
            if not attempt.carrier:
                continue
            # If somebody else's Pod bears the name that we need, the create will say so.
            pod = observed.pod(attempt.carrier, run.metadata.uid)
            if attempt.finish_time is None:
                if pod is None and not attempt.start_time and attempt.carrier not in observed.vanished:
                    refusal = observed.refusals.get(attempt.carrier)
                    if refusal is None or now >= refusal.retry_at:
                        create.append(attempt.carrier)
                    elif not refusal.lasting:
                        wake = min(wake or refusal.retry_at, refusal.retry_at)
                elif pod and pod.gated and not pod.deleting:
                    opening.append(pod)
            elif pod:
                release += [pod] if pod.held else []
                patience = timedelta(0) if attempt.reason in WITHDRAWN else SIDE_PATIENCE
                end = _end_of_patience(pod, attempt.finish_time + patience)
                if end and now >= end:
                    delete.append(pod)
                elif end:
                    wake = min(wake or end, end)
    return Chores(tuple(create), tuple(opening), tuple(release), tuple(delete), idle_slots(run, observed), wake)


def _end_of_patience(pod: Carrier, end: datetime) -> datetime | None:
    """When the Pod of a closed attempt is to be deleted; None if it has ended or is ending."""
    return None if pod.ended or pod.deleting else end


def _forgotten(parts: Mapping[str, ItemStatus], pod: Carrier) -> bool:
    """Whether the Pod is of an attempt that the status shows no more. Its outcome was recorded long ago."""
    labels = pod.metadata.labels
    step, number, item = labels.get(names.STEP, ""), labels.get(names.ATTEMPT, ""), labels.get(names.ITEM)
    part = parts.get(step if item is None else f"{step}[{item}]")
    if part is None and item is not None and item.isdigit():
        whole = parts.get(step)
        return isinstance(whole, StepStatus) and whole.items is not None and settled(whole.items, int(item))
    return bool(part and part.attempts and number.isdigit() and int(number) < part.attempts[0].number)


def may_start(run: Run, pod: Carrier) -> bool:
    """Whether the run, read after `pod` was seen, stands behind it: the attempt is claimed, open, and the run alive."""
    if run.status.phase.final or run.metadata.deletion_timestamp or not pod.owned_by(run.metadata.uid):
        return False
    return any(
        attempt.carrier == pod.name and attempt.finish_time is None
        for part in run.status.parts()
        for attempt in part.attempts
    )
