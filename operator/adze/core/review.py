"""What is wrong with a Workflow: the verdict of the operator's Ready condition and of `adze lint`."""

from adze.core import cron, kinds
from adze.core.model import WorkflowSpec
from adze.core.pieces import Problem
from adze.core.policy import Policy
from adze.core.revision import InvalidWorkflow, digest, of_run, place


def problems(spec: WorkflowSpec, policy: Policy | None = None) -> list[Problem]:
    """What stops its runs, what is wrong with its triggers, and what an operator of that policy forbids."""
    try:
        revision = of_run(digest(spec), spec)
    except InvalidWorkflow as error:
        return [*error.problems, *cron.problems(spec, None)]
    rulings = (
        Problem(f"{place(node.step, node.stage)}.{field}", message)
        for node in revision.nodes.values()
        for field, message in (kinds.forbidden(node.step, policy) if policy else ())
    )
    return [*rulings, *cron.problems(spec, revision.input)]
