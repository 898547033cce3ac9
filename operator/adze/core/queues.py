"""Who wants which slots and who holds them: the memory of admission, and its decisions.

What is known here may lag behind the API server. It only chooses whom to admit and which slot to ask for; that no slot
is had twice is the API server's doing (`core.slots`), and what this memory believes can't change it.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from adze.core.caps import Caps
from adze.core.groups import Choice, Demand, Group, Key, Known
from adze.core.meter import Meter
from adze.core.model import Lease, Run, version
from adze.core.policy import Policy
from adze.core.slots import RUN, Dismissal, Need, Slot, Wait, Want, claimed, in_use
from adze.core.strategies import STRATEGIES, Line, Member

TOLD_AGAIN = timedelta(seconds=10)
"""A place in a queue is told anew after this much time for each place: who is far behind has no news."""
REMEMBERED = 10_000
"""Deleted Leases that are remembered, so that a late answer doesn't bring one back."""


class Queues:
    """All queues of one operator process."""

    def __init__(self, runs: Mapping[str, Run] | None = None, policy: Policy | None = None) -> None:
        """`runs` are all runs that are known, by UID."""
        runs = {} if runs is None else runs
        self._runs = runs
        self.meter = Meter(runs)
        self.caps = Caps(runs, policy or Policy())
        self._demands: dict[str, dict[str, Demand]] = {}
        self._groups: dict[Key, Group] = defaultdict(Group)
        self._held: dict[str, dict[str, Slot]] = defaultdict(dict)
        self._gone: dict[str, None] = {}
        self._dismissed: dict[str, Dismissal] = {}
        self._dirty: dict[str, set[str]] = defaultdict(set)
        self._later: dict[str, set[str]] = defaultdict(set)
        self._news: set[str] = set()
        self._turn = 0

    # What is known

    def ask(self, run: Run, wants: Sequence[Want], now: datetime) -> None:
        """All that a run wants now, in place of what it wanted before."""
        uid, namespace = run.metadata.uid, run.metadata.namespace
        before = self._demands.get(uid, {})
        if not before and not wants:
            self.caps.ask(run, {})
            return
        after: dict[str, Demand] = {}
        for want in wants:
            old = before.get(want.holder)
            demand = replace(old, run=run, want=want) if old else Demand(run, want)
            if old is None or old.want != want:
                demand.decided = False
            after[want.holder] = demand
        self._demands[uid] = after
        for holder, old in before.items():
            if holder not in after or after[holder].want != old.want:
                self._leave(run, old.want)
        for holder, demand in after.items():
            self.meter.join(demand, now)
            if holder not in before or before[holder].want != demand.want:
                for need in demand.want.needs:
                    member = Member(run.metadata.name, uid, need.key, demand.want)
                    self._groups[namespace, need.group].members[uid, holder] = member
                    self._dirty[namespace].add(need.group)
        self.caps.ask(run, after)
        if not after:
            del self._demands[uid]

    def _leave(self, run: Run, want: Want) -> None:
        self.meter.leave(run, want)
        for need in want.needs:
            self._groups[run.metadata.namespace, need.group].members.pop((run.metadata.uid, want.holder), None)
            self._dirty[run.metadata.namespace].add(need.group)

    def forget(self, run: Run) -> None:
        """The run is gone; its slots are freed once its Pods are."""
        for demand in self._demands.pop(run.metadata.uid, {}).values():
            self._leave(run, demand.want)
        self._dismissed.pop(run.metadata.uid, None)
        self.caps.ask(run, {})

    def see(self, old: Slot | None, new: Slot | None) -> None:
        """A difference among the slots' Leases, as a watch tells it: in order, if late."""
        slot = new or old
        assert slot is not None
        meta = slot.metadata
        group = self._groups[meta.namespace, slot.group]
        known = group.slots.get(meta.name)
        if new is None:
            self._gone[meta.uid] = None
            if len(self._gone) > REMEMBERED:
                del self._gone[next(iter(self._gone))]
            if known is None or known.metadata.uid != meta.uid:
                return
            group.remove(slot)
            self._held[slot.run_uid].pop(meta.name, None)
            if not self._held[slot.run_uid]:
                del self._held[slot.run_uid]
        elif known and version(known) >= version(new):
            return
        else:
            self._gone.pop(meta.uid, None)
            if known and known.run_uid != new.run_uid:
                self._held[known.run_uid].pop(meta.name, None)
            group.put(new)
            self._held[new.run_uid][meta.name] = new
            self._news.add(new.run_uid)
        self._dirty[meta.namespace].add(slot.group)
        self.meter.touch(meta.namespace)

    def hear(self, answer: Slot | Lease) -> None:
        """A slot, which may come after the news of its end, or an allowance, as a call's answer shows it."""
        if isinstance(answer, Lease):
            self.meter.hear(answer)
        elif answer.metadata.uid not in self._gone:
            self.see(None, answer)

    def known(self, namespace: str, group: str | None) -> Known:
        """The slots of a group, or of a namespace, as far as this memory knows."""
        slots = [
            slot
            for (place, name), known in self._groups.items()
            if place == namespace and group in (None, name)
            for slot in known.slots.values()
        ]
        return Known(slots, frozenset(self._gone))

    def listed(self, before: Known, found: Mapping[str, Slot]) -> None:
        """A quorum LIST has come: it overrules what was known before it was asked for, not what was learnt since."""
        uids = {slot.metadata.uid for slot in found.values()}
        for slot in before.slots:
            if slot.metadata.uid not in uids:
                self.see(slot, None)
        for slot in found.values():
            if slot.metadata.uid in before.gone or slot.metadata.uid not in self._gone:
                self.see(None, slot)

    # What a run's pass is told

    def asks(self, uid: str) -> bool:
        """Whether the run has to do with queues at present."""
        return uid in self._demands

    def holders(self) -> set[str]:
        """UIDs that slots bear."""
        return set(self._held)

    def namespaces(self) -> list[str]:
        """Where something has changed that admission hasn't looked at."""
        groups = [namespace for namespace, dirty in self._dirty.items() if dirty]
        return [*dict.fromkeys([*groups, *self.meter.namespaces(), *self.caps.namespaces()])]

    def slots_of(self, uid: str) -> tuple[Slot, ...]:
        """The slots that bear a run's UID."""
        return tuple(self._held.get(uid, {}).values())

    def granted(self, uid: str, now: datetime) -> frozenset[str]:
        """The holders of a run that have all the slots and units that they want."""
        demands = self._demands.get(uid, {})
        return frozenset(
            holder
            for holder, demand in demands.items()
            if self.holds(demand) and self.caps.has(demand) and self.meter.has(demand, now)
        )

    def dismissal(self, uid: str) -> Dismissal | None:
        """Why the run must not go on, if a strategy says so."""
        return self._dismissed.get(uid)

    def waits(self, uid: str, now: datetime) -> dict[str, Wait]:
        """Why each want of a run has no slots yet; none for those that admission hasn't looked at."""
        waits: dict[str, Wait] = {}
        for holder, demand in self._demands.get(uid, {}).items():
            if not demand.decided or demand.want.running:
                continue
            if demand.told is None or now >= demand.told.again or demand.refused:
                demand.told = self._explain(demand, now)
            waits[holder] = demand.told
            demand.told = replace(demand.told, news=False)
        return waits

    def _explain(self, demand: Demand, now: datetime) -> Wait:
        if demand.refused:
            return Wait(demand.refused, now + TOLD_AGAIN)
        if self.holds(demand) and not self.caps.has(demand) and not self.meter.waits(demand):
            return Wait(self.caps.explain(demand), now + TOLD_AGAIN, "Parallelism")
        if demand.want.takes and self.holds(demand):
            return self.meter.explain(demand, now)
        texts, position = [], 1
        for need in demand.want.needs:
            group = self._groups[demand.run.metadata.namespace, need.group]
            if next(group.free(need.limit), None) is None:
                ahead = sum(
                    not member.want.running and member.order < demand.want.order for member in group.members.values()
                )
                position = max(position, ahead + 1)
                texts.append(f"{_who(group, need)}; position {ahead + 1} in the queue")
        return Wait("; ".join(texts) or "about to be admitted", now + TOLD_AGAIN * position)

    def holds(self, demand: Demand) -> bool:
        """Whether a demand has all its slots."""
        place = demand.run.metadata.namespace
        key = demand.key
        for need in demand.want.needs:
            slot = self._groups[place, need.group].held.get(key)
            if slot is None or slot.marked:
                return False
        return True

    def news(self) -> set[str]:
        """UIDs of the runs that have something new to hear."""
        news, self._news = self._news | self.meter.news() | self.caps.news(), set()
        return news

    # What admission does

    def busy(self, namespace: str) -> bool:
        """Whether something has changed that admission hasn't looked at."""
        return bool(self._dirty.get(namespace)) or namespace in self.meter.namespaces() or self.caps.dirty

    def allot(self) -> bool:
        """Give the places under the caps to those who have their slots, and don't wait for units; whether any was."""
        stalled, eased = self.meter.stalled()
        for uid, holder in stalled:
            self.caps.give_up(self._demands[uid][holder])
        self.caps.dirty |= self.caps.on and eased
        given = self.caps.allot(lambda demand: self.holds(demand) and not self.meter.waits(demand))
        if given:
            self.meter.touch_all()
        return given

    def spoil(self, namespace: str, group: str) -> None:
        """Look at a group again."""
        self._dirty[namespace].add(group)

    def later(self, namespace: str, group: str) -> None:
        """Look at a group again in the next pass."""
        self._later[namespace].add(group)

    def due(self, namespace: str) -> None:
        """What was put off is looked at now."""
        self._dirty[namespace] |= self._later.pop(namespace, set())

    def refuse(self, demand: Demand, message: str) -> None:
        """The API server takes no Lease for this want; it's tried again."""
        demand.refused, demand.decided = message, True
        self._news.add(demand.run.metadata.uid)

    def choose(self, namespace: str, listed: Container[str] = ()) -> Choice:
        """Whom to admit, in every group of a namespace that has changed. `listed` groups are known for certain."""
        choice = Choice()
        reserved: dict[str, set[int]] = defaultdict(set)
        for name in sorted(self._dirty.pop(namespace, ())):
            group = self._groups[namespace, name]
            if not group.members and not group.slots:
                del self._groups[namespace, name]
                continue
            lost = [key for key, member in group.members.items() if member.want.running and self._lost(group, key)]
            if lost and name not in listed:
                # It may only not be known here: to take another would be one too many.
                choice.doubt.add(name)
                continue
            for key in lost:
                self._mourn(choice, self._demand(key), group.members[key].key)
                self._take(choice, self._demand(key), reserved)
            self._tidy(choice, group)
            self._rank(choice, namespace, name, reserved)
        return choice

    def _lost(self, group: Group, key: Key) -> bool:
        """Whether a slot is gone that is in use. A run that has just freed it may not have said so yet."""
        run = self._runs.get(key[0])
        return key not in group.held and (run is None or in_use(run, key[1]))

    def _mourn(self, choice: Choice, demand: Demand, key: str) -> None:
        if not demand.lost:
            demand.lost = True
            choice.lost.append((demand, key))

    def _tidy(self, choice: Choice, group: Group) -> None:
        """Slots that nobody wants any more, or whose giving back was broken off, are given back."""
        for slot in group.slots.values():
            demands = self._demands.get(slot.run_uid)
            run = next(iter(demands.values())).run if demands else None
            unwanted = (slot.run_uid, slot.holder) not in group.members and run and not claimed(run, slot.holder)
            if slot.marked or unwanted:
                choice.give_back.append(slot)

    def _rank(self, choice: Choice, namespace: str, name: str, reserved: dict[str, set[int]]) -> None:
        group = self._groups[namespace, name]
        waiting: list[Member] = []
        holding: list[Member] = []
        for key, member in group.members.items():
            if self._waits(key, member):
                waiting.append(member)
            elif member.want.running or key in group.held:
                holding.append(member)
        waiting.sort(key=lambda member: member.order)
        if not waiting and not holding:
            return
        need = next(need for need in (waiting or holding)[-1].want.needs if need.group == name)
        free = sum(1 for _ in group.free(need.limit, reserved[name]))
        free += sum((member.uid, member.want.holder) in group.held for member in waiting)
        ranking = STRATEGIES[need.strategy](Line(waiting, holding, need.limit, free, group.turns))
        for uid, (reason, by) in ranking.dismiss.items():
            self._dismiss(uid, reason, by, need)
        full = False  # and once it is, it stays so for all who come later
        for member in ranking.admit:
            key = (member.uid, member.want.holder)
            full = full or next(group.free(need.limit, reserved[name]), None) is None
            if (not full or key in group.held) and self._take(choice, self._demand(key), reserved):
                self._turn += 1
                group.turns[member.key] = self._turn
        for member in waiting:
            self._decided(choice, group, self._demand((member.uid, member.want.holder)))
        for member in holding:
            demand = self._demand((member.uid, member.want.holder))
            if not member.want.running and not demand.decided:
                # The slots were there before the want was: left from a process that is no more.
                demand.decided = True
                self._news.add(member.uid)

    def _waits(self, key: Key, member: Member) -> bool:
        return not (member.want.running or member.uid in self._dismissed or self.holds(self._demand(key)))

    def _decided(self, choice: Choice, group: Group, demand: Demand) -> None:
        """Who was not admitted holds nothing, and is told why."""
        slot = group.held.get(demand.key)
        taking = any(known is demand for known, _, _ in choice.take)
        if slot and not taking and slot not in choice.give_back:
            choice.give_back.append(slot)
        if not demand.decided and not taking:
            demand.decided = True
            self._news.add(demand.run.metadata.uid)

    def _demand(self, key: Key) -> Demand:
        return self._demands[key[0]][key[1]]

    def _dismiss(self, uid: str, reason: str, by: str, need: Need) -> None:
        if uid in self._dismissed or RUN not in self._demands.get(uid, {}):
            return
        what = f"key {need.key!r}" if need.key else "this workflow"
        message = f"run {by} took its place: {what} allows {need.limit} at a time ({need.strategy.value})"
        self._dismissed[uid] = Dismissal(reason, message, by)
        self._news.add(uid)

    def _take(self, choice: Choice, demand: Demand, reserved: dict[str, set[int]]) -> bool:
        """Choose a number in each group that the demand has no slot of: all of them, or none."""
        namespace, key = demand.run.metadata.namespace, demand.key
        if any(known is demand for known, _, _ in choice.take):
            return True
        taken: list[tuple[Demand, Need, int]] = []
        for need in demand.want.needs:
            group = self._groups[namespace, need.group]
            if key in group.held:
                continue
            number = next(group.free(need.limit, reserved[need.group]), None)
            if number is None:
                return False
            taken.append((demand, need, number))
        for _, need, number in taken:
            reserved[need.group].add(number)
        choice.take += taken
        demand.refused, demand.lost = None, False
        return True


def _who(group: Group, need: Need) -> str:
    """What is full, and who fills it."""
    runs = Counter(slot.run for slot in group.slots.values())
    names = ", ".join(list(runs)[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
    what = f"key {need.key!r}" if need.key else "the limit"
    return f"{what}: {len(group.slots)} of {need.limit} in use by {names}"
