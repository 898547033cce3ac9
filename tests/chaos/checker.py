"""The verdict over a recorded history: Held, Broken with the revisions that contradict, or Inconclusive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from adze.core.model import Run
from adze.core.names import STEP
from adze.core.pods import Pod
from adze.core.slots import Slot
from tests.cluster.audit import Event
from tests.sim.violation import Violation

from . import events, keys, ticks
from .history import Breach, Entry, History
from .ledger import first_violation

OPERATOR = "adze-operator"
LEASES = "leases.coordination.k8s.io"
SHOWN = 10
"""Entries that an explanation shows at most."""
WRITES = {
    ("patch", "workflowruns.adze.dev/status"),
    ("create", "workflowruns.adze.dev"),
    ("delete", "workflowruns.adze.dev"),
    ("patch", "workflowevents.adze.dev/status"),
    ("delete", "workflowevents.adze.dev"),
    ("patch", "workflowwebhooks.adze.dev/status"),
    ("patch", "workflows.adze.dev/status"),
    ("create", "pods"),
    ("patch", "pods"),
    ("delete", "pods"),
    ("create", "configmaps"),
    ("create", "events"),
    ("create", LEASES),
    ("update", LEASES),
    ("patch", LEASES),
    ("delete", LEASES),
}
"""All that the operator may write (S21)."""


class Word(Enum):
    """What a history shows."""

    HELD = "Held"
    BROKEN = "Broken"
    INCONCLUSIVE = "Inconclusive"


@dataclass(slots=True)
class Verdict:
    """The word, and why."""

    word: Word
    breaches: list[Breach] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [self.word.value, *map(str, self.breaches), *(f"gap: {gap}" for gap in self.gaps)]
        return "\n  ".join(lines)


def check(
    history: History,
    *,
    stripped: bool = False,
    ended: bool = True,
    audit: Sequence[Event] = (),
    may_wait: Callable[[Run], bool] = lambda run: False,
) -> Verdict:
    """Check S1–S12, S14, S16, S17, S19, S20 and S24, and S21 as far as `audit` has the operator's writes.

    With `ended` also L1, L2 and L5.

    `ended` says that the faults were over and there was time enough. `may_wait` names runs that needn't end.
    """
    breaches: list[Breach] = []
    history = _without_strangers(history)
    for uid, entries in history.by_run().items():
        if found := first_violation(entries, stripped=stripped):
            breaches.append(_explained(*found, entries))
        elif not any(isinstance(entry.item, Run) for entry in entries):
            breaches.append(Breach("S4", f"Pods bear the UID {uid} of no recorded run", tuple(entries[:1])))
    breaches += keys.crowded(history)
    breaches += events.unanswered(history, ended=ended)
    breaches += ticks.miscounted(history, ended=ended)
    if ended:
        breaches += _unfinished(history, may_wait)
    breaches += _strange_writes(audit)
    gaps = history.gaps + _unrecorded(history, audit)
    if breaches and not gaps:
        return Verdict(Word.BROKEN, breaches)
    # What contradicts may be what is missing: with a gap nothing is proven, either way.
    return Verdict(Word.INCONCLUSIVE if gaps else Word.HELD, breaches, gaps)


def _without_strangers(history: History) -> History:
    """Without Pods that bear our labels but were never a run's: anybody can write labels."""
    ours = {
        entry.item.metadata.uid
        for entry in history.entries
        if not isinstance(entry.item, Pod) or entry.item.owned_by(entry.run_uid)
    }
    return History([entry for entry in history.entries if entry.item.metadata.uid in ours], history.gaps)


def _explained(violation: Violation, last: Entry, entries: Iterable[Entry]) -> Breach:
    """The last few entries up to the one that breaks, of the steps and Pods that the message names."""
    message = str(violation).partition(": ")[2]
    before: list[Entry] = []
    for entry in entries:
        if _about(entry, message) and (not before or _facts(before[-1]) != _facts(entry)):
            before.append(entry)
        if entry is last:
            break
    if last not in before:
        before.append(last)
    return Breach(violation.code, message, tuple(before[-SHOWN:]))


def _about(entry: Entry, message: str) -> bool:
    if not isinstance(entry.item, Pod):
        return True
    pod = entry.item
    words = message.replace("'", " ").replace(":", " ").replace("[", " ").replace("]", " ").split()
    return pod.name in message or pod.metadata.uid in message or pod.metadata.labels.get(STEP) in words


def _facts(entry: Entry) -> str:
    return str(entry).split(" ", 2)[-1]


def _unfinished(history: History, may_wait: Callable[[Run], bool]) -> list[Breach]:
    """L1: every run has ended. L2: no slot is left. L5: no Pod is left that runs, waits or is held."""
    newest = {entry.item.metadata.uid: entry for entry in history.entries}
    runs = history.runs()
    breaches: list[Breach] = []

    def breach(code: str, message: str, item: Run | Pod | Slot) -> None:
        breaches.append(Breach(code, message, (newest[item.metadata.uid],)))

    for run in runs.values():
        if not run.status.phase.final and not may_wait(run):
            breach("L1", f"run {run.metadata.name} has not ended", run)
    for slot in history.slots().values():
        holder = runs.get(slot.run_uid)
        if holder is None or holder.status.phase.final:
            breach("L2", f"slot {slot.metadata.name} is left", slot)
    for pod in history.pods().values():
        owner = runs.get(pod.metadata.labels.get("adze.dev/run-uid", ""))
        if owner is not None and not owner.status.phase.final:
            continue  # L1 tells of it
        if problem := left_over(pod):
            breach("L5", f"Pod {pod.name} {problem}", pod)
    return breaches


def left_over(pod: Pod) -> str | None:
    """Why a Pod must not be there once its run has ended, or None."""
    if pod.gated:
        return "is left behind its gate"
    if pod.held:
        return "still has our finalizer"
    return None if pod.ended else "can still run"


def _strange_writes(audit: Iterable[Event]) -> list[Breach]:
    strange = {
        (event.verb, event.resource)
        for event in audit
        if event.client == OPERATOR and (event.verb, event.resource) not in WRITES
    }
    return [Breach("S21", f"the operator did {verb} {what}") for verb, what in sorted(strange)]


def _unrecorded(history: History, audit: Iterable[Event]) -> list[str]:
    """Pods that the API server noted as created but that were not recorded: then others may be missing too."""
    known = {entry.item.name for entry in history.entries if isinstance(entry.item, Pod)}
    made = {event.name for event in audit if event.client == OPERATOR and _creates(event)}
    return [f"the API server noted the creation of Pod {name}, which was not recorded" for name in sorted(made - known)]


def _creates(event: Event) -> bool:
    return (event.verb, event.resource) == ("create", "pods") and event.status == 201 and bool(event.name)
