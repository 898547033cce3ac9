"""S11: at every revision at most as many hold a key as its limit says. A key's own text tells its limit: `api-2`.

Who holds is counted twice: by Leases, and by what the Leases are for, runs that have started and Pods that may run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from adze.core import revision as revisions
from adze.core.model import Run
from adze.core.names import STEP
from adze.core.pods import Pod
from adze.core.revision import Revision
from adze.core.slots import Slot
from tests.sim.check import may_run
from tests.sim.slots import limit

from .history import Breach, Entry, History

SHOWN = 8


class Crowd:
    """Who holds which key."""

    def __init__(self) -> None:
        self.leases: dict[str, dict[str, Entry]] = defaultdict(dict)
        self.users: dict[str, dict[str, Entry]] = defaultdict(dict)
        self._revisions: dict[str, Revision] = {}
        self._live: dict[str, set[str]] = defaultdict(set)
        self._over: set[str] = set()

    def hear(self, entry: Entry) -> Iterator[str]:
        """The keys that may have one more holder now."""
        match entry.item:
            case Slot() as slot:
                yield from self._count(self.leases, [slot.key], slot.metadata.name, None if entry.removed else entry)
            case Run() as run:
                yield from self._run(entry, run)
            case Pod() as pod:
                yield from self._pod(entry, pod)

    def _run(self, entry: Entry, run: Run) -> Iterator[str]:
        uid = run.metadata.uid
        if run.status.workflow_spec is not None and uid not in self._revisions:
            self._revisions[uid] = revisions.of_run(run.status.revision or "", run.status.workflow_spec)
        if run.status.start_time is None:
            return
        over = run.status.phase.final or entry.removed
        self._over |= {uid} if over else set()
        # A run that is deleted holds what it holds until its Pods have ended.
        yield from self._count(self.users, self._keys(uid), uid, None if over and not self._live[uid] else entry)

    def _pod(self, entry: Entry, pod: Pod) -> Iterator[str]:
        uid, step = entry.run_uid, pod.metadata.labels[STEP]
        if uid not in self._revisions:
            return
        on = not entry.removed and may_run(pod)
        (self._live[uid].add if on else self._live[uid].discard)(pod.metadata.uid)
        yield from self._count(self.users, self._keys(uid, step), pod.metadata.uid, entry if on else None)
        if uid in self._over and not self._live[uid]:
            yield from self._count(self.users, self._keys(uid), uid, None)

    def _keys(self, uid: str, step: str | None = None) -> list[str]:
        revision = self._revisions[uid]
        entries = revision.spec.concurrency
        if step is not None:
            entries = revision.nodes[step].step.concurrency
        return [entry.key for entry in entries if entry.key]

    @staticmethod
    def _count(
        holders: dict[str, dict[str, Entry]], keys: Iterable[str], who: str, entry: Entry | None
    ) -> Iterator[str]:
        for key in keys:
            if entry is None:
                holders[key].pop(who, None)
            else:
                holders[key][who] = entry
                yield key


def crowded(history: History) -> Iterator[Breach]:
    """The first moment at which each key has too many holders."""
    crowd, told = Crowd(), set[str]()
    for entry in history.entries:
        for key in crowd.hear(entry):
            for what, holders in (("Leases", crowd.leases[key]), ("holders", crowd.users[key])):
                if len(holders) > limit(key) and key not in told:
                    told.add(key)
                    evidence = sorted(holders.values(), key=lambda held: held.version)[-SHOWN:]
                    yield Breach("S11", f"{len(holders)} {what} of key {key!r}", tuple(evidence))
