"""A run that is driven with a Workflow, and with slots: whoever asks for some gets them while it's allowed."""

from dataclasses import replace

import msgspec

from adze.core import planner, slots, upkeep
from adze.core.model import Run, Workflow
from adze.core.observed import Observed
from adze.core.planner import Plan
from adze.core.slots import Slot, Wait, Want
from tests.builders import Drive, seconds


class Keeper(Drive):
    """Keeps what the API server keeps besides runs and Pods."""

    def __init__(self, run: Run, workflow: Workflow | None = None, *, admits: bool = True) -> None:
        super().__init__(None, begun=run)  # type: ignore[arg-type]
        self.workflow = workflow
        self.admits = admits
        self.slots: list[Slot] = []
        self.wants: tuple[Want, ...] = ()

    def admit(self) -> "Keeper":
        """From here on who asks gets slots."""
        self.admits = True
        self.until_quiet()
        return self

    def _plan(self, fresh: bool) -> Plan:
        known, plan = self.wants, super()._plan(fresh)
        self.wants = plan.wants
        lacking = [want for want in self.wants if self.admits and not self._has(want)]
        for want in lacking:
            self._take(want)
        # What is wanted, and what became of it, is news for the next plan.
        return self._plan(fresh) if lacking or self.wants != known else plan

    def _begin(self) -> Plan:
        return planner.begin(self.run, self.workflow, self.now)

    def _observed(self, fresh: bool = False) -> Observed:
        granted = frozenset(want.holder for want in self.wants if self._has(want))
        waits = {
            want.holder: Wait("somebody has it", self.now + seconds(10))
            for want in self.wants
            if want.holder not in granted
        }
        return replace(super()._observed(fresh), slots=tuple(self.slots), granted=granted, waits=waits)

    def _has(self, want: Want) -> bool:
        held = {(slot.group, slot.holder) for slot in self.slots}
        return all((need.group, want.holder) in held for need in want.needs)

    def _take(self, want: Want) -> None:
        held = {(slot.group, slot.holder) for slot in self.slots}
        for need in want.needs:
            if (need.group, want.holder) not in held:
                lease = slots.lease(self.run, want, need, 0, self.now)
                self.slots.append(msgspec.convert(lease, Slot))

    def _do_chores(self) -> bool:
        idle = upkeep.chores(self.run, self._observed(), self.now).free
        self.slots = [slot for slot in self.slots if slot not in idle]
        return super()._do_chores()
