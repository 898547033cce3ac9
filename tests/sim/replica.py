"""An operator process: the real engine, driven one call at a time, with caches that lag and a memory that crashes lose.

The engine's coroutines run without an event loop: they yield batches of calls, and what they are sent are the answers.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from adze.core import calls, names
from adze.core.calls import Failure, Problem
from adze.core.model import Run
from adze.core.pods import Pod
from adze.core.policy import Policy
from adze.core.slots import Slot
from tests.sim.api import Api
from tests.sim.check import check_refusals
from tests.sim.driver import WRITES, Driver
from tests.sim.mind import Mind, Work
from tests.sim.trace import Trace
from tests.sim.violation import Violation

UNKNOWN = Problem(Failure.UNKNOWN, "Timeout", "no answer")


class Mode(Enum):
    """How a call goes. A late write is answered like a lost one and is done some time later, or never."""

    NORMAL = ""
    LOST = "lost"
    AMBIGUOUS = "done, but not answered"
    LATE = "still on its way"
    SLOW = "done, the answer takes its time"


@dataclass(slots=True)
class Pass:
    """A pass that is under way since a revision: the batch of calls it waits for."""

    work: Work
    since: int
    batch: Sequence[calls.Call] = ()
    answers: list[Any] = field(default_factory=list)
    todo: list[int] = field(default_factory=list)
    slow: dict[int, Any] = field(default_factory=dict)
    asked: bool = False
    blurred: bool = False


class Replica:
    """One operator process."""

    def __init__(self, name: str, api: Api, driver: Driver, goals: Counter[str], trace: Trace, cap: int = 0) -> None:
        """`cap` is how many steps it lets run at a time; 0 is any number."""
        self._policy = Policy(parallelism=cap, outputs_url="http://sim")
        self.name = name
        self.api = api
        self.driver = driver
        self.goals = goals
        self.trace = trace
        self.late: list[calls.Call] = []
        self.frozen = False
        self.lossy = False
        self.mind: Mind | None = None
        self.passes: dict[str, Pass] = {}
        self._seen: dict[str, Pod] = {}
        self._seen_runs: set[str] = set()
        self._seen_slots: dict[str, Slot] = {}
        self._at = {"runs": 0, "pods": 0, "workflows": 0, "slots": 0}

    # Life and death

    def start(self, stale: int = 0, pods: int | None = None) -> None:
        """A new process lists everything; `stale` is how many changes its lists lag behind, `pods` that of the Pods."""
        self.mind = Mind(self.api, self._policy)
        self._seen = {}
        self._seen_runs = set()
        self._seen_slots = {}
        self.trace.say(self.name, f"starts{f', its lists lag by {stale}' if stale else ''}")
        self.goals["stale list after a crash"] += stale > 0
        self.relist("pods", stale if pods is None else pods)
        self.relist("slots", stale)
        self.mind.start()
        self.relist("runs", stale)
        self._at["workflows"] = len(self.api.workflow_history)
        self.lossy = False

    def crash(self) -> None:
        """The process is killed: what it knew and what it was doing is gone."""
        if self.mind is None:
            return
        self.trace.say(self.name, "crashes")
        for work in self.passes.values():
            self.goals["crash in a pass"] += work.asked
            self.goals["ambiguous create then crash"] += work.blurred
            work.work.close()
        self.passes = {}
        self.mind = None
        self.frozen = False

    def freeze(self, frozen: bool) -> None:
        """Stop the process between two calls, or let it go on."""
        if self.mind is not None and frozen != self.frozen:
            self.frozen = frozen
            self.trace.say(self.name, "freezes" if frozen else "thaws")
            self.goals["frozen in a pass"] += frozen and bool(self.passes)

    # Caches

    def relist(self, kind: str, stale: int = 0) -> None:
        """A list replaces what a watch has told, as `shell.watch` does; `stale` lets it lag behind."""
        assert self.mind is not None
        if kind == "runs":
            runs = self.api.run_history
            self._at[kind] = position = max(0, len(runs) - stale)
            listed = runs.at(position)
            before, self._seen_runs = self._seen_runs, set(listed)
            for uid in before - self._seen_runs:
                self.mind.lose_run(uid)
            for run in listed.values():
                self.mind.see_run(run)
            return
        if kind == "slots":
            slots = self.api.slot_history
            self._at[kind] = position = max(0, len(slots) - stale)
            there = slots.at(position)
            known, self._seen_slots = self._seen_slots, there
            for uid, slot in known.items():
                if uid not in there:
                    self.mind.see_slot(slot, None)
            for uid, slot in there.items():
                self.mind.see_slot(known.get(uid), slot)
            return
        pods = self.api.pod_history
        self._at[kind] = position = max(0, len(pods) - stale)
        found = {uid: pod for uid, pod in pods.at(position).items() if _selected(pod)}
        before_pods, self._seen = self._seen, found
        for uid, pod in before_pods.items():
            if uid not in found:
                self.mind.see_pod(pod, None)
        for uid, pod in found.items():
            old = before_pods.get(uid)
            if old is None or old.metadata.resource_version != pod.metadata.resource_version:
                self.mind.see_pod(old, pod)

    def deliver(self, bits: int, count: int = 1) -> bool:
        """The watches bring the next changes; False where there are none."""
        kinds = [kind for kind in ("pods", "runs", "slots", "workflows") if self._at[kind] < self._end(kind)]
        if self.mind is None or self.frozen or not kinds:
            return False
        kind = kinds[bits % len(kinds)]
        for _ in range(count):
            if self._at[kind] >= self._end(kind):
                break
            self._event(kind, self._at[kind])
            self._at[kind] += 1
        return True

    def _end(self, kind: str) -> int:
        histories = {
            "pods": self.api.pod_history,
            "runs": self.api.run_history,
            "workflows": self.api.workflow_history,
            "slots": self.api.slot_history,
        }
        return len(histories[kind])

    def _event(self, kind: str, position: int) -> None:
        assert self.mind is not None
        if kind == "runs":
            old, run = self.api.run_history.changes[position]
            if run is not None:
                self._seen_runs.add(run.metadata.uid)
                self.mind.see_run(run)
            elif old is not None:
                self._seen_runs.discard(old.metadata.uid)
                self.mind.lose_run(old.metadata.uid)
        elif kind == "pods":
            self._pod_event(*self.api.pod_history.changes[position])
        elif kind == "slots":
            old_slot, slot = self.api.slot_history.changes[position]
            if slot is not None:
                self._seen_slots[slot.metadata.uid] = slot
            elif old_slot is not None:
                self._seen_slots.pop(old_slot.metadata.uid, None)
            self.mind.see_slot(old_slot, slot)
        else:
            _, workflow = self.api.workflow_history.changes[position]
            assert workflow is not None
            self.mind.see_workflow(workflow)

    def _pod_event(self, before: Pod | None, after: Pod | None) -> None:
        assert self.mind is not None
        item = after or before
        assert item is not None
        old = self._seen.get(item.metadata.uid)
        if not _selected(item) and not (before and _selected(before)):
            return
        if after is None or not _selected(after):
            self._seen.pop(item.metadata.uid, None)
            self.mind.see_pod(old or before or item, None)
        else:
            self._seen[item.metadata.uid] = after
            self.mind.see_pod(old, after)

    def repeat(self, bits: int) -> bool:
        """A watch brings a change for the second time."""
        kind = ("pods", "runs", "slots")[bits % 3]
        if self.mind is None or self.frozen or self._at[kind] == 0:
            return False
        self._event(kind, self._at[kind] - 1)
        return True

    def lose(self, bits: int) -> bool:
        """A watch swallows a change; the next list will bring it."""
        kind = ("pods", "runs", "slots")[bits % 3]
        if self.mind is None or self.frozen or self._at[kind] >= self._end(kind):
            return False
        self.trace.say(self.name, f"misses a change of {kind}")
        self.goals["watch event lost"] += 1
        self._at[kind] += 1
        self.lossy = True
        return True

    # Work

    def ready(self) -> list[str]:
        """The runs for which this process has something to do now."""
        mind = self.mind
        if mind is None or self.frozen:
            return []
        mind.ring(self.api.now)
        runs = list(self.passes)
        runs += [uid for uid in mind.pending() if uid not in self.passes]
        return runs

    def step(self, uid: str, bits: int = 0, mode: Mode = Mode.NORMAL) -> calls.Call | None:
        """Start a pass over a run, or do one call of the pass that is under way: that call, if it's one."""
        work = self.passes.get(uid)
        if work is None:
            assert self.mind is not None
            work = self.passes[uid] = Pass(self.mind.begin(uid), self.api.revision)
            self._resume(uid, work, None)
            return None
        assert self.mind is not None
        index = work.todo.pop(bits % len(work.todo))
        call = work.batch[index]
        work.asked = True
        if index in work.slow:
            answer = work.slow.pop(index)
            self.trace.call(self.name, call, answer, "the answer arrives")
        else:
            answer = self._perform(call, mode)
            if isinstance(call, calls.WriteStatus) and isinstance(answer, Run):
                check_refusals(self.api, call.run, answer, work.since)
            work.blurred |= mode is Mode.AMBIGUOUS and isinstance(call, calls.CreatePod)
            if mode is Mode.SLOW:
                self.goals["slow answer"] += 1
                work.slow[index] = answer
                work.todo.append(index)
                return call
        work.answers[index] = answer
        self.mind.learn(call, answer)
        if not work.todo:
            self._resume(uid, work, work.answers)
        return call

    def _perform(self, call: calls.Call, mode: Mode) -> Any:
        write = type(call) in WRITES
        if isinstance(call, calls.OpenGate | calls.Release | calls.DeletePod) and not _owner(call.pod):
            raise Violation("S21", f"{type(call).__name__} of a foreign Pod {call.pod.name}")
        if mode in (Mode.NORMAL, Mode.SLOW) or (mode is Mode.AMBIGUOUS and write):
            answer = self.driver.do(call)
            if mode is Mode.AMBIGUOUS:
                self.goals["ambiguous write"] += 1
                answer = UNKNOWN
        else:
            answer = UNKNOWN
            if mode is Mode.LATE and write:
                self.late.append(call)
        self._count(call, answer)
        self.trace.call(self.name, call, answer, mode.value)
        return answer

    def _count(self, call: calls.Call, answer: Any) -> None:
        if not isinstance(answer, Problem):
            if isinstance(call, calls.ListPods):
                closed = {a.pod for part in call.run.status.parts() for a in part.attempts if a.finish_time}
                self.goals["a LIST after a withdrawal finds a Pod"] += any(
                    name in closed and not pod.ended for name, pod in answer.items()
                )
            elif isinstance(call, calls.ReadPod) and answer.gated and not answer.deleting:
                self.goals["adopted after AlreadyExists"] += answer.owned_by(_owner(answer))
            return
        if answer.failure is Failure.CONFLICT:
            self.goals[f"conflict on {type(call).__name__}"] += 1
        elif answer.failure is Failure.LATER:
            self.goals["quota refusal"] += 1
        elif answer.failure is Failure.REFUSED:
            self.goals["lasting refusal"] += 1

    def _resume(self, uid: str, work: Pass, answers: list[Any] | None) -> None:
        before = work.batch
        try:
            while True:
                work.batch = batch = work.work.send(answers)
                work.answers = [None] * len(batch)
                work.todo = [index for index, call in enumerate(batch) if not isinstance(call, calls.Say)]
                if work.todo:
                    break
                answers = work.answers
        except StopIteration:
            del self.passes[uid]
            assert self.mind is not None
            if self.mind.failed(uid):
                raise Violation("X1", f"a pass over {uid} raised: {self.mind.error}") from None
            alarm = self.mind.alarms.get(uid)
            if not work.asked and alarm and alarm <= self.api.now:
                raise Violation("X2", f"a pass over {uid} did nothing and wants another at once") from None
            batch = ()
        if answers and isinstance(before[0], calls.ReadRun) and isinstance(answers[0], Run):
            self.goals["gate refused by the read"] += not any(isinstance(call, calls.OpenGate) for call in batch)

    def arrive(self, bits: int) -> bool:
        """A write that was given up long ago arrives at last."""
        if not self.late:
            return False
        call = self.late.pop(bits % len(self.late))
        answer = self.driver.do(call)
        self.goals["late write arrives"] += not isinstance(answer, Problem)
        self.trace.call(self.name, call, answer, "arrives late")
        return True

    def next_alarm(self) -> datetime | None:
        """When this process wakes by itself."""
        return min(self.mind.alarms.values(), default=None) if self.mind and not self.frozen else None

    def caught_up(self) -> bool:
        """Whether the watches have nothing more to bring."""
        return all(self._at[kind] >= self._end(kind) for kind in self._at)


def _selected(pod: Pod) -> bool:
    """Whether the operator's watch and lists show the Pod."""
    return names.RUN_UID in pod.metadata.labels and not pod.done


def _owner(pod: Pod) -> str:
    return pod.metadata.labels.get(names.RUN_UID, "")
