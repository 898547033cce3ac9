"""What to do about a run: read this file first.

`begin` freezes a new run to a workflow. `plan` takes a run and what is observed of its Pods, asks the rules in order
(`rules.RULES`), sums up, and returns the next status, what to tell people, and when to look again. `chores` then says
what a status that stands asks for among the Pods. All of it is a function of its arguments: the same in the operator,
in the simulator and in a test.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from adze.core import cache, conditions, duration, fanout, manifest, origin, rerun, room, slots, verdict
from adze.core import revision as revisions
from adze.core.draft import REASON_LIMIT, Awaited, Draft, Notice, cut
from adze.core.expressions import ExpressionError
from adze.core.model import Entry, Phase, Run, RunStatus, StepStatus, TriggerKind, Workflow, WorkflowSpec, version
from adze.core.observed import Observed
from adze.core.origin import Standing
from adze.core.policy import Policy
from adze.core.revision import InvalidWorkflow, Revision, Stage
from adze.core.rules import RULES
from adze.core.rules.admit import run_want
from adze.core.schema import Mismatch, json_size, unfit
from adze.core.slots import Closing, Want
from adze.core.strategies import LIMIT_REACHED

WORKFLOW_PATIENCE = timedelta(seconds=60)
"""How long a run waits for a Workflow that isn't there: one `kubectl apply` may bring both in any order."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision about one run.

    `status` is None when nothing is worth writing. `needs_pods` asks for a quorum LIST of the run's Pods and another
    plan. `expired` says that retention has run out. `manifests` are those of attempts claimed in `status`, by Pod name.
    `pages` are ConfigMaps that must be there before `status` is written, and keys in `closings` must be closed by then.
    `wants` are the slots that the run needs or uses, `awaits` the events that steps wait for. `entries` go into the
    cache once `status` stands, `stale` ones leave it, and pages that are `spent` are deleted; nobody minds if not.
    """

    status: RunStatus | None = None
    notices: tuple[Notice, ...] = ()
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    pages: tuple[dict[str, Any], ...] = ()
    wake: datetime | None = None
    needs_pods: bool = False
    expired: bool = False
    wants: tuple[Want, ...] = ()
    closings: tuple[Closing, ...] = ()
    entries: tuple[dict[str, Any], ...] = ()
    stale: tuple[Entry, ...] = ()
    spent: tuple[str, ...] = ()
    awaits: tuple[Awaited, ...] = ()


def begin(run: Run, workflow: Workflow | None, now: datetime, source: Run | None = None) -> Plan:
    """The first plan of a run: refuse it, let it wait, or freeze it to its workflow with every step Pending.

    `workflow` must come from a quorum GET: what the user applied before the run is what runs. So must `source`, the run
    that this one repeats, if it repeats one: then that one's workflow counts, and its steps may be kept.
    """
    trigger = run.status.trigger or origin.of(run, source)
    if workflow and trigger.kind is TriggerKind.CRON and run.status.trigger is None:
        standing = origin.standing(run, trigger, workflow)
        if standing is Standing.WAITS:
            return Plan(wake=now + origin.TICK_PATIENCE)
        if standing is Standing.NOT:
            return duplicate(run, f"the tick has another run, or was missed: {origin.describe(trigger)}", now)
    run = origin.triggered(run, trigger)
    if run.spec.cancel:
        return _refuse(run, now, verdict.CANCELLED, "the run was cancelled before it started", Phase.CANCELLED)
    if run.spec.rerun_of and (why := rerun.refusal(run, source)):
        return refuse_rerun(run, why, now)
    return _begin(run, workflow, now, source)


def _begin(run: Run, workflow: Workflow | None, now: datetime, source: Run | None) -> Plan:
    spec: WorkflowSpec | dict[str, Any] | None
    spec = run.spec.workflow_spec or (workflow.definition if workflow else None)
    if source:
        spec = source.status.workflow_spec
    if spec is None:
        return _without_workflow(run, now)
    try:
        revision = revisions.of_run(revisions.digest(spec), spec)
    except InvalidWorkflow as error:
        return _refuse(run, now, "InvalidWorkflow", str(error))
    given = rerun.given(source) if source else run.spec.input
    if problem := unfit(given):
        return _refuse(run, now, "InvalidInput", f"spec.input {problem}")
    try:
        if revision.input:
            revision.input.check(given or {}, "spec.input")
    except Mismatch as mismatch:
        return _refuse(run, now, "InvalidInput", str(mismatch))
    if problem := room.problem(run, given, spec, revision):
        return _refuse(run, now, verdict.FULL, problem)
    if hold := origin.hold(run, workflow, now):
        reason, message, wake = hold
        return waiting(run, reason, message, now, wake)
    status = RunStatus(
        trigger=run.status.trigger,
        key_time=run.status.key_time,
        ticket=version(run) if revision.queued else 0,
        revision=revision.digest,
        workflow_spec=msgspec.to_builtins(spec),
        steps=tuple(StepStatus(name=node.name) for node in revision.stage(Stage.GRAPH)),
    )
    if source and run.spec.rerun_of:
        steps = rerun.steps(source, revision, run.spec.rerun_of.from_)
        status = msgspec.structs.replace(status, input=given, steps=steps)
    return Plan(status=status)


def refuse_rerun(run: Run, message: str, now: datetime) -> Plan:
    """The end of a run that can't repeat the run that it was to repeat."""
    return _refuse(run, now, "RerunRefused", message)


def duplicate(run: Run, message: str, now: datetime, of: str | None = None) -> Plan:
    """The end of a run whose work is another's: that of `of`, if that is known."""
    summary = _summary(run, Phase.CANCELLED, origin.DUPLICATE, message, now)
    status = msgspec.structs.replace(summary, duplicate_of=of, finish_time=now)
    return Plan(status=status, notices=(Notice("Normal", origin.DUPLICATE, cut(message, 1000) or ""),))


def _without_workflow(run: Run, now: datetime) -> Plan:
    since = run.metadata.creation_timestamp or now
    deadline = max(since, run.spec.run_at or since) + WORKFLOW_PATIENCE
    message = f"there is no Workflow {run.spec.workflow!r} in namespace {run.metadata.namespace!r}"
    if now >= deadline:
        return _refuse(run, now, "WorkflowNotFound", f"{message}: apply it, then create the run again")
    message = f"{message}; waiting {duration.show(WORKFLOW_PATIENCE)} for it"
    return waiting(run, "WorkflowNotFound", message, now, deadline)


def waiting(run: Run, reason: str, message: str, now: datetime, wake: datetime | None) -> Plan:
    """A run that can't begin yet; written only if that is news."""
    status = _summary(run, Phase.PENDING, reason, message, now)
    return Plan(status=_if_new(run, status), wake=wake)


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
        start_time=run.status.start_time,
    )
    if draft.start_time is None and (waiting := _admit(draft)):
        return waiting
    for rule in RULES:
        rule(draft)
    status, awaits = _sum_up(draft), tuple(dict.fromkeys(draft.awaits))
    if draft.needs_pods and not draft.firm:
        # Nothing to record before the LIST that decides what comes next.
        return Plan(needs_pods=True, wake=draft.wake, awaits=awaits)
    if status != run.status:
        status = room.fitted(run, status, observed.refused)
    wants = tuple(draft.wants)
    if status == run.status:
        return Plan(wake=draft.wake, wants=wants, awaits=awaits)
    if not draft.firm and status.observed_generation == run.status.observed_generation and not status.phase.final:
        ripe = draft.ripe or now
        if now < ripe:
            return Plan(wake=min(draft.wake or ripe, ripe), wants=wants, awaits=awaits)
    return Plan(
        status=status,
        notices=tuple(draft.notices),
        manifests=draft.manifests,
        pages=tuple(_pages(draft)),
        wake=draft.wake,
        needs_pods=draft.needs_pods,
        wants=wants,
        closings=tuple(draft.closings),
        entries=tuple(_entries(draft, status)),
        stale=tuple(draft.stale),
        spent=tuple(draft.spent),
        awaits=awaits,
    )


def _pages(draft: Draft) -> Iterator[dict[str, Any]]:
    for name, outputs in draft.pages.items():
        yield manifest.page(draft.run, name, msgspec.json.encode(outputs).decode())


def _entries(draft: Draft, status: RunStatus) -> Iterator[dict[str, Any]]:
    """What goes into the cache: of the steps that have succeeded by their own work since the run was written."""
    ended = {step.name for step in draft.run.status.steps if step.phase.final}
    values = draft.values()
    for step in status.steps:
        kept = draft.revision.nodes[step.name].cache
        if kept and step.phase is Phase.SUCCEEDED and step.attempts and step.name not in ended:
            entry = cache.manifest(draft.run, step.name, kept, values.output(step.name), values)
            yield from [entry] if entry else ()


def _admit(draft: Draft) -> Plan | None:
    """None if the run starts now; else the plan of one that waits, or that will never start."""
    run, now = draft.run, draft.now
    if dismissal := draft.observed.dismissal:
        return _never(draft, dismissal.reason, dismissal.message, by=dismissal.by)
    if draft.ending:
        return _never(draft, draft.ending[0], f"{draft.ending[1]} before it started")
    if draft.observed.refused:
        return _never(draft, verdict.FULL, room.MESSAGE)
    limit = draft.revision.queue_timeout
    end = (run.metadata.creation_timestamp or now) + limit if limit else None
    if end and now >= end:
        return _never(
            draft, "QueueTimeout", f"waited longer than {draft.revision.spec.queue_timeout}: {run.status.message}"
        )
    if run.spec.suspend:
        waiting = _summary(run, Phase.PENDING, "Suspended", "spec.suspend is true: set it to false to start", now)
        return Plan(status=_if_new(run, waiting), wake=end)
    if draft.revision.queues and slots.RUN not in draft.observed.granted:
        try:
            want = run_want(draft)
        except slots.InvalidKey as error:
            return _never(draft, "InvalidConcurrency", str(error))
        if (wait := draft.observed.waits.get(slots.RUN)) is None:
            return Plan(wants=(want,), wake=end)
        waiting = _summary(run, Phase.QUEUED, "ConcurrencyLimit", wait.message, now)
        return Plan(status=_if_new(run, waiting), wants=(want,), wake=min(end or wait.again, wait.again))
    draft.start_time, draft.firm = now, True
    return None


def _never(draft: Draft, reason: str, message: str, by: str | None = None) -> Plan:
    """The end of a run that has not started."""
    phase = Phase.CANCELLED if reason in (*verdict.EARLY, LIMIT_REACHED) else Phase.FAILED
    refusal = _refuse(draft.run, draft.now, reason, message, phase)
    assert refusal.status is not None
    if draft.observed.refused > 1:
        bare = msgspec.structs.replace(refusal.status, steps=(), workflow_spec=None, input=None)
        return replace(refusal, status=bare)
    # A rerun has steps that have ended, and items.
    steps = tuple(
        status if status.phase.final else fanout.never(status, reason, message) for status in draft.steps.values()
    )
    return replace(refusal, status=msgspec.structs.replace(refusal.status, steps=steps, superseded_by=by))


def run_input(run: Run, revision: Revision) -> dict[str, Any]:
    """The input with the defaults of its schema; `begin` has checked it."""
    given = (run.status.input if run.spec.rerun_of else run.spec.input) or {}
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
        start_time=draft.start_time,
        superseded_by=run.status.superseded_by or (draft.observed.dismissal and draft.observed.dismissal.by),
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
    if draft.ending or not draft.failed():
        return True
    return all(node.name in draft.steps for node in draft.revision.stage(Stage.ON_FAILURE))


def _progressing(draft: Draft) -> tuple[Phase, str | None, str | None]:
    """A run on its way. If a step waits for something that a person could mend, the run says so."""
    if draft.full:
        return Phase.RUNNING, verdict.FULL, f"{room.MESSAGE}; it is being ended"
    if draft.ending:
        return Phase.RUNNING, "Cancelling", f"{draft.ending[1]}; its Pods are being deleted"
    if draft.run.spec.suspend:
        return Phase.RUNNING, "Suspended", "spec.suspend is true: nothing new is started"
    for status in draft.steps.values():
        if not status.phase.final and status.reason not in (None, "Starting"):
            return Phase.RUNNING, status.reason, f"{status.name}: {status.message or ''}"
    lists = (f"{fan.node.name}: {fan.status.message}" for fan in draft.fans.values())
    return Phase.RUNNING, None, next(lists, None)


def _output(draft: Draft) -> tuple[dict[str, Any] | None, tuple[str, str] | None]:
    """The run's output, or what is wrong with it as (reason, message)."""
    if draft.observed.refused:
        return None, (verdict.FULL, room.MESSAGE)
    if draft.revision.output is None:
        output: dict[str, Any] = {}
        # Lists of forEach steps have no names to be merged by, and large outputs no room: spec.output may choose them.
        for name in draft.revision.order:
            output |= draft.steps[name].output or {}
    else:
        try:
            output = draft.revision.output.render(draft.values())
        except ExpressionError as error:
            return None, ("ExpressionError", f"spec.output: {error}")
    if json_size(output) > room.OUTPUT_ROOM:
        limit = f"the run's output is larger than {room.OUTPUT_ROOM // 1024} KiB: choose less with spec.output"
        return None, ("OutputTooLarge", limit)
    return output or None, None


def _farewell(phase: Phase, reason: str | None, message: str | None, draft: Draft) -> tuple[str, str, str]:
    took = duration.show(draft.now - (draft.start_time or draft.now))
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
