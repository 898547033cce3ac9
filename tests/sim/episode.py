"""One seed, one episode: a small world, some hundred words of trouble, then peace and quiet until all has ended.

Every word is one step, and what happens in it is a function of the word and of the state alone. So an episode can be
replayed from its words, and a failing one shrinks by leaving words out. Faults are points (freeze, thaw), never spans
counted in steps: spans don't shrink.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tests.sim import reruns, workflows
from tests.sim.api import Api
from tests.sim.check import Checker
from tests.sim.driver import WRITES, Driver
from tests.sim.profiles import DRAW, PROFILES, Profile
from tests.sim.replica import Mode, Replica
from tests.sim.trace import Trace
from tests.sim.violation import Violation
from tests.sim.world import World

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
TAIL = 5000
"""Steps after which a world at peace that hasn't come to rest is slow; after four times as many it's stuck."""
DAYS = 3
"""Days of peace after which a run that has not ended never will."""


@dataclass(slots=True)
class Setting:
    """What an episode starts from; a function of its seed."""

    seed: int
    profile: Profile
    replicas: int
    runs: tuple[tuple[int, int, int], ...]
    words: list[int]


def setting(seed: int, profile: str | None = None) -> Setting:
    """The world and the words of a seed."""
    random = Random(seed)
    drawn = random.choice(DRAW)
    chosen = PROFILES[profile] if profile else drawn
    replicas = random.choice(chosen.replicas)
    runs = tuple(
        (random.choice(chosen.sizes), random.randrange(workflows.SHAPES), random.randrange(8))
        for _ in range(random.choice(chosen.runs))
    )
    words = [random.getrandbits(64) for _ in range(chosen.words)]
    return Setting(seed, chosen, replicas, runs, words)


@dataclass(slots=True)
class Result:
    """How an episode went."""

    steps: int
    violation: Violation | None = None
    slow: bool = False
    goals: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)


def slots(profile: Profile) -> list[str]:
    """The action for each value of a word's first byte. What the weights leave over goes to the replicas."""
    table = [action for action, weight in profile.weights.items() for _ in range(weight)]
    assert len(table) <= 256, profile.name
    return table + ["step"] * (256 - len(table))


SLOTS = {name: slots(profile) for name, profile in PROFILES.items()}


class Episode:
    """A world, its replicas and the checker, for one run of some words."""

    def __init__(
        self, setting: Setting, *, trace: bool = False, driver: type[Driver] = Driver, goals: Counter[str] | None = None
    ) -> None:
        profile = setting.profile
        self.setting = setting
        self.profile = profile
        self.goals: Counter[str] = Counter() if goals is None else goals
        self.trace = Trace(on=trace)
        self.checker = Checker(self.goals, stripped=profile.stripped)
        self.api = Api(
            EPOCH,
            self.checker.run_changed,
            self.checker.pod_changed,
            self.checker.slots.changed,
            self.checker.rates.changed,
        )
        self.checker.api = self.api
        self.world = World(self.api, self.goals, self.trace, throttling=profile.rates, large=profile.large)
        make = driver(self.api)
        self.replicas = [
            Replica(f"replica {index + 1}", self.api, make, self.goals, self.trace, profile.cap)
            for index in range(setting.replicas)
        ]
        self.steps = 0
        self.slots = SLOTS[profile.name]
        self.actions: dict[str, Callable[[int], Any]] = self._actions()
        for index in range(len(setting.runs)):
            self._create(index)
        for replica in self.replicas:
            replica.start()

    def _actions(self) -> dict[str, Callable[[int], Any]]:
        world = self.world
        return {
            "step": self._step,
            "watch": self._watch,
            "node": lambda word: world.advance(word >> 16),
            "clock": self._clock,
            "crash": lambda word: self._replica(word).crash(),
            "freeze": lambda word: self._replica(word).freeze(True),
            "thaw": lambda word: self._replica(word).freeze(False),
            "relist": self._relist,
            "repeat": lambda word: self._replica(word).repeat(word >> 16),
            "lose": lambda word: self._replica(word).lose(word >> 16),
            "arrive": lambda word: self._replica(word).arrive(word >> 16),
            "cancel": lambda word: world.cancel(word >> 16),
            "suspend": lambda word: world.suspend(word >> 16),
            "delete run": lambda word: world.delete_run(word >> 16),
            "delete pod": lambda word: world.delete_pod(word >> 16),
            "evict": lambda word: world.evict(word >> 16),
            "node fails": lambda word: world.toggle_node(word >> 16),
            "quota": lambda word: self._toggle("quota"),
            "reject": lambda word: self._toggle("rejecting"),
            "squat": lambda word: world.squat(word >> 16),
            "strip": lambda word: world.strip(word >> 16),
            "collect": lambda word: world.collect(word >> 16),
            "create": self._recreate,
            "rerun": lambda word: reruns.ask(world, word >> 16),
            "limit": self._limit,
        }

    # Words

    def word(self, word: int) -> None:
        """One step of the scheduler."""
        self.steps += 1
        self.actions[self.slots[word & 255]](word)

    def settled(self) -> bool:
        """Whether all has ended and nobody is in the middle of anything: more words would change nothing."""
        return (
            all(run.status.phase.final for run in self.api.runs.values())
            and not self.api.pods
            and not self.api.slots
            and not any(replica.passes or replica.late or not replica.caught_up() for replica in self.replicas)
        )

    def _replica(self, word: int) -> Replica:
        return self.replicas[(word >> 8 & 255) % len(self.replicas)]

    def _step(self, word: int) -> None:
        """A replica goes on: it starts again, begins a pass, or does one call, which may go wrong."""
        replica = self._replica(word)
        if replica.mind is None:
            # Half of all lists after a crash lag, some of them far.
            replica.start((0, 0, word >> 40 & 3, word >> 40 & 31)[word >> 24 & 3])
            return
        ready = replica.ready()
        if not ready:
            # Nothing to do here: time is better spent by the others.
            if not self._watch(word) and not self.world.advance(word >> 16):
                self._clock(word)
            return
        profile = self.profile
        roll = word >> 24 & 4095
        mode = Mode.NORMAL
        if roll < profile.faulty:
            mode = (Mode.AMBIGUOUS, Mode.SLOW, Mode.LOST, Mode.LATE)[roll & 3]
        call = replica.step(ready[(word >> 16 & 255) % len(ready)], word >> 20 & 15, mode)
        if call is None:
            return
        fate = word >> 36 & 4095
        if fate < profile.crashing and type(call) in WRITES:
            replica.crash()
        elif fate >= 4096 - profile.freezing:
            replica.freeze(True)

    def _watch(self, word: int) -> bool:
        return self._replica(word).deliver(word >> 20, 1 + (word >> 40 & 3))

    def _relist(self, word: int) -> None:
        replica = self._replica(word)
        if replica.mind is not None and not replica.frozen:
            stale = (0, word >> 40 & 7)[word >> 16 & 1]
            kind = ("pods", "runs", "slots", "runs")[word >> 17 & 3]
            self.trace.say(replica.name, f"lists {kind} again{f', {stale} changes late' if stale else ''}")
            self.goals["stale list by a running replica"] += stale > 0
            replica.relist(kind, stale)

    def _clock(self, word: int) -> None:
        """Time passes: a blink, some seconds, up to the next alarm, or much at once."""
        kind = word >> 16 & 7
        if kind < 3:
            self._pass_time(timedelta(milliseconds=50 + (word >> 40 & 1023)))
        elif kind < 5:
            self._pass_time(timedelta(seconds=word >> 40 & 7))
        elif kind < 7:
            alarm = min((moment for r in self.replicas if (moment := r.next_alarm())), default=None)
            if alarm and alarm > self.api.now:
                self._pass_time(alarm - self.api.now)
        elif word >> 40 & 3 == 0:
            self.goals["clock jumped"] += 1
            self._pass_time(timedelta(minutes=word >> 42 & 63))

    def _pass_time(self, span: timedelta) -> None:
        self.api.now += span
        if self.trace.on:
            self.trace.lines.append(f"{(self.api.now - EPOCH).total_seconds():10.3f}s")

    def _toggle(self, what: str) -> None:
        on = not getattr(self.api, what)
        setattr(self.api, what, on)
        self.trace.world("sets", f"{what} to {on}")

    def _create(self, index: int, generation: int = 0) -> None:
        """A run, with its workflow inside, or by the name of a Workflow that comes first, later or never."""
        size, shape, how = self.setting.runs[index]
        shape = (shape + generation) % workflows.SHAPES
        name = f"r{index}"
        self.trace.world(f"a user creates a run of shape {size}/{shape}:", name)
        if self.profile.queues:
            self.api.create_run(name, workflows.queued(size, self.setting.runs[0][1], shape))
            return
        if self.profile.limits:
            self._limit(1) if not self.api.workflows else None
            self.api.create_run(name, workflows.named("w", shape))
            return
        if self.profile.rates:
            self.api.create_run(name, workflows.rated(size, self.setting.runs[0][1], shape))
            return
        if self.profile.large:
            self.api.create_run(name, workflows.large(size, shape))
            return
        if self.profile.cached:
            self.api.create_run(name, workflows.cached(size, self.setting.runs[0][1] + generation // 4, how % 4))
            return
        if how >= 3:
            self.api.create_run(name, workflows.inline(size, shape))
            return
        flow = f"w{index}"
        if how == 0:
            self.api.put_workflow(flow, workflows.workflow(size, shape))
        self.api.create_run(name, workflows.named(flow, shape))
        if how == 1:
            self.goals["Workflow applied after its run"] += 1
            self.api.put_workflow(flow, workflows.workflow(size, shape))

    def _limit(self, word: int) -> None:
        """A user changes the limit of the Workflow."""
        limit, (size, kind, _) = 1 + (word >> 16) % 3, self.setting.runs[0]
        self.trace.world(f"a user sets the limit to {limit} of", "w")
        self.goals["limit changed"] += 1
        self.api.put_workflow("w", workflows.limited(limit, size, kind))

    def _recreate(self, word: int) -> None:
        """A user makes a run again under a name that has become free, or edits a Workflow."""
        for index in range(len(self.setting.runs)):
            if f"r{index}" not in self.api.runs:
                self.goals["run made again under its name"] += 1
                self._create(index, word >> 40 & 7)
                return
            if f"w{index}" in self.api.workflows and word >> 16 & 1:
                self.goals["Workflow edited"] += 1
                size, shape, _ = self.setting.runs[index]
                self.api.put_workflow(f"w{index}", workflows.workflow(size, (shape + 1) % workflows.SHAPES))

    # Peace

    def tail(self) -> Violation | None:
        """No more faults: everybody gets on in turn until there's nothing left to do. What is stuck then stays so."""
        self.trace.say("", "--- the faults end ---")
        self._make_peace()
        begin, end = self.steps, self.api.now + timedelta(days=DAYS)
        while self.steps < begin + 4 * TAIL and self.api.now < end:
            if not self._round():
                return self.checker.stuck() or self._look_again()
        return self.checker.stuck() or Violation("L1", "all has ended, and the operator can't come to rest")

    def _look_again(self) -> Violation | None:
        """Whether looking at everything once more finds work that no event and no alarm had brought."""
        before = self.api.revision
        for replica in self.replicas:
            assert replica.mind is not None
            replica.mind.start()
        while self._round():
            pass
        return Violation("L1", "work was left that nobody had noticed") if self.api.revision > before else None

    def _make_peace(self) -> None:
        self.world.heal()
        self.world.resume()
        for pod in [pod for pod in self.api.pods.values() if not pod.metadata.labels]:
            self.api.delete_pod(pod.metadata.uid, force=True)
        for replica in self.replicas:
            while replica.arrive(0):
                pass
            replica.freeze(False)
            if replica.mind is None:
                replica.start()
            elif replica.lossy:
                # A change that a watch swallowed comes with the next list; nothing else would bring it.
                replica.relist("pods")
                replica.relist("runs")
                replica.relist("slots")

    def _round(self) -> bool:
        """Everybody's turn, then the clock; False once nothing moves."""
        moved = False
        for replica in self.replicas:
            while replica.deliver(0, 100):
                moved = True
            for uid in replica.ready():
                self.steps += 1
                replica.step(uid)
                moved = True
                while uid in replica.passes:
                    self.steps += 1
                    replica.step(uid)
        while self.world.collect(0):
            self.steps += 1
            moved = True
        if self.world.advance(self.steps, kind=True):
            self.steps += 1
            moved = True
        if moved:
            # Passes that only repeat themselves must not stop the clock.
            self.api.now += timedelta(milliseconds=10)
            return True
        alarm = min((moment for replica in self.replicas if (moment := replica.next_alarm())), default=None)
        if alarm is None:
            return False
        self._pass_time(max(alarm - self.api.now, timedelta(milliseconds=1)))
        return True


def run(
    setting: Setting,
    words: Sequence[int] | None = None,
    *,
    trace: bool = False,
    driver: type[Driver] = Driver,
    goals: Counter[str] | None = None,
) -> Result:
    """Run an episode, or the same world with other words."""
    episode = Episode(setting, trace=trace, driver=driver, goals=goals)
    violation = None
    peace = 0
    try:
        for word in setting.words if words is None else words:
            episode.word(word)
            if episode.steps & 15 == 0 and episode.settled():
                break
        peace = episode.steps
        violation = episode.tail()
    except Violation as found:
        violation = found
    if violation and trace:
        episode.trace.lines.append(f"VIOLATION {violation}")
    slow = bool(peace) and episode.steps - peace > TAIL
    return Result(episode.steps, violation, slow, episode.goals, episode.trace.lines)


def shrink(setting: Setting, words: Sequence[int], fails: Callable[[Sequence[int]], bool]) -> list[int]:
    """Fewer words that still fail (delta debugging): leave out ever smaller parts while that keeps the failure."""
    best = list(words)
    size = max(1, len(best) // 2)
    while True:
        start, left_out = 0, False
        while start < len(best):
            shorter = best[:start] + best[start + size :]
            if fails(shorter):
                best, left_out = shorter, True
            else:
                start += size
        if size == 1 and not left_out:
            return best
        size = max(1, size // 2)
