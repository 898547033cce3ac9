"""Approvals without a cluster: given beforehand, or asked for on the terminal. Nobody vouches for names here."""

import asyncio
import getpass
import sys
from collections.abc import Callable, Collection, Iterator

from adze.core.model import Approval, Decision, Run, Step, WorkflowSpec

WAITING = "WaitingForApproval"
ANSWERS = {"y": Decision.APPROVED, "yes": Decision.APPROVED, "n": Decision.DENIED, "no": Decision.DENIED}


def needed(spec: WorkflowSpec) -> list[Step]:
    """The steps that somebody decides about."""
    return [step for step in spec.every_step() if step.approval]


def decision(step: Step, verdict: Decision) -> Approval:
    """A decision about a step: by whoever runs adze, or in the name of its first approver if that isn't one."""
    assert step.approval is not None
    try:
        me = getpass.getuser()
    except (KeyError, OSError):
        me = "local"
    approvers = step.approval.approvers
    return Approval(step=step.name, by=me if not approvers or me in approvers else approvers[0], decision=verdict)


def refusals(spec: WorkflowSpec, given: Collection[str], *, terminal: bool) -> Iterator[str]:
    """Why a run would wait for ever: an approval that nobody gives. And approvals of steps that ask for none."""
    steps = [step.name for step in needed(spec)]
    for name in given:
        if name not in steps:
            yield f"--approve {name}: no step of that name waits for an approval"
    if not terminal:
        yield from (
            f"step {name} waits for an approval: add --approve {name}, or run this on a terminal"
            for name in steps
            if name not in given
        )


class Desk:
    """Asks on the terminal about steps that wait, one after the other."""

    def __init__(self, say: Callable[[str], None], decide: Callable[[str, Decision], None]) -> None:
        self._say = say
        self._decide = decide
        self._asked: str | None = None

    def change(self, run: Run) -> None:
        """The run has changed: ask about the first step that waits, unless a question is open."""
        waiting = {step.name: step.message for step in run.status.steps if step.reason == WAITING}
        if self._asked not in waiting:
            self._asked = next(iter(waiting), None)
            if self._asked:
                self._say(f"{self._asked}: {waiting[self._asked]} Approve? [y/n]")

    def listen(self) -> None:
        """Take lines of the terminal as answers, until `close`."""
        asyncio.get_running_loop().add_reader(sys.stdin, self._hear)

    def close(self) -> None:
        """Read the terminal no more."""
        asyncio.get_running_loop().remove_reader(sys.stdin)

    def _hear(self) -> None:
        line = sys.stdin.readline()
        if not line:
            self.close()
            self._say("the terminal is closed: Ctrl-C ends, adze run --resume asks again")
            return
        step, answer = self._asked, ANSWERS.get(line.strip().lower())
        if step and answer:
            self._decide(step, answer)
        elif step:
            self._say(f"{step}: y approves it, n denies it")
