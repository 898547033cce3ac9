"""What a status that stands asks for among Pods and slots: create, open the gates, and what nobody waits for."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from adze.core import fanout, manifest, planner, upkeep
from adze.core.calls import (
    Call,
    CreatePod,
    DeletePod,
    DropEntry,
    DropPage,
    Failure,
    FreeSlot,
    OpenGate,
    Problem,
    ReadPod,
    ReadRun,
    ReadSlot,
    Release,
    Say,
    StoreEntry,
)
from adze.core.carrier import Carrier
from adze.core.expressions import ExpressionError
from adze.core.kinds import Impossible
from adze.core.model import Run
from adze.core.observed import Observed, Refusal
from adze.core.pages import with_pages
from adze.core.planner import Plan
from adze.core.policy import Policy
from adze.core.revision import Revision
from adze.core.slots import Slot, Want, attempt_holder, needed
from adze.core.values import Values

REFUSED_AGAIN = (timedelta(seconds=5), timedelta(minutes=1))
"""First and longest pause before a create that a quota refused is tried again."""


def quorum_read(run: Run, known: Run | None = None) -> ReadRun:
    """The quorum GET of a run."""
    return ReadRun(run.metadata.namespace, run.metadata.name, run.metadata.uid, known)


def unsettled(answers: Sequence[Any]) -> bool:
    """Whether a call has to be made again: it may not have been done."""
    return any(isinstance(answer, Problem) and answer.failure is not Failure.NOT_FOUND for answer in answers)


def soonest(*moments: datetime | None) -> datetime | None:
    """The first of those moments that there are."""
    return min((moment for moment in moments if moment), default=None)


class Hands:
    """Does among the Pods what a status that stands asks for."""

    def __init__(self, run: Run, revision: Revision, observed: Observed, now: datetime, policy: Policy) -> None:
        self.run = run
        self.revision = revision
        self.observed = observed
        self.now = now
        self.policy = policy
        self.pods = dict(observed.pods)
        owner = run.metadata.uid
        wanted = {attempt.carrier for part in run.status.parts() if (attempt := part.open_attempt)}
        # What is refused counts only for a Pod that is wanted and isn't there.
        self.refusals = {
            pod: refusal for pod, refusal in observed.refusals.items() if pod in wanted and not observed.pod(pod, owner)
        }
        self.wake: datetime | None = None
        self.again = False
        self.replan = False

    def do(self, plan: Plan) -> Generator[Sequence[Call], Sequence[Any], None]:
        """Create, then open the gates that the run still stands behind; what nobody waits for comes last."""
        chores = upkeep.chores(self.run, self.observed, self.now)
        opening = list(chores.open)
        manifests = yield from self._manifests(chores.create, plan)
        if manifests:
            answers = yield [CreatePod(self.run, manifest) for manifest in manifests.values()]
            opening += yield from self._created({pod: one["kind"] for pod, one in manifests.items()}, answers)
        if opening:
            yield from self._open(opening, plan.wants)
        others: list[Call] = [DeletePod(pod) for pod in chores.delete]
        others += [Release(pod) for pod in chores.release]
        others += [FreeSlot(slot) for slot in chores.free]
        others += [Say(self.run, notice) for notice in plan.notices]
        if others:
            answers = yield others
            self.pods |= {answer.name: answer for answer in answers if isinstance(answer, Carrier)}
            self.again |= unsettled(answers)
            done = [call for call, answer in zip(others, answers, strict=True) if not unsettled([answer])]
            freed = {call.slot.metadata.uid for call in done if isinstance(call, FreeSlot)}
            slots = (slot for slot in self.observed.slots if slot.metadata.uid not in freed)
            self.observed = replace(self.observed, slots=tuple(slots))
        cached: list[Call] = [*map(StoreEntry, plan.entries), *map(DropEntry, plan.stale)]
        cached += [DropPage(self.run.metadata.namespace, page) for page in plan.spent]
        if cached:
            yield cached
        self.wake = soonest(self.wake, chores.wake)

    def _manifests(
        self, pods: Sequence[str], plan: Plan
    ) -> Generator[Sequence[Call], Sequence[Any], dict[str, dict[str, Any]]]:
        """The manifests by Pod, without those that can't be made before something has been read.

        One that can't be made any more, as the installation's rules have changed, is refused.
        """
        made = {}
        for pod in pods:
            known = plan.manifests.get(pod)
            try:
                if known is None:
                    known, self.observed = yield from with_pages(self.run, self.observed, partial(self._manifest, pod))
            except Impossible as error:
                self._refused(pod, Problem(Failure.REFUSED, error.reason, str(error)))
                continue
            except ExpressionError as error:
                # Somebody has deleted what it read when it was claimed.
                self._refused(pod, Problem(Failure.REFUSED, "PodRejected", f"it can't be made again: {error}"))
                continue
            if known is None:
                self.again = True
            else:
                made[pod] = known
        return made

    def _manifest(self, pod: str, observed: Observed) -> dict[str, Any]:
        """The manifest of an attempt that an earlier pass, or another process, has claimed."""
        for part in self.run.status.parts():
            for attempt in part.attempts:
                if attempt.carrier == pod:
                    node = self.revision.node(part.name)
                    steps = {step.name: step for step in self.run.status.steps}
                    given = planner.run_input(self.run, self.revision)
                    values = Values(self.run, given, steps, self.revision.lists, observed.pages)
                    values = fanout.with_item(values, self.revision, node)
                    return manifest.build(self.run, node, attempt, values, self.policy)
        raise LookupError(pod)

    def _created(
        self, kinds: Mapping[str, str], answers: Sequence[Any]
    ) -> Generator[Sequence[Call], Sequence[Any], list[Carrier]]:
        """The Pods that stand for the claimed attempts: created now, or found under their name and ours."""
        pods: list[Carrier] = []
        existing: list[str] = []
        for name, answer in zip(kinds, answers, strict=True):
            if not isinstance(answer, Problem):
                self.refusals.pop(name, None)
                self.pods[name] = answer
                pods.append(answer)
            elif answer.failure is Failure.EXISTS:
                existing.append(name)
            else:
                self._refused(name, answer)
        if existing:
            answers = yield [ReadPod(self.run.metadata.namespace, name, kinds[name]) for name in existing]
            for name, answer in zip(existing, answers, strict=True):
                if isinstance(answer, Problem):
                    self.again = True
                elif answer.owned_by(self.run.metadata.uid):
                    self.pods[name] = answer
                    pods += [answer] if answer.gated and not answer.deleting else []
                    if answer.deleting:
                        self.again = True
                else:
                    self._refused(
                        name, Problem(Failure.REFUSED, "NameCollision", f"{kinds[name]} {name} belongs to another")
                    )
        return pods

    def _refused(self, pod: str, problem: Problem) -> None:
        """Remember a refusal, so that the next plan shows it, and so that it isn't asked for again at once."""
        if problem.failure in (Failure.UNKNOWN, Failure.CONFLICT):
            self.again = True
            return
        before = self.refusals.get(pod)
        first, longest = REFUSED_AGAIN
        pause = min(before.pause * 2, longest) if before else first
        self.refusals[pod] = Refusal(
            reason=problem.reason,
            message=problem.message,
            lasting=problem.failure is Failure.REFUSED,
            since=before.since if before else self.now,
            pause=pause,
            retry_at=self.now + pause,
        )
        self.wake = soonest(self.wake, self.refusals[pod].retry_at)
        self.replan |= before is None or before.reason != problem.reason

    def _open(self, pods: Sequence[Carrier], wants: Sequence[Want]) -> Generator[Sequence[Call], Sequence[Any], None]:
        """One read for all Pods of a wave, and one for each slot that they need, made after each Pod was seen."""
        holders = {
            attempt.carrier: attempt_holder(part.name, attempt.number)
            for part in self.run.status.parts()
            for attempt in part.attempts
        }
        slots = {pod.name: needed(wants, self.observed.slots, holders[pod.name]) for pod in pods}
        pods = [pod for pod in pods if slots[pod.name] is not None]
        if not pods:
            return  # Their slots are being taken again: then there is another look.
        asked = {slot.metadata.name: slot for pod in pods for slot in slots[pod.name] or ()}
        run, *read = yield [quorum_read(self.run, self.run), *(ReadSlot(slot) for slot in asked.values())]
        held = {slot.metadata.name for slot in read if isinstance(slot, Slot) and _stands(asked, slot)}
        if isinstance(run, Problem):
            self.again = True
            return
        if run.metadata.uid != self.run.metadata.uid:
            return
        allowed = [
            pod
            for pod in pods
            if upkeep.may_start(run, pod) and all(slot.metadata.name in held for slot in slots[pod.name] or ())
        ]
        if asked and len(allowed) < len(pods):
            self.again = True
        if allowed:
            answers = yield [OpenGate(pod) for pod in allowed]
            self.pods |= {answer.name: answer for answer in answers if not isinstance(answer, Problem)}
            # An opened Job that its queue holds back sends no further news of itself.
            self.again |= any(isinstance(answer, Problem) or bool(answer.waiting()) for answer in answers)


def _stands(asked: Mapping[str, Slot], read: Slot) -> bool:
    """Whether the Lease still is the slot that was asked for, and nobody is about to give it back."""
    return read.metadata.uid == asked[read.metadata.name].metadata.uid and not read.marked
