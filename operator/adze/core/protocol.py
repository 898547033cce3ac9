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

from adze.core import beginning, fanout, planner, taking, upkeep
from adze.core import revision as revisions
from adze.core.calls import (
    TOO_LARGE,
    Call,
    CreatePage,
    DeletePod,
    DeleteRun,
    Failure,
    FreeSlot,
    ListEvents,
    ListPods,
    Problem,
    ReadRun,
    Release,
    Say,
    WriteStatus,
)
from adze.core.carrier import Carrier
from adze.core.draft import Awaited
from adze.core.hands import Hands, quorum_read, soonest, unsettled
from adze.core.kinds import CARRIERS
from adze.core.model import Metadata, Run, RunSpec, RunStatus
from adze.core.observed import Observed, Refusal
from adze.core.pages import unwritten, with_pages
from adze.core.planner import Plan
from adze.core.policy import Policy
from adze.core.slots import Slot, Want


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
        plan, observed = yield from with_pages(run, observed, asked)
        if plan is None:
            return Pass(refusals=observed.refusals, again=True)
        if plan.expired:
            answer = yield from _on_version(run, DeleteRun(run))
            return Pass(again=unsettled([answer]))
        if plan.status is not None:
            answer = yield from _write(run, plan, plan.status, now)
            if not isinstance(answer, Run):
                if answer and answer.reason == TOO_LARGE and observed.refused < 2:
                    observed = replace(observed, refused=observed.refused + 1)
                    continue
                return Pass(refusals=observed.refusals, again=True)
            run = begun = answer
            observed = replace(observed, fresh=False, refused=0)
        hands = Hands(run, revision, observed, now, policy)
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
            wake = soonest(plan.wake, hands.wake)
            # A run that has more to claim at once doesn't rest.
            rest = fanout.rest(run.status) if wake is None or wake > now else timedelta(0)
            awaits = frozenset(awaited.pattern for awaited in plan.awaits)
            return Pass(wake, observed.refusals, hands.again, plan.wants, rest, awaits)
    return Pass(now, observed.refusals)


def _write(run: Run, plan: Plan, status: RunStatus, now: datetime) -> Generator[Sequence[Call], Sequence[Any], Any]:
    """The run with its next status, or why it isn't written; what the status refers to is there before it."""
    made = (yield [CreatePage(page) for page in plan.pages]) if plan.pages else ()
    if unwritten(made) or not (yield from taking.close(run.metadata.namespace, plan.closings, now)):
        return None
    return (yield from _on_version(run, WriteStatus(run, status)))


def _let_go(run: Run, observed: Observed, now: datetime) -> Steps:
    """A run that ended before it had begun may have slots."""
    idle = upkeep.chores(run, observed, now).free
    answers = (yield [FreeSlot(slot) for slot in idle]) if idle else ()
    return Pass(again=unsettled(answers), wants=())


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
        yield [quorum_read(run)]
    return answer


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
    return Pass(again=unsettled(answers))


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
