"""Jobs and child runs under two operators with old views that crash at any call: never lost, never doubled.

A small counterpart of tests/sim, which knows Pods only: the real protocol and patches, an API server in memory.
"""

from copy import deepcopy
from random import Random
from typing import Any

import msgspec
import pytest

from adze.core import calls, names, protocol, upkeep
from adze.core.calls import Call, Failure, Problem
from adze.core.carrier import Carrier
from adze.core.model import Run
from adze.core.observed import Observed
from adze.shell import carriers
from tests.builders import NOW, POLICY, asking, run, seconds, step, workflow

CONFLICT = Problem(Failure.CONFLICT)
EXISTS = Problem(Failure.EXISTS)
GONE = Problem(Failure.NOT_FOUND)
Object = dict[str, Any]
JOB = {"spec": {"template": {"spec": {"containers": [{"name": "work", "image": "i"}]}}}}


def merged(into: Object, patch: Object) -> Object:
    """RFC 7396, and the one strategic word that adze uses."""
    result = dict(into)
    for key, value in patch.items():
        if key == "$deleteFromPrimitiveList/finalizers":
            result["finalizers"] = [name for name in into.get("finalizers", ()) if name not in value]
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key, {}), value) if isinstance(value, dict) else value
    return result


class World:
    """One run, its Jobs or child runs, and what happens to them."""

    def __init__(self, kind: str, random: Random) -> None:
        how: Object = {"job": JOB} if kind == "Job" else {"workflow": {"name": "child"}}
        steps = [step(name, retries=1, backoff={"base": "1s"}, timeout="60s", **how) for name in ("a", "b")]
        self.random = random
        self.kind = kind
        self.now = NOW
        self.version = 1
        self.run = run(workflow(steps[0], msgspec.structs.replace(steps[1], parents=("a",))))
        self.objects: dict[str, Object] = {}
        self.past: list[tuple[Run, dict[str, Object]]] = []
        self.started: dict[str, set[str]] = {}
        self.ended: dict[str, str] = {}

    def carrier(self, item: Object) -> Carrier:
        return carriers.decode(self.kind, msgspec.json.encode(item))

    def _bump(self) -> str:
        self.past.append((self.run, deepcopy(self.objects)))
        self.version += 1
        return str(self.version)

    def put(self, name: str, item: Object) -> Object:
        """A new version of an object; the last finalizer of one that is deleted takes it away."""
        item["metadata"]["resourceVersion"] = self._bump()
        self.objects[name] = item
        if item["metadata"].get("deletionTimestamp") and not item["metadata"].get("finalizers"):
            del self.objects[name]
        return item

    def do(self, call: Call) -> Any:
        """What the API server does and answers."""
        match call:
            case calls.ReadRun():
                return self.run
            case calls.WriteStatus():
                if call.run.metadata.resource_version != self.run.metadata.resource_version:
                    return CONFLICT
                return self.write(status=call.status)
            case calls.ListPods():
                return {name: self.carrier(item) for name, item in self.objects.items()}
            case calls.CreatePod():
                return self._create(call.manifest)
            case calls.ReadPod():
                return self.carrier(self.objects[call.name]) if call.name in self.objects else GONE
            case calls.OpenGate():
                return self._patch(call.pod, *carriers.opened(call.pod))
            case calls.Release():
                return self._patch(call.pod, *carriers.released(call.pod))
            case calls.DeletePod():
                return self._end(call.pod)
        return None

    def write(self, **changes: Any) -> Run:
        """A new version of the run."""
        assert not self.run.status.phase.final, "a terminal run never changes"
        metadata = msgspec.structs.replace(self.run.metadata, resource_version=self._bump())
        self.run = msgspec.structs.replace(self.run, metadata=metadata, **changes)
        return self.run

    def _create(self, manifest: Object) -> Any:
        name = manifest["metadata"]["name"]
        if name in self.objects:
            return EXISTS
        item = deepcopy(manifest)
        item["metadata"] |= {"uid": f"uid-{self.version}", "creationTimestamp": self.stamp}
        return self.carrier(self.put(name, item))

    @property
    def stamp(self) -> str:
        return self.now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _patch(self, carrier: Carrier, patch: Object, _kind: str) -> Any:
        item = self.objects.get(carrier.name)
        if item is None:
            return GONE
        wanted = patch["metadata"]
        if any(
            wanted.get(field, item["metadata"][field]) != item["metadata"][field]
            for field in ("uid", "resourceVersion")
        ):
            return CONFLICT
        return self.carrier(self.put(carrier.name, merged(item, patch)))

    def _end(self, carrier: Carrier) -> Any:
        method, body, kind = carriers.ended(carrier)
        if method == "PATCH":
            answer = self._patch(carrier, body, kind)
            return answer if isinstance(answer, Problem) else None
        item = self.objects.get(carrier.name)
        if item is None or item["metadata"]["uid"] != body["preconditions"]["uid"]:
            return GONE if item is None else CONFLICT
        self._delete(carrier.name, [*item["metadata"].get("finalizers", ()), "foregroundDeletion"])
        return None

    def _delete(self, name: str, finalizers: list[str]) -> None:
        item = self.objects[name]
        if not item["metadata"].get("deletionTimestamp"):
            metadata = {**item["metadata"], "deletionTimestamp": self.stamp, "finalizers": finalizers}
            self.put(name, {**item, "metadata": metadata})

    def live(self) -> None:
        """An object gets on: it starts, ends, or is gone for good."""
        if not self.objects:
            return
        name = self.random.choice(sorted(self.objects))
        item, seen = self.objects[name], self.carrier(self.objects[name])
        held = item["metadata"].get("finalizers", [])
        if "foregroundDeletion" in held and not (seen.started and self.random.random() < 0.3):
            metadata = {**item["metadata"], "finalizers": [one for one in held if one != "foregroundDeletion"]}
            self.put(name, {**item, "metadata": metadata})
        elif self.kind == "Job":
            self._job(name, item, seen)
        else:
            self._child(name, item, seen)

    def _job(self, name: str, item: Object, seen: Carrier) -> None:
        status = item.get("status", {})
        if item["spec"]["suspend"]:
            # The Job controller says so, and makes a version of it.
            if not status:
                self.put(name, {**item, "status": {"conditions": [{"type": "Suspended", "status": "True"}]}})
        elif not seen.ended and not status.get("startTime"):
            if not seen.deleting:
                self.begin(name, item["metadata"]["uid"])
                self.put(name, {**item, "status": {"startTime": self.stamp}})
        elif not seen.ended:
            self.ended[name] = self.random.choice(("Complete", "Failed"))
            condition = {"type": self.ended[name], "status": "True", "reason": "Because"}
            self.put(name, {**item, "status": {**status, "conditions": [condition]}})

    def _child(self, name: str, item: Object, seen: Carrier) -> None:
        if seen.ended or (seen.gated and not item["spec"].get("cancel")):
            return
        status = item.get("status", {})
        if item["spec"].get("cancel"):
            self.put(name, {**item, "status": {**status, "phase": "Cancelled", "reason": "Cancelled"}})
        elif not seen.started:
            self.begin(name, item["metadata"]["uid"])
            self.put(name, {**item, "status": {"phase": "Running", "startTime": self.stamp}})
        else:
            self.ended[name] = self.random.choice(("Succeeded", "Failed"))
            self.put(name, {**item, "status": {**status, "phase": self.ended[name], "reason": "Because"}})

    def begin(self, name: str, uid: str) -> None:
        """What must never happen twice, nor after the end."""
        self.started.setdefault(name, set()).add(uid)
        assert len(self.started[name]) == 1, f"{name} has started twice"
        assert not self.run.status.phase.final, f"{name} started after the end of its run"

    def trouble(self) -> None:
        """Somebody deletes an object, or a TTL does, or the user cancels."""
        if self.objects and self.random.random() < 0.7:
            name = self.random.choice(sorted(self.objects))
            self._delete(name, list(self.objects[name]["metadata"].get("finalizers", ())))
        elif not self.run.spec.cancel and not self.run.status.phase.final and self.random.random() < 0.3:
            asked = asking(self.run, cancel=True)
            self.write(spec=asked.spec)


class Replica:
    """An operator that makes passes from views that may be old, and may crash between two calls."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.steps: protocol.Steps | None = None
        self.batch: list[Call] = []
        self.answers: list[Any] = []
        self.refusals: dict[str, Any] = {}

    def act(self, fresh: bool) -> None:
        """Begin a pass, or do the next call of the present one."""
        if self.steps is None:
            self._begin(fresh)
        else:
            self.answers.append(self.world.do(self.batch[len(self.answers)]))
            if len(self.answers) == len(self.batch):
                self._send(self.answers)

    def _begin(self, fresh: bool) -> None:
        world = self.world
        run, objects = world.run, world.objects
        if world.past and not fresh:
            run, objects = world.random.choice(world.past[-12:])
        known = {name: world.carrier(item) for name, item in objects.items()}
        vanished = frozenset(set(world.started) - set(known))
        observed = Observed(pods=known, vanished=vanished, refusals=self.refusals)
        self.steps = protocol.reconcile(run, observed, world.now, POLICY)
        self._send(None)

    def _send(self, answers: list[Any] | None) -> None:
        assert self.steps is not None
        try:
            self.batch = list(next(self.steps) if answers is None else self.steps.send(answers))
            self.answers = []
        except StopIteration as stop:
            self.refusals = dict(stop.value.refusals)
            self.crash()

    def crash(self) -> None:
        """Forget the pass."""
        self.steps, self.batch, self.answers = None, [], []


def episode(kind: str, seed: int) -> World:
    """Trouble for a while, then quiet until nothing more happens."""
    random = Random(seed)
    world = World(kind, random)
    replicas = [Replica(world), Replica(world)]
    for _ in range(random.choice((40, 120, 250))):
        roll = random.random()
        if roll < 0.6:
            random.choice(replicas).act(fresh=random.random() < 0.5)
        elif roll < 0.62:
            random.choice(replicas).crash()
        elif roll < 0.65:
            world.trouble()
        elif roll < 0.7:
            world.now += seconds(random.choice((1, 3, 20)))
        else:
            world.live()
    for turn in range(600):
        replicas[turn % 2].act(fresh=True)
        if turn % 3 == 0:
            world.live()
        if turn % 25 == 0:
            world.now += seconds(15)
    return world


def check(world: World) -> None:
    """After the quiet: the run has ended, nothing is held or can still start, and what was recorded is what was."""
    status = world.run.status
    assert status.phase.final, msgspec.to_builtins(status)
    for name, item in world.objects.items():
        seen = world.carrier(item)
        assert not seen.held, f"{name} is held for ever"
        assert seen.ended or seen.deleting, f"{name} is left"
    for recorded in status.steps:
        numbers = [attempt.number for attempt in recorded.attempts]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) <= 2
        for attempt in recorded.attempts:
            if attempt.reason is None:
                assert world.ended[attempt.carrier] in ("Complete", "Succeeded")


@pytest.mark.parametrize("kind", ["Job", "WorkflowRun"])
def test_nothing_is_lost_or_doubled(kind: str) -> None:
    worlds = [episode(kind, seed) for seed in range(60)]
    for world in worlds:
        check(world)
    phases = {world.run.status.phase.value for world in worlds}
    assert phases >= {"Succeeded", "Failed", "Cancelled"}, "the episodes reach everything"
    assert any(len(world.started) > 2 for world in worlds), "some attempts were retried"


def found_out(kind: str) -> bool:
    """Whether any of some episodes goes wrong."""
    for seed in range(150):
        try:
            check(episode(kind, seed))
        except AssertionError:
            return True
    return False


@pytest.mark.parametrize("kind", ["Job", "WorkflowRun"])
def test_a_gate_that_is_opened_unasked_is_found_out(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "may_start", lambda _run, _carrier: True)
    assert found_out(kind)


def test_a_missing_finalizer_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    original = World.put

    def put(self: World, name: str, item: Object) -> Object:
        item["metadata"]["finalizers"] = [
            held for held in item["metadata"].get("finalizers", ()) if held != names.FINALIZER
        ]
        return original(self, name, item)

    monkeypatch.setattr(World, "put", put)
    assert found_out("WorkflowRun")
