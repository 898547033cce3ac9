"""Broken versions of the real code. A simulator that doesn't kill each of them proves nothing.

A mutant changes one thing that the protocol's safety rests on: a rule, a call's precondition, or the order of calls.
Orders are changed from outside, by a generator around `protocol.reconcile`.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib import import_module
from time import process_time
from typing import Any

import msgspec

from adze.core import calls, draft, manifest, pods, protocol, upkeep
from adze.core import revision as revisions
from adze.core.calls import Failure, Problem
from adze.core.draft import WITHDRAWN, Draft
from adze.core.fanout import Fan
from adze.core.hands import Hands
from adze.core.model import Attempt, Run, RunStatus
from adze.core.observed import Observed
from adze.core.pods import Pod
from adze.core.rules import retry
from tests.sim.api import replace as changed
from tests.sim.cache_mutants import CACHE_MUTANTS
from tests.sim.driver import Driver
from tests.sim.episode import run, setting
from tests.sim.laboratory import Patch, laboratory, patched
from tests.sim.large_mutants import LARGE_MUTANTS
from tests.sim.mutant import Mutant, chores_with
from tests.sim.rate_mutants import RATE_MUTANTS
from tests.sim.rerun_mutants import RERUN_MUTANTS
from tests.sim.slot_mutants import SLOT_MUTANTS

# `adze.core.rules` offers the functions of these names, not the modules.
advance = import_module("adze.core.rules.advance")
items = import_module("adze.core.rules.items")
settle = import_module("adze.core.rules.settle")

Batch = Sequence[calls.Call]


# Calls without their preconditions


class NoSwap(Driver):
    """The status is patched whatever version it has."""

    def write_status(self, call: calls.WriteStatus) -> Run | Problem:
        """Merge patch without a resourceVersion."""
        self.api.checks_version = False
        return super().write_status(call)


class GateWithoutVersion(Driver):
    """The gate is taken off whatever version the Pod has."""

    def open_gate(self, call: calls.OpenGate) -> Pod | Problem:
        """Patch by UID alone."""
        pod = self.api.same_pod(call.pod)
        return pod if isinstance(pod, Problem) else self._open(pod)


class NamesRepeat(Driver):
    """Every create makes a Pod, as with random names."""

    def create_pod(self, call: calls.CreatePod) -> Pod | Problem:
        """Create, come what may."""
        return self.api.create_pod(call.manifest, unique=False)


class LostPages(Driver):
    """Pages of outputs are taken for written before they are."""

    def create_page(self, call: calls.CreatePage) -> Problem | None:
        """Say yes, and do nothing."""
        return None


# Orders of calls


def _closing(before: RunStatus, after: RunStatus) -> list[Attempt]:
    """The attempts that a write closes."""
    was_open = {attempt.pod for part in before.parts() if (attempt := part.open_attempt)}
    return [a for part in after.parts() for a in part.attempts if a.finish_time and a.pod in was_open]


def _around(change: Callable[[Batch, dict[str, Any]], Generator[Batch, list[Any], list[Any] | None]]) -> Any:
    """A `reconcile` whose batches go through `change`: it may make calls first, and answer a batch itself."""
    original = protocol.reconcile

    def reconcile(run: Run, observed: Observed, *rest: Any) -> protocol.Steps:
        steps = original(run, observed, *rest)
        memory: dict[str, Any] = {"run": run, "observed": observed, "rest": rest}
        answers: Any = None
        try:
            while True:
                batch = steps.send(answers)
                answers = (yield from change(batch, memory)) if batch else None
                if answers is None:
                    answers = yield batch
                memory["refused"] = isinstance(answers[0], Problem) if answers else False
        except StopIteration as stop:
            return stop.value

    return reconcile


def read_before_pod(batch: Batch, memory: dict[str, Any]) -> Generator[Batch, list[Any], list[Any] | None]:
    """The run is read before its Pods are created, and that answer opens the gates."""
    if any(isinstance(call, calls.CreatePod) for call in batch):
        run = memory["run"]
        (memory["read"],) = yield [calls.ReadRun(run.metadata.namespace, run.metadata.name, run.metadata.uid)]
    elif isinstance(batch[0], calls.ReadRun) and not memory.get("refused") and "read" in memory:
        return [memory.pop("read")]
    return None


def never_read(batch: Batch, memory: dict[str, Any]) -> Generator[Batch, list[Any], list[Any] | None]:
    """Gates are opened on what the pass believes of the run."""
    if isinstance(batch[0], calls.WriteStatus):
        answers = yield batch
        if isinstance(answers[0], Run):
            memory["run"] = answers[0]
        memory["wrote"] = isinstance(answers[0], Problem)
        return answers
    if isinstance(batch[0], calls.ReadRun) and not memory.get("wrote"):
        return [memory["run"]]
    return None


def release_first(batch: Batch, memory: dict[str, Any]) -> Generator[Batch, list[Any], list[Any] | None]:
    """The finalizer goes before the outcome is written."""
    call = batch[0]
    if isinstance(call, calls.WriteStatus):
        seen = memory["observed"].pods
        held = [seen[a.pod] for a in _closing(call.run.status, call.status) if a.pod in seen and seen[a.pod].held]
        if held:
            yield [calls.Release(pod) for pod in held]
    return None


def create_first(batch: Batch, memory: dict[str, Any]) -> Generator[Batch, list[Any], list[Any] | None]:
    """Pods are created before their attempts are claimed."""
    call = batch[0]
    if isinstance(call, calls.WriteStatus) and call.status.workflow_spec:
        now, policy = memory["rest"]
        claimed = msgspec.structs.replace(call.run, status=call.status)
        revision = revisions.of_run(call.status.revision or "", call.status.workflow_spec)
        doing = Hands(claimed, revision, memory["observed"], now, policy)
        known = {a.pod for part in call.run.status.parts() for a in part.attempts}
        names = [a.pod for step in call.status.steps if (a := step.open_attempt) and a.pod not in known]
        if names:
            yield [calls.CreatePod(claimed, doing._manifest(name)) for name in names]
    return None


def delete_first(batch: Batch, memory: dict[str, Any]) -> Generator[Batch, list[Any], list[Any] | None]:
    """Pods are listed and deleted before their claims are withdrawn, not after."""
    call = batch[0]
    if isinstance(call, calls.WriteStatus):
        names = {a.pod for a in _closing(call.run.status, call.status) if a.reason in WITHDRAWN}
        if names:
            (listed,) = yield [calls.ListPods(call.run)]
            found = [] if isinstance(listed, Problem) else [pod for name, pod in listed.items() if name in names]
            if found:
                yield [calls.DeletePod(pod) for pod in found]
    return None


def asleep(batch: Batch, memory: dict[str, Any]) -> Generator[Batch, list[Any], list[Any] | None]:
    """Nothing is changed here; `_sleeper` forgets when to wake."""
    return None
    yield batch


def _sleeper() -> Any:
    reconcile = _around(asleep)

    def forgetful(*arguments: Any) -> protocol.Steps:
        result = yield from reconcile(*arguments)
        return replace(result, wake=None)

    return forgetful


# Rules


def _over(self: Draft, attempt: Attempt) -> bool:
    pod = self.pod(attempt)
    return not (pod and not pod.ended)


def _manifest(**changes: Any) -> Any:
    original = manifest.build

    def build(*arguments: Any) -> dict[str, Any]:
        built = original(*arguments)
        metadata, spec = dict(built["metadata"]), dict(built["spec"])
        if "finalizers" in changes:
            metadata["finalizers"] = changes["finalizers"]
        if "schedulingGates" in changes:
            spec["schedulingGates"] = changes["schedulingGates"]
        return {**built, "metadata": metadata, "spec": spec}

    return build


def _missing_is_lost() -> Any:
    original = settle._settle_missing

    def settle_missing(this: Draft, node: Any, attempt: Attempt) -> None:
        observed = this.observed
        this.observed = replace(observed, fresh=True, vanished=observed.vanished | {attempt.pod})
        original(this, node, attempt)
        this.observed = observed

    return settle_missing


def _one_more_retry() -> Any:
    original = retry.close

    def close(this: Draft, node: Any, ended: Attempt) -> None:
        original(this, replace(node, step=changed(node.step, retries=(node.step.retries or 0) + 1)), ended)

    return close


def _forgetful_outcome() -> Any:
    original = settle._settle_outcome

    def settle_outcome(this: Draft, node: Any, attempt: Attempt, pod: Pod, outcome: pods.Outcome) -> None:
        if outcome.exit_code == 3:
            outcome = replace(outcome, reason=None, exit_code=0)
        original(this, node, attempt, pod, outcome)

    return settle_outcome


def _rash() -> Any:
    original = settle._settle_missing

    def settle_missing(this: Draft, node: Any, attempt: Attempt) -> None:
        refusal = this.observed.refusals.get(attempt.pod)
        if refusal and refusal.lasting:
            settle._close(this, node, attempt, refusal.reason, refusal.message)
        else:
            original(this, node, attempt)

    return settle_missing


def _unknown_is_refused() -> Any:
    original = Hands._refused

    def refused(self: Any, pod: str, problem: Problem) -> None:
        if problem.failure is Failure.UNKNOWN:
            problem = Problem(Failure.REFUSED, "PodRejected", problem.message)
        original(self, pod, problem)

    return refused


def _idle(*_: Any) -> protocol.Steps:
    return protocol.Pass()
    yield []


def _from_the_first() -> Any:
    original = Fan.of

    def of(*arguments: Any) -> Fan:
        fan = original(*arguments)
        fan.next = 0
        return fan

    return staticmethod(of)


def _ended_only(fan: Fan) -> bool:
    return fan.ending is not None


def _nothing() -> list[Patch]:
    return []


MUTANTS = (
    Mutant("status written without compare-and-swap", _nothing, "frosty", 300, NoSwap),
    Mutant("Pods without our finalizer", lambda: [(manifest, "build", _manifest(finalizers=[]))], "frosty", 300),
    Mutant("Pods without our gate", lambda: [(manifest, "build", _manifest(schedulingGates=[]))], "duel", 3000),
    Mutant("gate opened without reading the run", lambda: [(protocol, "reconcile", _around(never_read))], "duel", 3000),
    Mutant(
        "run read before its Pod is created", lambda: [(protocol, "reconcile", _around(read_before_pod))], "duel", 20000
    ),
    Mutant("gate opened at any version", _nothing, "gates", 20000, GateWithoutVersion),
    Mutant("gate opened whatever the read says", lambda: [(upkeep, "may_start", lambda run, pod: True)], "duel", 3000),
    Mutant(
        "finalizer off before the outcome is written",
        lambda: [(protocol, "reconcile", _around(release_first))],
        "frosty",
        300,
    ),
    Mutant("end and retry without a fresh LIST", lambda: [(Draft, "over", _over)], "closing", 20000),
    Mutant(
        "LIST and delete before the claim is withdrawn",
        lambda: [(protocol, "reconcile", _around(delete_first)), (Draft, "over", _over)],
        "closing",
        20000,
    ),
    Mutant("no attempt counts as withdrawn", lambda: [(draft, "WITHDRAWN", frozenset())], "closing", 20000),
    Mutant("withdrawn Pods are not deleted", lambda: [(upkeep, "chores", chores_with(delete=()))], "closing", 300),
    Mutant("Pod names are not unique", _nothing, "frosty", 300, NamesRepeat),
    Mutant("Pod created before its claim", lambda: [(protocol, "reconcile", _around(create_first))], "frosty", 300),
    Mutant("retry while the old Pod lives", lambda: [(Draft, "over", lambda self, attempt: True)], "closing", 3000),
    Mutant("missing Pod is a failure at once", lambda: [(settle, "_settle_missing", _missing_is_lost())], "stale", 300),
    Mutant("a refusal is recorded without a fresh LIST", lambda: [(settle, "_settle_missing", _rash())], "rough", 3000),
    Mutant("backoff ignored", lambda: [(retry, "delay", lambda *_: timedelta(0))], "rough", 300),
    Mutant("parents ignored", lambda: [(advance, "_reachable", lambda *_: True)], "rough", 300),
    Mutant("one retry too many", lambda: [(retry, "close", _one_more_retry())], "rough", 300),
    Mutant("lost attempts without limit", lambda: [(retry, "INFRASTRUCTURE_BUDGET", 50)], "rough", 3000),
    Mutant("outcome not as it was", lambda: [(settle, "_settle_outcome", _forgetful_outcome())], "rough", 300),
    Mutant(
        "ambiguous create taken for a refusal",
        lambda: [(Hands, "_refused", _unknown_is_refused())],
        "frosty",
        3000,
    ),
    Mutant("foreign Pods taken for ours", lambda: [(Pod, "owned_by", lambda self, uid: True)], "rough", 3000),
    Mutant("Pods never let go", lambda: [(upkeep, "chores", chores_with(release=()))], "rough", 300),
    Mutant("Pods of dead runs never let go", lambda: [(protocol, "abandon", _idle)], "deleting", 300),
    Mutant("withdrawn items fold at once", lambda: [(items, "_over", lambda *_: True)], "fans", 3000),
    Mutant("items start again from the first", lambda: [(Fan, "of", _from_the_first())], "fans", 300),
    Mutant("items start after one has failed", lambda: [(Fan, "stopped", property(_ended_only))], "fans", 300),
    Mutant("Pods of folded items never let go", lambda: [(upkeep, "settled", lambda *_: False)], "fans", 300),
    Mutant("status written without its pages", _nothing, "fans", 300, LostPages),
    Mutant("timers forgotten", lambda: [(protocol, "reconcile", _sleeper())], "rough", 300),
    *SLOT_MUTANTS,
    *RATE_MUTANTS,
    *RERUN_MUTANTS,
    *CACHE_MUTANTS,
    *LARGE_MUTANTS,
)


@dataclass(frozen=True, slots=True)
class Death:
    """How a mutant died, or that it lives: then there's no code."""

    name: str
    profile: str
    episodes: int
    seconds: float
    code: str = ""
    text: str = ""
    seed: int = 0


def hunt(mutant: Mutant, limit: float = 60.0) -> Death:
    """Run episodes until one kills the mutant, its episodes are used up, or `limit` seconds of CPU have passed.

    Only an episode that the code as it is survives is the mutant's own death.
    """
    begin = process_time()
    patches = mutant.patches()
    with laboratory():
        for seed in range(mutant.episodes):
            world = setting(seed, mutant.profile)
            with patched(patches):
                violation = run(world, driver=mutant.driver).violation
            spent = process_time() - begin
            if violation and not run(world).violation:
                return Death(mutant.name, mutant.profile, seed + 1, spent, violation.code, str(violation), seed)
            if spent > limit:
                break
    return Death(mutant.name, mutant.profile, seed + 1, spent)
