"""One pass over a run: observe, plan, write, and only then touch Pods. Never lost, never doubled.

`reconcile` is a generator: it yields batches of calls to the API server and is sent their answers. The operator runs
a batch concurrently over HTTP; the simulator runs it one call at a time, in any order, with crashes in between. The
order of the batches is the safety argument (docs/adr/0003-step-protocol.md):

1. An attempt is claimed in the run's status by compare-and-swap.
2. Its Pod is created under a deterministic name, with our finalizer and our scheduling gate.
3. The run is read by quorum GET after the Pod's UID and resourceVersion were known.
4. The gate is taken off with that resourceVersion, if the run still stands behind the attempt.
5. The outcome is written into the status before the finalizer goes, so the name can't be used again unrecorded.
6. A run ends by withdrawing its claims, then listing and deleting its Pods, then the final write.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from adze.core import beginning, fanout, manifest, planner, taking, upkeep
from adze.core import revision as revisions
from adze.core.calls import (
    Call,
    CreatePage,
    CreatePod,
    DeletePod,
    DeleteRun,
    DropEntry,
    DropPage,
    Failure,
    FreeSlot,
    ListEvents,
    ListPods,
    OpenGate,
    Problem,
    ReadPod,
    ReadRun,
    ReadSlot,
    Release,
    Say,
    StoreEntry,
    WriteStatus,
)
from adze.core.carrier import Carrier
from adze.core.draft import Awaited
from adze.core.expressions import ExpressionError
from adze.core.kinds import CARRIERS, Impossible
from adze.core.model import Metadata, Run, RunSpec
from adze.core.observed import Observed, Refusal
from adze.core.pages import with_pages
from adze.core.planner import Plan
from adze.core.policy import Policy
from adze.core.revision import Revision
from adze.core.slots import Slot, Want, attempt_holder, needed
from adze.core.values import Values


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass leaves behind: when to look again, creates that were refused, slots wanted, events waited for.

    `again` asks for another pass because a call got a conflict or an unknown answer: soon, and later each time in a
    row (`backoff.again`). The watch brings the newer object, normally sooner. `rest` is how long to wait before the
    next pass, whatever asks for it. `wants` and `awaits` are None where nothing was learnt about that.
    """

    wake: datetime | None = None
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    again: bool = False
    wants: tuple[Want, ...] | None = None
    rest: timedelta = timedelta(0)
    awaits: frozenset[str] | None = None


Steps = Generator[Sequence[Call], Sequence[Any], Pass]

REFUSED_AGAIN = (timedelta(seconds=5), timedelta(minutes=1))
"""First and longest pause before a create that a quota refused is tried again."""
MAX_ROUNDS = 4
"""Rounds of plan and write in one pass; a run that needs more gets its turn again after the others."""


def reconcile(run: Run, observed: Observed, now: datetime, policy: Policy) -> Steps:
    """One pass over a run as it was last seen."""
    begun = run
    if run.status.workflow_spec is None:
        if run.status.phase.final:
            return (yield from _let_go(run, observed, now))
        if run.metadata.annotations.gate is not None and not run.spec.cancel:
            return Pass()  # A child run with its gate on waits for the run that has created it.
        plan = yield from beginning.begin(run, now)
        if plan is None:
            return Pass(again=True)
        if plan.status is None or plan.status.workflow_spec is None:
            return (yield from _wait(run, plan, observed, now))
        # The frozen workflow and the first claims go out in one write.
        begun = msgspec.structs.replace(run, status=plan.status)
    revision = revisions.of_run(begun.status.revision or "", begun.status.workflow_spec or {})
    events: frozenset[Awaited] = frozenset()
    for _ in range(MAX_ROUNDS):
        asked = partial(planner.plan, begun, revision, now=now, policy=policy)
        planned, observed = yield from with_pages(run, observed, asked)
        if planned is None:
            return Pass(refusals=observed.refusals, again=True)
        plan = planned
        if plan.expired:
            answer = yield from _on_version(run, DeleteRun(run))
            return Pass(again=_unsettled([answer]))
        if plan.status is not None:
            # What the status refers to must be there before it.
            made = (yield [CreatePage(page) for page in plan.pages]) if plan.pages else ()
            if any(isinstance(answer, Problem) and answer.failure is not Failure.EXISTS for answer in made):
                return Pass(refusals=observed.refusals, again=True)
            if not (yield from taking.close(run.metadata.namespace, plan.closings, now)):
                return Pass(refusals=observed.refusals, again=True)
            answer = yield from _on_version(run, WriteStatus(run, plan.status))
            if isinstance(answer, Problem):
                return Pass(refusals=observed.refusals, again=True)
            run = begun = answer
            observed = replace(observed, fresh=False)
        hands = _Hands(run, revision, observed, now, policy)
        yield from hands.do(plan)
        observed = replace(hands.observed, pods=hands.pods, refusals=hands.refusals)
        if plan.needs_pods:
            (listed,) = yield [ListPods(run, revision.carriers)]
            if isinstance(listed, Problem):
                return Pass(refusals=observed.refusals, again=True)
            observed = replace(observed, pods=listed, fresh=True)
        elif not events.issuperset(plan.awaits):
            events = frozenset(plan.awaits)
            (found,) = yield [ListEvents(run, plan.awaits)]
            if isinstance(found, Problem):
                return Pass(refusals=observed.refusals, again=True)
            observed = replace(observed, events=found)
        elif not hands.replan and not (plan.status and plan.status.phase.final):
            wake = _soonest(plan.wake, hands.wake)
            # A run that has more to claim at once doesn't rest.
            rest = fanout.rest(run.status) if wake is None or wake > now else timedelta(0)
            awaits = frozenset(awaited.pattern for awaited in plan.awaits)
            return Pass(wake, observed.refusals, hands.again, plan.wants, rest, awaits)
    return Pass(now, observed.refusals)


def _let_go(run: Run, observed: Observed, now: datetime) -> Steps:
    """A run that ended before it had begun may have slots."""
    idle = upkeep.chores(run, observed, now).free
    answers = (yield [FreeSlot(slot) for slot in idle]) if idle else ()
    return Pass(again=_unsettled(answers), wants=())


def _wait(run: Run, plan: Plan, observed: Observed, now: datetime) -> Steps:
    """A run that doesn't begin, now or ever."""
    if plan.status is None:
        return Pass(plan.wake, wants=())
    answer = yield from _on_version(run, WriteStatus(run, plan.status))
    if isinstance(answer, Problem):
        return Pass(again=True)
    yield [Say(run, notice) for notice in plan.notices]
    if plan.status.phase.final:
        return (yield from _let_go(answer, observed, now))
    return Pass(plan.wake, wants=())


def _on_version(run: Run, call: WriteStatus | DeleteRun) -> Generator[Sequence[Call], Sequence[Any], Any]:
    """The answer to a call that holds only for the version of `run` that was seen."""
    (answer,) = yield [call]
    if isinstance(answer, Problem) and answer.failure is Failure.CONFLICT:
        # Another wrote, or the run is gone and its name taken: what is there now decides, not the watch.
        yield [_read(run)]
    return answer


def _read(run: Run) -> ReadRun:
    return ReadRun(run.metadata.namespace, run.metadata.name, run.metadata.uid)


def _unsettled(answers: Sequence[Any]) -> bool:
    """Whether a call has to be made again: it may not have been done."""
    return any(isinstance(answer, Problem) and answer.failure is not Failure.NOT_FOUND for answer in answers)


def _soonest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment), default=None)


class _Hands:
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
            self.again |= _unsettled(answers)
            done = [call for call, answer in zip(others, answers, strict=True) if not _unsettled([answer])]
            freed = {call.slot.metadata.uid for call in done if isinstance(call, FreeSlot)}
            slots = (slot for slot in self.observed.slots if slot.metadata.uid not in freed)
            self.observed = replace(self.observed, slots=tuple(slots))
        cached: list[Call] = [*map(StoreEntry, plan.entries), *map(DropEntry, plan.stale)]
        cached += [DropPage(self.run.metadata.namespace, page) for page in plan.spent]
        if cached:
            yield cached
        self.wake = _soonest(self.wake, chores.wake)

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
        self.wake = _soonest(self.wake, self.refusals[pod].retry_at)
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
        run, *read = yield [_read(self.run), *(ReadSlot(slot) for slot in asked.values())]
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


def abandon(namespace: str, name: str | None, uid: str, pods: Sequence[Carrier], slots: Sequence[Slot] = ()) -> Steps:
    """Let go of Pods and slots whose run is gone or going, once a quorum GET has said so.

    Without a `name` no Pod has an owner any more: the run was deleted with `--cascade=orphan`. Such Pods may run on.
    """
    if name is None:
        calls: list[Call] = [DeletePod(pod) for pod in pods if pod.gated and not pod.deleting]
    else:
        (run,) = yield [ReadRun(namespace, name, uid)]
        if isinstance(run, Problem):
            if run.failure is not Failure.NOT_FOUND:
                return Pass(again=True)
        elif run.metadata.uid == uid and run.metadata.deletion_timestamp is None:
            return Pass(again=True)
        calls = [DeletePod(pod) for pod in pods if not pod.deleting and not pod.ended]
    calls += [Release(pod) for pod in pods if pod.held]
    answers = (yield calls) if calls else ()
    if slots and all(pod.ended for pod in pods):
        answers = [*answers, *(yield from _free_all(namespace, uid, slots))]
    return Pass(again=_unsettled(answers))


def _free_all(
    namespace: str, uid: str, slots: Sequence[Slot]
) -> Generator[Sequence[Call], Sequence[Any], Sequence[Any]]:
    """Free the slots of a run that is gone, unless a Pod of it that nobody knew of may still run."""
    gone = Run(metadata=Metadata(name="", namespace=namespace, uid=uid), spec=RunSpec())
    (listed,) = yield [ListPods(gone, CARRIERS)]
    if isinstance(listed, Problem):
        return [listed]
    if not all(pod.ended for pod in listed.values()):
        return [Problem(Failure.LATER, "PodsLeft", "its Pods have not ended")]
    return (yield [FreeSlot(slot) for slot in slots])
