"""S26: a step that ends without an attempt as Cached has an output that the same step handed over under its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from adze.core.model import Run, StepStatus
from tests.sim.violation import Violation

if TYPE_CHECKING:
    from tests.sim.check import Checker


def reused(checker: Checker, run: Run, after: StepStatus) -> None:
    """A step has ended so."""
    checker.goals["entry reused"] += 1
    if run.spec.rerun_of:
        raise Violation("S26", f"{after.name} of a rerun was taken from the cache")
    if after.attempts:
        raise Violation("S26", f"{after.name} was taken from the cache and had attempts")
    for account in checker.accounts.values():
        source, known = account.run, account.steps.get(after.name)
        given = source.status.input if source.spec.rerun_of else source.spec.input
        same = (source.status.workflow_spec, given) == (run.status.workflow_spec, run.spec.input)
        worked = known is not None and known.phase == "Succeeded" and known.reason is None
        if same and known and worked and known.output == after.output:
            return
    raise Violation("S26", f"{after.name} of {run.metadata.name} has {msgspec.to_builtins(after.output)} from nowhere")
