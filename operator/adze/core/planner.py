"""What to do about a run: read this file first.

`begin` freezes a new run to a workflow. `plan` takes a run and what is observed of its Pods, asks the rules in order
(`rules.RULES`), sums up, and returns the next status, what to tell people, and when to look again. `chores` then says
what a status that stands asks for among the Pods. All of it is a function of its arguments: the same in the operator,
in the simulator and in a test.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from adze.core import conditions, duration, manifest, names, verdict
from adze.core import revision as revisions
from adze.core.carrier import Carrier
from adze.core.draft import REASON_LIMIT, WITHDRAWN, Draft, Notice, cut
from adze.core.expressions import ExpressionError
from adze.core.fanout import settled
from adze.core.model import ItemStatus, Phase, Run, RunStatus, StepStatus, Workflow, WorkflowSpec
from adze.core.observed import Observed
from adze.core.policy import Policy
from adze.core.revision import InvalidWorkflow, Revision, Stage
from adze.core.rules import RULES
from adze.core.schema import DEEPEST, Mismatch, nested_deeper

WORKFLOW_PATIENCE = timedelta(seconds=60)
"""How long a run waits for a Workflow that isn't there: one `kubectl apply` may bring both in any order."""
OUTPUT_LIMIT = 64 * 1024
"""Bytes of a run's own output."""
SIDE_PATIENCE = timedelta(seconds=10)
"""How long side containers may outlive a step's own before their Pod is deleted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision about one run.

    `status` is None when nothing is worth writing. `needs_pods` asks for a quorum LIST of the run's Pods and another
    plan. `expired` says that retention has run out. `manifests` are those of attempts claimed in `status`, by Pod name.
    `pages` are ConfigMaps that must be there before `status` is written.
    """

    status: RunStatus | None = None
    notices: tuple[Notice, ...] = ()
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    pages: tuple[dict[str, Any], ...] = ()
    wake: datetime | None = None
    needs_pods: bool = False
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Chores:
    """What a status that stands asks for among the Pods."""

    create: tuple[str, ...] = ()
    open: tuple[Carrier, ...] = ()
    release: tuple[Carrier, ...] = ()
    delete: tuple[Carrier, ...] = ()
    wake: datetime | None = None


def begin(run: Run, workflow: Workflow | None, now: datetime) -> Plan:
    """The first plan of a run: refuse it, let it wait, or freeze it to its workflow with every step Pending.

    `workflow` must come from a quorum GET: what the user applied before the run is what runs.
    """
    spec = run.spec.workflow_spec or (workflow.spec if workflow else None)
    if run.spec.cancel:
        return _refuse(run, now, verdict.CANCELLED, "the run was cancelled before it started", Phase.CANCELLED)
    if spec is None:
        return _without_workflow(run, now)
    try:
        revision = revisions.of_run(revisions.digest(spec), spec)
    except InvalidWorkflow as error:
        return _refuse(run, now, "InvalidWorkflow", str(error))
    if nested_deeper(run.spec.input, DEEPEST):
        return _refuse(run, now, "InvalidInput", f"spec.input is nested more than {DEEPEST} levels deep")
    try:
        if revision.input:
            revision.input.check(run.spec.input or {}, "spec.input")
    except Mismatch as mismatch:
        return _refuse(run, now, "InvalidInput", str(mismatch))
    if run.spec.suspend:
        message = "spec.suspend is true: set it to false to start"
        return Plan(status=_if_new(run, _summary(run, Phase.PENDING, "Suspended", message, now)))
    status = RunStatus(
        start_time=now,
        revision=revision.digest,
        workflow_spec=_plain(spec),
        steps=tuple(StepStatus(name=node.name) for node in revision.stage(Stage.GRAPH)),
    )
    return Plan(status=status)


def _plain(spec: WorkflowSpec) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(spec)
    return plain


def _without_workflow(run: Run, now: datetime) -> Plan:
    deadline = (run.metadata.creation_timestamp or now) + WORKFLOW_PATIENCE
    message = f"there is no Workflow {run.spec.workflow!r} in namespace {run.metadata.namespace!r}"
    if now >= deadline:
        return _refuse(run, now, "WorkflowNotFound", f"{message}: apply it, then create the run again")
    waiting = f"{message}; waiting {duration.show(WORKFLOW_PATIENCE)} for it"
    return Plan(status=_if_new(run, _summary(run, Phase.PENDING, "WorkflowNotFound", waiting, now)), wake=deadline)


def _refuse(run: Run, now: datetime, reason: str, message: str, phase: Phase = Phase.FAILED) -> Plan:
    status = msgspec.structs.replace(_summary(run, phase, reason, message, now), finish_time=now)
    return Plan(status=status, notices=(Notice("Warning", reason, cut(message, 1000) or ""),))


def _if_new(run: Run, status: RunStatus) -> RunStatus | None:
    return status if status != run.status else None


def plan(run: Run, revision: Revision, observed: Observed, now: datetime, policy: Policy) -> Plan:
    """The next status of a run that has begun, and when to look again. PagesNeeded if `observed` lacks some."""
    if run.status.phase.final:
        return _retire(run, revision, now)
    draft = Draft(
        run=run,
        revision=revision,
        observed=observed,
        now=now,
        policy=policy,
        steps={status.name: status for status in run.status.steps},
        input=run_input(run, revision),
    )
    for rule in RULES:
        rule(draft)
    status = _sum_up(draft)
    if draft.needs_pods and not draft.firm:
        # Nothing to record before the LIST that decides what comes next.
        return Plan(needs_pods=True, wake=draft.wake)
    if status == run.status:
        return Plan(wake=draft.wake)
    if not draft.firm and status.observed_generation == run.status.observed_generation and not status.phase.final:
        ripe = draft.ripe or now
        if now < ripe:
            return Plan(wake=min(draft.wake or ripe, ripe))
    return Plan(
        status=status,
        notices=tuple(draft.notices),
        manifests=draft.manifests,
        pages=tuple(manifest.page(run, name, outputs) for name, outputs in draft.pages.items()),
        wake=draft.wake,
        needs_pods=draft.needs_pods,
    )


def run_input(run: Run, revision: Revision) -> dict[str, Any]:
    """The input with the defaults of its schema; `begin` has checked it."""
    given = run.spec.input or {}
    return revision.input.fill(given) if revision.input else dict(given)


def _sum_up(draft: Draft) -> RunStatus:
    """The run's own fields from its steps'; the end, once every stage has ended and nothing can still run."""
    run = draft.run
    steps = tuple(draft.steps[node.name] for node in draft.revision.nodes.values() if node.name in draft.steps)
    phase, reason, message = _verdict(draft)
    output = None
    if phase.final:
        output, problem = _output(draft)
        if problem and phase is Phase.SUCCEEDED:
            phase, (reason, message) = Phase.FAILED, problem
        draft.say(*_farewell(phase, reason, message, draft))
    total = len(steps) + sum(node.name not in draft.steps for node in draft.revision.stage(Stage.FINALLY))
    progress = f"{sum(status.phase.final for status in steps)}/{total}"
    summary = _summary(run, phase, reason, message, draft.now)
    return msgspec.structs.replace(
        summary,
        steps=steps,
        progress=progress,
        output=output,
        finish_time=draft.now if phase.final else None,
    )


def _summary(run: Run, phase: Phase, reason: str | None, message: str | None, now: datetime) -> RunStatus:
    generation = run.metadata.generation
    reason, message = cut(reason, REASON_LIMIT), cut(message)
    wanted = conditions.of_run(phase, reason, message)
    return msgspec.structs.replace(
        run.status,
        phase=phase,
        reason=reason,
        message=message,
        observed_generation=generation,
        conditions=conditions.set_conditions(run.status.conditions, wanted, generation, now),
    )


def _verdict(draft: Draft) -> tuple[Phase, str | None, str | None]:
    """Phase, reason and message of the run; final only once nothing of it can still run."""
    if not (_all_ended(draft) and draft.quiet()):
        return _progressing(draft)
    return verdict.of_steps(draft.steps.values())


def _all_ended(draft: Draft) -> bool:
    finally_listed = all(node.name in draft.steps for node in draft.revision.stage(Stage.FINALLY))
    return finally_listed and all(status.phase.final for status in draft.steps.values()) and _handled(draft)


def _handled(draft: Draft) -> bool:
    """Whether an onFailure step that is wanted has been listed."""
    if draft.run.spec.cancel or not draft.failed():
        return True
    return all(node.name in draft.steps for node in draft.revision.stage(Stage.ON_FAILURE))


def _progressing(draft: Draft) -> tuple[Phase, str | None, str | None]:
    """A run on its way. If a step waits for something that a person could mend, the run says so."""
    if draft.run.spec.cancel:
        return Phase.RUNNING, "Cancelling", "the run was cancelled; its Pods are being deleted"
    if draft.run.spec.suspend:
        return Phase.RUNNING, "Suspended", "spec.suspend is true: nothing new is started"
    for status in draft.steps.values():
        if not status.phase.final and status.reason not in (None, "Starting"):
            return Phase.RUNNING, status.reason, f"{status.name}: {status.message or ''}"
    lists = (f"{fan.node.name}: {fan.status.message}" for fan in draft.fans.values())
    return Phase.RUNNING, None, next(lists, None)


def _output(draft: Draft) -> tuple[dict[str, Any] | None, tuple[str, str] | None]:
    """The run's output, or what is wrong with it as (reason, message)."""
    if draft.revision.output is None:
        output: dict[str, Any] = {}
        # Lists of forEach steps have no names to be merged by: spec.output may choose them.
        for name in draft.revision.order:
            output |= draft.steps[name].output or {}
    else:
        try:
            output = draft.revision.output.render(draft.values())
        except ExpressionError as error:
            return None, ("ExpressionError", f"spec.output: {error}")
    if len(msgspec.json.encode(output)) > OUTPUT_LIMIT:
        limit = f"the run's output is larger than {OUTPUT_LIMIT // 1024} KiB: choose less with spec.output"
        return None, ("OutputTooLarge", limit)
    return output or None, None


def _farewell(phase: Phase, reason: str | None, message: str | None, draft: Draft) -> tuple[str, str, str]:
    took = duration.show(draft.now - (draft.run.status.start_time or draft.now))
    if phase is Phase.SUCCEEDED:
        return "Normal", "Succeeded", f"{len(draft.steps)} steps in {took}"
    return "Warning" if phase is Phase.FAILED else "Normal", phase.value, f"{reason}: {message} (after {took})"


def _retire(run: Run, revision: Revision, now: datetime) -> Plan:
    """A finished run changes no more; retention may delete it."""
    retention = revision.spec.retention
    if not retention or retention.ttl is None or run.status.finish_time is None:
        return Plan()
    end = run.status.finish_time + duration.parse(retention.ttl)
    return Plan(expired=True) if now >= end else Plan(wake=end)


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
    return Chores(tuple(create), tuple(opening), tuple(release), tuple(delete), wake)


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
