"""A small simulator for schedules: replicas that look at ticks and begin runs, over an API server in memory.

One seed, one episode: some hundred steps of trouble, then peace. It drives `adze.core.ticks` call by call, with answers
that get lost, calls that arrive late, views that lag, and runs that are deleted as soon as they are there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec

from adze.core import calls, names, planner, schedule, ticks
from adze.core.calls import Failure, Problem
from adze.core.cron import Sight
from adze.core.model import CronTrigger, Metadata, Missed, Phase, Run, Step, Triggers, Workflow, WorkflowSpec

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
CONFLICT = Problem(Failure.CONFLICT, "Conflict", "the object has been modified")
EXISTS = Problem(Failure.EXISTS, "AlreadyExists", "already exists")
NOT_FOUND = Problem(Failure.NOT_FOUND, "NotFound", "not found")
UNKNOWN = Problem(Failure.UNKNOWN, "", "time-out")
QUOTA = Problem(Failure.LATER, "QuotaExceeded", "exceeded quota")
TEXT = "*/15 * * * * *"
replace = msgspec.structs.replace


class Violation(AssertionError):
    """A tick with two runs, or with none."""


@dataclass
class World:
    """One Workflow with one schedule, and its runs."""

    missed: Missed
    now: datetime = EPOCH
    revision: int = 1
    workflows: list[Workflow] = field(default_factory=list)
    runs: dict[str, Run] = field(default_factory=dict)
    history: list[dict[str, Run]] = field(default_factory=lambda: [{}])
    began: dict[str, list[str]] = field(default_factory=dict)
    recorded: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    quota: bool = False
    checks_version: bool = True
    skipped: int = 0

    def __post_init__(self) -> None:
        trigger = CronTrigger(schedule=TEXT, missed=self.missed)
        spec = WorkflowSpec(steps=(Step(name="a", image="sim"),), on=Triggers(cron=(trigger,)))
        metadata = Metadata(name="w", namespace="sim", uid="w", resource_version="1", generation=1)
        self.workflows.append(Workflow(metadata=metadata, spec=spec))

    @property
    def workflow(self) -> Workflow:
        """The Workflow now."""
        return self.workflows[-1]

    def _version(self) -> str:
        self.revision += 1
        return str(self.revision)

    def _put(self, name: str, run: Run | None) -> None:
        self.runs = {key: value for key, value in self.runs.items() if key != name} | ({name: run} if run else {})
        self.history.append(self.runs)

    def suspend(self, on: bool) -> None:
        """A user suspends or resumes the Workflow."""
        old = self.workflow
        metadata = replace(old.metadata, resource_version=self._version(), generation=old.metadata.generation + 1)
        self.workflows.append(replace(old, metadata=metadata, spec=replace(old.spec, suspend=on)))

    def delete(self, name: str) -> None:
        """A user or retention deletes a run."""
        self.deleted.add(self.runs[name].metadata.uid)
        self._put(name, None)

    def do(self, call: calls.Call) -> Any:
        """The API server's answer."""
        if isinstance(call, calls.CreateRun):
            return self._create(msgspec.convert(call.manifest, Run))
        if isinstance(call, calls.ReadRun):
            return self.runs.get(call.name, NOT_FOUND)
        if isinstance(call, calls.ReadWorkflow):
            return self.workflow
        if isinstance(call, calls.WriteWorkflow):
            return self._write(call)
        return None

    def _create(self, run: Run) -> Run | Problem:
        name = run.metadata.name
        if name in self.runs:
            return EXISTS
        if self.quota:
            return QUOTA
        version = self._version()
        metadata = replace(run.metadata, uid=f"run-{version}", resource_version=version, creation_timestamp=self.now)
        self._put(name, replace(run, metadata=metadata))
        return self.runs[name]

    def _write(self, call: calls.WriteWorkflow) -> Workflow | Problem:
        old = self.workflow
        if self.checks_version and old.metadata.resource_version != call.workflow.metadata.resource_version:
            return CONFLICT
        new = replace(old, metadata=replace(old.metadata, resource_version=self._version()), status=call.status)
        self.workflows.append(new)
        for entry in call.status.cron:
            for run in entry.runs:
                if self.recorded.setdefault(run.name, run.uid) != run.uid:
                    raise Violation(f"{run.name}: {self.recorded[run.name]} was recorded, now {run.uid} is")
        return new

    def begin(self, seen: Run, workflow: Workflow) -> None:
        """An operator begins a run that it saw, by the Workflow that it read since: compare-and-swap on the run."""
        name = seen.metadata.name
        plan = planner.begin(seen, workflow, self.now)
        if plan.status is None or self.runs.get(name) != seen:
            return
        metadata = replace(seen.metadata, resource_version=self._version())
        self._put(name, replace(seen, metadata=metadata, status=plan.status))
        if plan.status.workflow_spec is not None:
            self.began.setdefault(name, []).append(seen.metadata.uid)
            if len(self.began[name]) > 1:
                raise Violation(f"{name} began as {' and as '.join(self.began[name])}")


class Replica:
    """An operator: a view that lags, one look under way, runs that it is about to begin."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.crash()

    def crash(self) -> None:
        """The process dies, and another starts with a list that may lag."""
        self.position = len(self.world.workflows) - 1
        self.runs_position = len(self.world.history) - 1
        self.look: ticks.Steps | None = None
        self.batch: Sequence[calls.Call] = ()
        self.answers: list[Any] = []
        self.beginning: tuple[Run, Workflow] | None = None
        self.frozen = False
        self.wake: datetime | None = None

    def sight(self) -> Sight:
        """What it knows of runs."""
        known = self.world.history[self.runs_position].values()
        knowing = frozenset(run.metadata.uid for run in known if run.status.trigger)
        waiting = {run.metadata.name: run.metadata.uid for run in known if not run.status.trigger}
        return Sight(knowing, waiting)

    def watch(self, by: int) -> None:
        """The watches bring what is new."""
        self.position = min(self.position + by, len(self.world.workflows) - 1)
        self.runs_position = min(self.runs_position + by, len(self.world.history) - 1)

    def step(self, fault: str = "") -> calls.Call | None:
        """Begin a look, or do one call of it. Returns a call that will arrive late."""
        if self.look is None:
            workflow = self.world.workflows[self.position]
            self.look = ticks.reconcile(workflow, self.sight(), self.world.now)
            self._resume(None)
            return None
        call = self.batch[len(self.answers)]
        late = call if fault == "late" else None
        answer = UNKNOWN if fault in ("lost", "late") else self.world.do(call)
        self.answers.append(UNKNOWN if fault == "ambiguous" else answer)
        if isinstance(answer, Workflow):
            self.position = max(self.position, len(self.world.workflows) - 1)
        if len(self.answers) == len(self.batch):
            self._resume(self.answers)
        return late

    def _resume(self, answers: list[Any] | None) -> None:
        assert self.look is not None
        try:
            self.batch = next(self.look) if answers is None else self.look.send(answers)
            self.answers = []
        except StopIteration as stop:
            self.look, self.wake = None, stop.value.wake

    def begin(self, random: Random) -> None:
        """Read the Workflow for a run that is known here, or write what follows from an earlier read."""
        if self.beginning:
            self.finish()
            return
        known = self.world.history[self.runs_position]
        fresh = [run for run in known.values() if _open(run)]
        if fresh:
            self.beginning = random.choice(fresh), self.world.workflow

    def finish(self) -> None:
        """Write what follows from an earlier read."""
        if self.beginning:
            self.world.begin(*self.beginning)
            self.beginning = None


def _open(run: Run) -> bool:
    """Whether a run has neither begun nor ended."""
    return run.status.workflow_spec is None and not run.status.phase.final


def episode(seed: int, prepare: Callable[[World], None] = lambda world: None) -> World:
    """The world after an episode; Violation if a tick has two runs or none."""
    random = Random(seed)
    world = World(missed=random.choice(list(Missed)))
    prepare(world)
    replicas = [Replica(world) for _ in range(random.choice((1, 2, 2, 3)))]
    late: list[calls.Call] = []
    edits = random.random() < 0.3
    for _ in range(random.choice((150, 400))):
        _trouble(random, world, random.choice(replicas), late, edits)
    world.quota = False
    if world.workflow.spec.suspend:
        world.suspend(False)
    for call in late:
        world.do(call)
    _peace(world, replicas)
    _judge(world, whole=not edits)
    return world


def _trouble(random: Random, world: World, replica: Replica, late: list[calls.Call], edits: bool) -> None:
    act = random.random()
    if act < 0.12:
        world.now += timedelta(seconds=random.choice((0.2, 1, 5, 14, 15, 40, 300)))
    elif act < 0.13:
        world.now -= timedelta(seconds=random.choice((1, 60)))
    elif act < 0.15:
        replica.crash()
        replica.position -= random.randrange(3) if replica.position > 2 else 0
        replica.runs_position -= random.randrange(3) if replica.runs_position > 2 else 0
    elif act < 0.18:
        replica.frozen = not replica.frozen
    elif act < 0.24 and world.runs:
        world.delete(random.choice(sorted(world.runs)))
    elif act < 0.25 and late:
        world.do(late.pop(random.randrange(len(late))))
    elif act < 0.26:
        world.quota = not world.quota
    elif act < 0.27 and edits:
        world.suspend(not world.workflow.spec.suspend)
    elif replica.frozen:
        return
    elif act < 0.45:
        replica.begin(random)
    elif act < 0.6:
        replica.watch(random.choice((1, 1, 2, 10)))
    elif call := replica.step(random.choice(("", "", "", "", "", "lost", "ambiguous", "late"))):
        late.append(call)


def _peace(world: World, replicas: list[Replica]) -> None:
    """Everybody looks and begins until nothing changes any more, from when the clock has made up for its jumps."""
    world.now += timedelta(minutes=20)
    for _ in range(10):
        world.now += timedelta(seconds=5)
        for replica in replicas:
            replica.finish()
            replica.frozen = False
            replica.watch(10_000)
            replica.step()
            while replica.look:
                replica.step()
            for run in world.runs.values():
                if _open(run):
                    world.begin(run, world.workflow)


def _judge(world: World, *, whole: bool) -> None:
    (entry,) = world.workflow.status.cron
    for name, uid in world.recorded.items():
        if uid not in world.began.get(name, ()) and uid not in world.deleted:
            run = world.runs[name]
            raise Violation(f"{name} is recorded and never began: {run.status.phase} {run.status.reason}")
    waiting = [run for run in world.runs.values() if run.status.phase is Phase.PENDING and not run.status.trigger]
    if waiting:
        raise Violation(f"{waiting[0].metadata.name} waits for ever")
    if whole:
        due = _ticks(world.workflows[0], world)
        if len(due) != len(world.recorded) + entry.missed:
            raise Violation(f"{len(due)} ticks, {len(world.recorded)} runs, {entry.missed} missed")
        if not set(world.recorded) <= due:
            raise Violation(f"runs of no tick: {set(world.recorded) - due}")


def _ticks(workflow: Workflow, world: World) -> set[str]:
    first = next(one.status.cron[0] for one in world.workflows if one.status.cron).decided_time
    end = world.workflow.status.cron[0].decided_time
    found = set()
    moment: datetime | None = first
    while (moment := schedule.parse(TEXT, "UTC").after(moment or first)) and moment <= end:
        found.add(names.tick_run(workflow.metadata.name, TEXT, "UTC", moment))
    return found
