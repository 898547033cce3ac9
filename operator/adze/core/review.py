"""What is wrong with a Workflow: the verdict of the operator's Ready condition and of `adze lint`."""

from adze.core import cron
from adze.core.model import WorkflowSpec
from adze.core.revision import InvalidWorkflow, Problem, digest, of_run


def problems(spec: WorkflowSpec) -> list[Problem]:
    """All of it: what stops its runs, and what is wrong with its triggers."""
    try:
        return cron.problems(spec, of_run(digest(spec), spec).input)
    except InvalidWorkflow as error:
        return [*error.problems, *cron.problems(spec, None)]
