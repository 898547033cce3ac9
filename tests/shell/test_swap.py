"""The JSON patch of a status, applied by the library that others use."""

import jsonpatch
import msgspec
import pytest

from adze.core.model import Phase, RunStatus, StepStatus
from adze.shell.driver import swap

NOTHING = RunStatus()
NULLS = {"none": None, "deep": {"none": None, "list": [None, {"none": None}]}}
BEGUN = RunStatus(phase=Phase.RUNNING, message="going", progress="0/1", steps=(StepStatus(name="a"),))
ENDED = RunStatus(
    phase=Phase.SUCCEEDED,
    progress="1/1",
    output=NULLS,
    steps=(StepStatus(name="a", phase=Phase.SUCCEEDED, output=NULLS),),
)


@pytest.mark.parametrize(
    ("before", "after"), [(NOTHING, BEGUN), (BEGUN, ENDED), (ENDED, BEGUN), (NOTHING, NOTHING), (BEGUN, NOTHING)]
)
def test_a_patch_leads_from_a_status_to_the_next(before: RunStatus, after: RunStatus) -> None:
    stored = {"status": msgspec.to_builtins(before)} if before != NOTHING else {}
    patched = jsonpatch.apply_patch(stored, swap(before, after))["status"]
    # As the API server does, by the schema: of the status' own fields none may be null.
    assert {field: value for field, value in patched.items() if value is not None} == msgspec.to_builtins(after)


def test_only_what_differs_is_sent() -> None:
    assert swap(BEGUN, msgspec.structs.replace(BEGUN, message=None, progress="1/1")) == [
        {"op": "add", "path": "/status/message", "value": None},
        {"op": "add", "path": "/status/progress", "value": "1/1"},
    ]
    assert swap(BEGUN, BEGUN) == []
