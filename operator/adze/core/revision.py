"""A workflow checked and compiled: what a run is frozen to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, Self

import msgspec

from adze.core import dag, events, expressions, kinds, names, overlay, schema
from adze.core.cache import Cache
from adze.core.expressions import BOOL, INT, OBJECT, OBJECTS, STRING, Program, Scope, Template
from adze.core.model import Backoff, Defaults, RunIf, Step, WorkflowSpec
from adze.core.model.base import camel
from adze.core.pieces import Pieces, Problem
from adze.core.rates import Rate, compile_rates
from adze.core.schema import Validator, json_size
from adze.core.slots import Entry

START_TIMEOUT = timedelta(minutes=10)
"""Limit from a Pod's creation to its container's start, where the step sets none."""
FOREVER = timedelta(days=3650)
CLEANUP_TIMEOUT = timedelta(minutes=5)
"""Limit of an attempt of an onFailure or finally step that sets none: a run past its deadline must end."""

SPEC_LIMIT = 384 * 1024
"""Bytes of a workflow: each run's status holds a copy."""

ATTEMPT_VARIABLES = {
    "attempt.number": INT,
    "attempt.exitCode": INT,
    "attempt.reason": STRING,
    "attempt.message": STRING,
}
RETRY_SCOPE = Scope(ATTEMPT_VARIABLES)
RUN_VARIABLES = {
    **{"run.name": STRING, "run.namespace": STRING, "run.uid": STRING, "run.workflow": STRING},
    **{"run.trigger": STRING, "run.scheduledTime": STRING},
}
VERDICT_VARIABLES = {"run.phase": STRING, "run.error": STRING}
"""How the run would end now: for onFailure, finally and the run's output, which come after the graph."""


class Stage(Enum):
    """The parts of a run, in the order in which they happen."""

    GRAPH = "steps"
    ON_FAILURE = "onFailure"
    FINALLY = "finally"


class InvalidWorkflow(ValueError):
    """A workflow that no run can be made of."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


def place(step: Step, stage: Stage) -> str:
    """The field of a workflow that holds the step."""
    return "spec.onFailure" if stage is Stage.ON_FAILURE else f"spec.{stage.value}[{step.name}]"


@dataclass(frozen=True, slots=True)
class Node:
    """A step with the workflow's defaults merged in and its expressions compiled.

    A forEach step's items have nodes of their own, with an `index`. `iterated` names what forEach reads.
    """

    step: Step
    stage: Stage
    when: Program | None
    retry_when: Program | None
    texts: Template
    output: Validator | None
    filter: Program | None
    backoff: Backoff
    timeout: timedelta | None
    start_timeout: timedelta
    queues: tuple[Entry, ...]
    rates: tuple[Rate, ...] = ()
    cache: Cache | None = None
    for_each: Program | None = None
    iterated: frozenset[str] = frozenset()
    index: int | None = None

    @property
    def name(self) -> str:
        """Name of the step."""
        return self.step.name

    @property
    def part(self) -> str:
        """Name of what this is a node of: the step, or an item of it."""
        return self.name if self.index is None else names.part(self.name, self.index)

    def item(self, index: int) -> Self:
        """The node of one item: it is neither skipped nor expanded again."""
        return replace(self, index=index, when=None, for_each=None)


@dataclass(frozen=True, slots=True)
class Revision:
    """A workflow as a run executes it. `lists` names the forEach steps: their output is a list."""

    digest: str
    spec: WorkflowSpec
    nodes: Mapping[str, Node]
    order: tuple[str, ...]
    input: Validator | None
    output: Template | None
    timeout: timedelta
    lists: frozenset[str]
    queue_timeout: timedelta | None
    queues: tuple[Entry, ...]

    @property
    def queued(self) -> bool:
        """Whether a run has to do with queues at all."""
        return bool(self.queues) or any(node.queues or node.rates for node in self.nodes.values())

    def node(self, part: str) -> Node:
        """The node of a step, or of an item named step[index]."""
        node = self.nodes[names.step_of(part)]
        index = names.index(part)
        return node if index is None else node.item(index)

    @property
    def carriers(self) -> frozenset[str]:
        """The Kubernetes kinds of the objects that carry its attempts out."""
        found = (kinds.of(node.step) for node in self.nodes.values())
        return frozenset({"Pod", *(kind.resource for kind in found if isinstance(kind, kinds.ByObject))})

    def stage(self, stage: Stage) -> list[Node]:
        """The steps of that stage, in the order of the spec."""
        return [node for node in self.nodes.values() if node.stage is stage]


def digest(spec: WorkflowSpec | Mapping[str, Any]) -> str:
    """Names a revision; equal for equal specs whatever the order of keys."""
    return names.digest(msgspec.json.encode(spec, order="deterministic").decode(), length=12)


@lru_cache(maxsize=1024)
def _frozen(_digest: str, encoded: bytes) -> Revision:
    return compile_workflow(msgspec.json.decode(encoded, type=WorkflowSpec))


def of_run(revision: str, spec: WorkflowSpec | Mapping[str, Any]) -> Revision:
    """`compile_workflow`, once for all runs of that revision, from the spec as read or as a run's status stores it."""
    return _frozen(revision, msgspec.json.encode(spec, order="deterministic"))


def compile_workflow(spec: WorkflowSpec) -> Revision:
    """Check and compile; InvalidWorkflow lists every problem found."""
    compiler = _Compiler(spec)
    revision = compiler.run()
    if compiler.problems:
        raise InvalidWorkflow(compiler.problems)
    return revision


class _Compiler(Pieces):
    def __init__(self, spec: WorkflowSpec) -> None:
        super().__init__()
        self.spec = spec
        self.defaults = spec.defaults or Defaults()
        self.names = frozenset(step.name for step in spec.steps)
        self.lists = frozenset(step.name for step in spec.every_step() if step.for_each)
        objects = (step for step in spec.steps if not step.for_each)
        owners = {"input": spec.input} | {expressions.variable(s.name, "output"): s.output for s in objects}
        closed = {owner: schema.closed_fields(fields) for owner, fields in owners.items()}
        self.closed |= {owner: fields for owner, fields in closed.items() if fields is not None}
        self.input: Mapping[str, Any] | None = None

    def run(self) -> Revision:
        spec = self.spec
        parents = {step.name: step.parents for step in spec.steps}
        upstream = self.graph(parents)
        input_validator = self.validator(spec.input, "spec.input")
        self.input = spec.input if input_validator else None
        nodes = {step.name: self.node(step, Stage.GRAPH, upstream[step.name]) for step in spec.steps}
        everything = frozenset(parents)
        for stage, steps in (
            (Stage.ON_FAILURE, [spec.on_failure] if spec.on_failure else []),
            (Stage.FINALLY, spec.finally_),
        ):
            for step in steps:
                if step.name in nodes:
                    self.complain(place(step, stage), f"the name {step.name!r} is taken by another step")
                if step.parents:
                    self.complain(f"{place(step, stage)}.parents", f"{stage.value} steps have no parents")
                nodes[step.name] = self.node(step, stage, everything)
            everything |= {step.name for step in steps}
        size = json_size(spec)
        if size > SPEC_LIMIT:
            self.complain("spec", f"the workflow takes {size} bytes; {SPEC_LIMIT} fit in its runs' status")
        if spec.retention:
            self.duration(spec.retention.ttl, "spec.retention.ttl")
        for index, trigger in enumerate(spec.on.events if spec.on else ()):
            self.program(trigger.filter, events.SCOPE, f"spec.on.events[{index}].filter", BOOL)
            self.template(trigger.input or {}, events.SCOPE, f"spec.on.events[{index}].input")
        output = None
        if spec.output is not None:
            output = self.template(spec.output, self.scope(everything, Stage.FINALLY), "spec.output")
        return Revision(
            digest=digest(spec),
            spec=spec,
            nodes=nodes,
            order=tuple(dag.order(parents)) if not self.problems else (),
            input=input_validator,
            output=output,
            timeout=self.limit(spec.timeout, "spec.timeout") or timedelta(hours=24),
            lists=self.lists,
            queue_timeout=self.limit(spec.queue_timeout, "spec.queueTimeout"),
            queues=self.queues(spec.concurrency, self.scope(frozenset(), Stage.GRAPH), "spec"),
        )

    def graph(self, parents: Mapping[str, tuple[str, ...]]) -> Mapping[str, frozenset[str]]:
        seen: set[str] = set()
        for step in self.spec.steps:
            field = f"spec.steps[{step.name}]"
            if step.name in seen:
                self.complain(field, "two steps have this name")
            seen.add(step.name)
            for parent in step.parents:
                if parent == step.name:
                    self.complain(f"{field}.parents", "a step must not be its own parent")
                elif parent not in parents:
                    self.complain(f"{field}.parents", f"there is no step {parent!r}")
        if not self.problems and (cycle := dag.cycle(parents)):
            self.complain(f"spec.steps[{cycle[0]}].parents", f"the steps form a cycle: {' -> '.join(cycle)}")
        if self.problems:
            return {name: frozenset(direct) & frozenset(parents) for name, direct in parents.items()}
        return dag.ancestors(parents)

    def node(self, step: Step, stage: Stage, upstream: frozenset[str]) -> Node:
        field = place(step, stage)
        for name in sorted(kinds.of(step).without):
            if getattr(step, name) not in (None, ()):
                self.complain(f"{field}.{camel(name)}", f"a step with {camel(kinds.name(step))} can't have it")
        step = self.merged(step)
        if kinds.name(step) == "image" and not step.image:
            self.complain(f"{field}.image", "a container step needs an image, here or in spec.defaults")
        if step.run_if is not RunIf.SUCCEEDED and not step.parents:
            self.complain(f"{field}.runIf", "says how parents must have ended, but this step has none")
        kind = kinds.of(step)
        for member, message in kind.problems(step):
            self.complain(f"{field}.{member}", message)
        around = self.scope(upstream, stage)
        for_each = self.program(step.for_each, around, f"{field}.forEach", expressions.DYN)
        scope = self.scope_of_item(for_each, around, f"{field}.forEach") if for_each else around
        texts = self.texts(kind, step, field)
        timeout = self.limit(step.timeout, f"{field}.timeout")
        backoff = step.backoff or Backoff()
        self.duration(backoff.base, f"{field}.backoff.base")
        self.duration(backoff.max, f"{field}.backoff.max")
        return Node(
            step=step,
            stage=stage,
            when=self.program(step.when, around, f"{field}.when", BOOL),
            retry_when=self.program(step.retry_when, RETRY_SCOPE, f"{field}.retryWhen", BOOL),
            texts=self.template(texts, scope, field),
            output=self.validator(step.output, f"{field}.output"),
            filter=self.filter(step, scope, field),
            backoff=backoff,
            timeout=timeout if timeout or stage is Stage.GRAPH or step.sleep else CLEANUP_TIMEOUT,
            start_timeout=self.limit(step.start_timeout, f"{field}.startTimeout") or _start_timeout(kind, stage),
            queues=self.queues(step.concurrency, scope, field),
            rates=compile_rates(self, step.rate_limit, scope, field),
            cache=self.cache(step, scope, f"{field}.cache"),
            for_each=for_each,
            iterated=expressions.read_by(for_each) if for_each else frozenset(),
        )

    def scope_of_item(self, for_each: Program, around: Scope, field: str) -> Scope:
        kind = expressions.type_of_items(for_each)
        if kind is None:
            self.complain(field, f"must give a list, not {for_each.compiled.return_type().name().lower()}")
            return around
        return Scope({**around.variables, "item": kind, "index": INT}, self.names)

    def filter(self, step: Step, scope: Scope, field: str) -> Program | None:
        """What an event is held against; it reads whatever the step sees, too."""
        if step.wait_for is None:
            return None
        self.duration(step.wait_for.lookback, f"{field}.waitFor.lookback")
        both = Scope({**scope.variables, **events.SCOPE.variables}, self.names)
        return self.program(step.wait_for.filter, both, f"{field}.waitFor.filter", BOOL)

    def texts(self, kind: kinds.Kind, step: Step, field: str) -> dict[str, Any]:
        """What holds `${…}`; a job's are unknown where its Pods are wrong, which has been told."""
        try:
            return {
                **kind.texts(step),
                "env": {variable.name: variable.value for variable in step.env if variable.value is not None},
            }
        except ValueError:
            return {}

    def merged(self, step: Step) -> Step:
        """The step with the workflow's defaults where it says nothing; a script brings its own image."""
        without = kinds.of(step).without
        if without:
            return self.without(step, without)
        own = {variable.name for variable in step.env}
        env = (*(variable for variable in self.defaults.env if variable.name not in own), *step.env)
        changes: dict[str, Any] = {"env": env, "pod": overlay.both(self.defaults.pod, step.pod)}
        for field in Defaults.__struct_fields__:
            if field not in ("env", "image", "pod") and getattr(step, field) is None:
                changes[field] = getattr(self.defaults, field)
        if step.image is None and not step.script:
            changes["image"] = self.defaults.image
        return msgspec.structs.replace(step, **changes)

    def without(self, step: Step, without: frozenset[str]) -> Step:
        """A step whose kind can't have some fields, with the defaults of the others."""
        if without & kinds.RETRY_FIELDS:
            return step
        fields = set(Defaults.__struct_fields__) - without - {"image"}
        return msgspec.structs.replace(
            step, **{name: getattr(self.defaults, name) for name in fields if getattr(step, name) is None}
        )

    def scope(self, steps: frozenset[str], stage: Stage) -> Scope:
        variables: dict[str, Any] = {"input": OBJECT, **RUN_VARIABLES}
        if stage is not Stage.GRAPH:
            variables |= VERDICT_VARIABLES
        for name, member in schema.typed(self.input).items():
            if name.isidentifier():
                variables[f"input.{name}"] = expressions.type_of(member)
        for step in sorted(steps):
            variables[expressions.variable(step, "output")] = OBJECTS if step in self.lists else OBJECT
            variables[expressions.variable(step, "phase")] = STRING
            variables[expressions.variable(step, "error")] = STRING
        return Scope(variables, self.names)


def _start_timeout(kind: kinds.Kind, stage: Stage) -> timedelta:
    """A Job may stand in a queue, and a child run in its own, for as long as the run's timeout lets it."""
    return START_TIMEOUT if isinstance(kind, kinds.InPod) or stage is not Stage.GRAPH else FOREVER
