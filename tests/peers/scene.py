"""An episode of the simulator that a test plays by hand: one call at a time, every revision checked as always."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from adze.core.model import Concurrency, Run, RunSpec, Step
from adze.core.pods import Pod
from tests.builders import workflow
from tests.sim.episode import Episode, Setting
from tests.sim.profiles import PROFILES
from tests.sim.replica import Mode, Replica

LOSSES = (Mode.LOST, Mode.AMBIGUOUS, Mode.LATE)
"""What may become of a call that gets no answer: it was not done, it was, or it will be."""


def key(slots: int = 1) -> Concurrency:
    """An entry of a key with so many slots; the simulator's checker reads the limit from the key's name."""
    return Concurrency(key=f"k-{slots}", max_runs=slots, scope="pool")


class Scene(Episode):
    """No chance and no words: what happens is what the test says. `replica` is the first operator."""

    def __init__(self, replicas: int = 1) -> None:
        super().__init__(Setting(0, PROFILES["mixed"], replicas, (), []), trace=True)
        self.replica = self.replicas[0]

    def submit(self, name: str, *steps: Step, **fields: Any) -> None:
        """A user creates a run with its workflow inside."""
        self.api.create_run(name, RunSpec(workflow_spec=workflow(*steps, **fields)))

    def work(self, replica: Replica | None = None, *, hears: bool = True) -> None:
        """An operator does all that there is to do now. `hears` False: its watches bring nothing."""
        replica = replica or self.replica
        for _ in range(1000):
            while hears and replica.deliver(0, 100):
                pass
            if not self._step_of(replica):
                return
        raise AssertionError("\n".join(self.trace.lines[-40:]))

    def until(
        self, kind: type[Any], mode: Mode = Mode.NORMAL, replica: Replica | None = None, *, hears: bool = True
    ) -> None:
        """An operator works up to its next call of a kind, which goes as `mode` says, and stops right after it."""
        replica = replica or self.replica
        for _ in range(1000):
            while hears and replica.deliver(0, 100):
                pass
            if isinstance(self._step_of(replica, kind, mode), kind):
                return
        raise AssertionError(f"no {kind.__name__}:\n" + "\n".join(self.trace.lines[-40:]))

    def call_by_call(self) -> Iterator[int]:
        """The world goes its way until there's nothing more to do: before each call how many there were already."""
        made = 0
        for _ in range(2000):
            while self.replica.deliver(0, 100):
                pass
            if self.replica.passes:
                yield made
            step = self._step_of(self.replica)
            made += not isinstance(step, bool)
            if not step and not self.world.advance(0, kind=True):
                if all(run.status.phase.final for run in self.api.runs.values()):
                    return
                self.wake()
        raise AssertionError("\n".join(self.trace.lines[-40:]))

    @staticmethod
    def _step_of(replica: Replica, kind: type[Any] | None = None, mode: Mode = Mode.NORMAL) -> Any:
        """One step: the call that was made; True where a pass began, False where there was nothing to do."""
        ready = replica.ready()
        if not ready:
            return False
        under_way = replica.passes.get(ready[0])
        pending = [under_way.batch[index] for index in under_way.todo] if under_way else []
        wanted = [index for index, call in enumerate(pending) if kind and isinstance(call, kind)]
        if wanted:
            return replica.step(ready[0], wanted[0], mode) or True
        return replica.step(ready[0]) or True

    def go_on(self, times: int = 1) -> None:
        """The Pods get on: onto a node, into their start, to a good end."""
        for _ in range(times):
            assert self.world.advance(0, kind=True), "no Pod can get on"

    def wake(self) -> None:
        """Time goes by until an operator wants to look again, and it looks."""
        alarm = self.replica.next_alarm()
        assert alarm is not None, "nothing is waited for"
        self.api.now = max(self.api.now, alarm)
        self.work()

    def collect_pods(self) -> None:
        """Pod GC takes the Pods that have ended; finalizers still hold them."""
        for pod in [pod for pod in self.api.pods.values() if pod.ended]:
            self.api.delete_pod(pod.metadata.uid, force=True)

    def finish(self) -> None:
        """Peace until all has ended; whoever or whatever is stuck then is an AssertionError."""
        stuck = self.tail()
        assert stuck is None, "\n".join([*self.trace.lines[-60:], str(stuck)])

    def run(self, name: str = "r") -> Run:
        """A run as the API server has it."""
        return self.api.runs[name]

    def phases(self) -> dict[str, str]:
        """How all runs stand."""
        return {name: run.status.phase.value for name, run in self.api.runs.items()}

    def made(self) -> dict[str, int]:
        """How often a Pod of each name was created since the beginning."""
        changes = self.api.pod_history.changes
        return dict(Counter(after.name for before, after in changes if before is None and after is not None))

    def opened(self) -> list[str]:
        """The Pods, by name, whose gates were opened since the beginning: only those could ever start."""
        return [
            after.name
            for before, after in self.api.pod_history.changes
            if before is not None and after is not None and before.gated and not after.gated
        ]

    def pod(self) -> Pod:
        """The only Pod."""
        (pod,) = self.api.pods.values()
        return pod
