"""How the end of an attempt is read from its Pod."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adze.core.pods import (
    INLINE_LIMIT,
    ContainerState,
    ContainerStatus,
    Outcome,
    Pod,
    Terminated,
    outcome,
    parse_output,
)
from tests.builders import (
    NOW,
    deleting,
    disrupted,
    failed,
    lost,
    opened,
    placed,
    pod,
    running,
    succeeded,
    unschedulable,
    waiting,
    with_condition,
    with_sidecar,
    with_status,
)


@dataclass(frozen=True)
class Case:
    """A Pod and what is made of it."""

    name: str
    pod: Pod
    reason: str | None
    message: str | None = None
    exit_code: int | None = None
    infrastructure: bool = False
    output: dict[str, Any] | None = field(default=None)


PREEMPTED = "preempting to make room"
CASES = [
    Case("success", succeeded(pod()), None, exit_code=0),
    Case("success with output", succeeded(pod(), {"sum": 3}), None, exit_code=0, output={"sum": 3}),
    Case("success while being deleted", deleting(succeeded(pod(), {"a": 1})), None, exit_code=0, output={"a": 1}),
    Case("success of a disrupted Pod", succeeded(disrupted(pod()), {"a": 1}), None, exit_code=0, output={"a": 1}),
    Case("a code of its own", failed(pod(), 3), "ExitCode", "exit code 3", 3),
    Case("last words", failed(pod(), 1, "no such file\n"), "ExitCode", "exit code 1: no such file", 1),
    Case("killed", failed(pod(), 137), "ExitCode", "exit code 137 (SIGKILL)", 137),
    Case("terminated", failed(pod(), 143, "bye"), "ExitCode", "exit code 143 (SIGTERM): bye", 143),
    Case("segmentation fault", failed(pod(), 139), "ExitCode", "exit code 139 (SIGSEGV)", 139),
    Case("128 is no signal", failed(pod(), 128), "ExitCode", "exit code 128", 128),
    Case("255 is no signal", failed(pod(), 255), "ExitCode", "exit code 255", 255),
    Case("out of memory", failed(pod(), 137, reason="OOMKilled"), "OOMKilled", "exit code 137 (SIGKILL)", 137),
    Case(
        "cannot start",
        failed(pod(), 128, 'exec: "pya": not found', "StartError"),
        "StartError",
        'exit code 128: exec: "pya": not found',
        128,
    ),
    Case("evicted", lost(pod()), "Evicted", "The node was low on resource: memory.", infrastructure=True),
    Case("node shut down", lost(pod(), "NodeShutdown", ""), "NodeShutdown", "NodeShutdown", infrastructure=True),
    Case("no room after all", lost(pod(), "OutOfcpu", "no cpu"), "OutOfcpu", "no cpu", infrastructure=True),
    Case(
        "preempted",
        failed(disrupted(pod()), 143),
        "PreemptionByScheduler",
        f"exit code 143 (SIGTERM): {PREEMPTED}",
        143,
        infrastructure=True,
    ),
    Case(
        "preempted and deleted",
        deleting(failed(disrupted(pod()), 137)),
        "PreemptionByScheduler",
        f"exit code 137 (SIGKILL): {PREEMPTED}",
        137,
        infrastructure=True,
    ),
    Case(
        "a disruption that didn't come",
        failed(with_condition(pod(), "DisruptionTarget", "False", "PreemptionByScheduler"), 1),
        "ExitCode",
        "exit code 1",
        1,
    ),
    Case(
        "node lost",
        with_status(failed(pod(), 137, reason="ContainerStatusUnknown"), reason=""),
        "NodeLost",
        "exit code 137 (SIGKILL)",
        137,
        infrastructure=True,
    ),
    Case(
        "kubelet's deadline",
        lost(pod(), "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),
        "Timeout",
        "Pod was active on the node longer than the specified deadline",
    ),
    Case(
        "deleted while it ran",
        deleting(failed(pod(), 137)),
        "PodDeleted",
        "exit code 137 (SIGKILL): the Pod was deleted while it ran",
        137,
    ),
    Case(
        "deleted behind its gate", deleting(pod()), "PodDeleted", "the Pod was deleted before it was placed on a node"
    ),
    Case(
        "deleted while unschedulable",
        deleting(unschedulable(opened(pod()))),
        "PodDeleted",
        "the Pod was deleted before it was placed on a node",
    ),
    Case("failed without a word", lost(pod(), "", ""), "PodFailed", "PodFailed"),
    Case(
        "succeeded without a word",
        with_status(placed(pod()), phase="Succeeded"),
        "StatusLost",
        "the Pod succeeded but its container's state is gone",
        infrastructure=True,
    ),
    Case(
        "side container still runs",
        with_sidecar(with_status(succeeded(pod(), {"a": 1}), phase="Running"), ContainerState()),
        None,
        exit_code=0,
        output={"a": 1},
    ),
    Case("not JSON", succeeded(pod(), "done"), "OutputInvalid", exit_code=0),
    Case("array", succeeded(pod(), [1]), "OutputInvalid", "the output must be a JSON object, not an array", 0),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_end_is_read(case: Case) -> None:
    found = outcome(case.pod)
    assert found is not None
    assert (found.reason, found.exit_code, found.infrastructure) == (case.reason, case.exit_code, case.infrastructure)
    assert found.output == case.output
    assert case.message is None or found.message == case.message


@pytest.mark.parametrize(
    "living",
    [
        pod(),
        opened(pod()),
        unschedulable(opened(pod())),
        placed(pod()),
        waiting(pod(), "ImagePullBackOff"),
        running(pod()),
        deleting(running(pod())),
        deleting(placed(pod())),
        disrupted(running(pod())),
        with_sidecar(running(pod()), ContainerState(terminated=Terminated(exit_code=1))),
    ],
)
def test_what_may_still_run_has_no_end(living: Pod) -> None:
    assert outcome(living) is None


def test_an_end_has_the_times_of_the_container() -> None:
    found = outcome(failed(pod(), 1))
    assert found == Outcome("ExitCode", "exit code 1", 1, start=NOW, finish=NOW)


def test_long_last_words_keep_their_end() -> None:
    found = outcome(failed(pod(), 1, "x" * 5000 + "the end"))
    assert found is not None
    assert found.message is not None
    assert len(found.message) == 2048
    assert found.message.endswith("the end")


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("", None),
        (" \n", None),
        ("{}", {}),
        ('{"a": {"b": [1, 2.5, null, true, "x"]}}\n', {"a": {"b": [1, 2.5, None, True, "x"]}}),
        ('{"big": 12345678901234567890123}', {"big": 12345678901234567890123}),
        ('{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_an_output_is_a_json_object_or_nothing(message: str, wanted: dict[str, Any] | None) -> None:
    assert parse_output(message) == (wanted, None)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("hello", "the output is not JSON"),
        ("{'a': 1}", "the output is not JSON"),
        ('{"a": 1', "the output is not JSON"),
        ('{"a": 1} {"b": 2}', "the output is not JSON"),
        ('{"a": NaN}', "the output is not JSON"),
        ('{"a": Infinity}', "the output is not JSON"),
        ("[]", "not an array"),
        ('"text"', "not a string"),
        ("5", "not a number"),
        ("1.5", "not a number"),
        ("true", "not a boolean"),
        ("null", "not null"),
        ("[" * 1000 + "]" * 1000, ""),
        ('{"a":' * 800, "the output is not JSON"),
    ],
)
def test_anything_else_is_invalid(message: str, words: str) -> None:
    value, problem = parse_output(message)
    assert value is None
    assert problem is not None
    assert problem[0] == "OutputInvalid"
    assert words in problem[1]


@pytest.mark.parametrize("message", ["[" * 10**5, '{"a":' * 10**5, "x" * INLINE_LIMIT, "ü" * (INLINE_LIMIT // 2)])
def test_what_the_node_had_to_cut_is_too_large(message: str) -> None:
    assert parse_output(message)[1] == (
        "OutputTooLarge",
        "the output is larger than 4096 bytes, of which the node keeps only the end: "
        "set largeOutput: true and hand it over by `adze output`",
    )


def test_an_output_may_fill_the_limit_to_the_last_byte() -> None:
    whole = '{"a":"' + "x" * (INLINE_LIMIT - 8) + '"}'
    assert len(whole) == INLINE_LIMIT
    assert parse_output(whole)[1] is None
    assert parse_output(whole[1:] + "}")[1] is not None


@given(st.text())
def test_any_text_is_read_or_refused(message: str) -> None:
    value, problem = parse_output(message)
    assert value is None or isinstance(value, dict)
    assert value is None or problem is None


def test_an_init_container_that_fails_is_named() -> None:
    ended = ContainerState(terminated=Terminated(exit_code=3, reason="Error", message="no such host"))
    init = ContainerStatus(name="fetch", state=ended)
    seen = outcome(with_status(placed(pod()), phase="Failed", init_container_statuses=(init,)))
    assert seen is not None
    assert (seen.reason, seen.exit_code) == ("InitContainerFailed", 3)
    assert seen.message == "init container fetch: exit code 3: no such host"
