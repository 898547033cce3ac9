"""Which finished runs of a workflow are too many."""

from collections.abc import Iterable
from datetime import UTC, datetime

from adze.core import revision as revisions
from adze.core.model import Phase, Run

_NEVER = datetime.min.replace(tzinfo=UTC)


def surplus(finished: Iterable[Run]) -> list[Run]:
    """The finished runs of one workflow beyond its retention, which the newest of them tells."""
    newest_first = sorted(finished, key=lambda run: run.status.finish_time or _NEVER, reverse=True)
    newest = next((run for run in newest_first if run.status.workflow_spec), None)
    if newest is None:
        return []
    retention = revisions.of_run(newest.status.revision or "", newest.status.workflow_spec or {}).spec.retention
    if retention is None:
        return []
    succeeded = [run for run in newest_first if run.status.phase is Phase.SUCCEEDED]
    failed = [run for run in newest_first if run.status.phase is not Phase.SUCCEEDED]
    limits = ((succeeded, retention.succeeded), (failed, retention.failed))
    return [run for runs, keep in limits if keep is not None for run in runs[keep:]]
