"""A workflow checked, merged with its defaults and compiled."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adze.core import revision as revisions
from adze.core.model import Step, WorkflowSpec
from adze.core.revision import CLEANUP_TIMEOUT, START_TIMEOUT, Node, Stage
from tests.builders import IMAGE, bare_step, revision, step, workflow

DEFAULTS = {
    "image": "registry.example/base:2",
    "imagePullPolicy": "Always",
    "env": [{"name": "REGION", "value": "eu"}, {"name": "LEVEL", "value": "info"}],
    "resources": {"limits": {"cpu": "1"}},
    "retries": 2,
    "backoff": {"base": "7s"},
    "retryWhen": "attempt.exitCode != 64",
    "timeout": "5m",
    "startTimeout": "2m",
}


def node_of(one: Step, **fields: Any) -> Node:
    return revision(one, **fields).nodes[one.name]


def test_defaults_fill_what_a_step_leaves_open() -> None:
    node = node_of(bare_step("a"), defaults=DEFAULTS)
    assert node.step.image == "registry.example/base:2"
    assert node.step.image_pull_policy == "Always"
    assert node.step.retries == 2
    assert node.step.resources == {"limits": {"cpu": "1"}}
    assert node.backoff.base == "7s"
    assert node.retry_when is not None
    assert node.timeout == timedelta(minutes=5)
    assert node.start_timeout == timedelta(minutes=2)
    assert [variable.name for variable in node.step.env] == ["REGION", "LEVEL"]


def test_what_a_step_says_itself_wins() -> None:
    own = step("a", retries=0, timeout="1s", start_timeout="3s", backoff={"type": "Constant"}, retry_when="true")
    node = node_of(own, defaults=DEFAULTS)
    assert (node.step.image, node.step.retries) == (IMAGE, 0)
    assert (node.timeout, node.start_timeout) == (timedelta(seconds=1), timedelta(seconds=3))
    assert node.backoff.type.value == "Constant"
    assert node.retry_when is not None
    assert node.retry_when.source == "true"


def test_a_steps_own_variable_replaces_the_default_of_its_name_and_comes_after() -> None:
    own = step("a", env=[{"name": "LEVEL", "value": "debug"}, {"name": "MORE", "value": "1"}])
    variables = node_of(own, defaults=DEFAULTS).step.env
    assert [(one.name, one.value) for one in variables] == [("REGION", "eu"), ("LEVEL", "debug"), ("MORE", "1")]


def test_a_script_brings_its_own_image() -> None:
    node = node_of(step("a", script={"source": "print(1)"}), defaults=DEFAULTS)
    assert node.step.image is None
    assert node.step.retries == 2


def test_without_defaults_there_is_no_timeout_but_a_start_timeout() -> None:
    node = node_of(step("a"))
    assert node.timeout is None
    assert node.start_timeout == START_TIMEOUT
    assert revision(step("a")).timeout == timedelta(hours=24)


def test_only_clean_up_steps_have_a_timeout_of_their_own() -> None:
    whole = revision(step("a"), on_failure=step("alarm"), finally_=[step("tidy"), step("report", timeout="1m")])
    assert {name: node.timeout for name, node in whole.nodes.items()} == {
        "a": None,
        "alarm": CLEANUP_TIMEOUT,
        "tidy": CLEANUP_TIMEOUT,
        "report": timedelta(minutes=1),
    }


def test_steps_belong_to_stages_and_keep_their_order() -> None:
    whole = revision(
        step("c", parents=["b"]),
        step("b"),
        step("a"),
        on_failure=step("alarm"),
        finally_=[step("z"), step("y")],
    )
    stages = {stage: [node.name for node in whole.stage(stage)] for stage in Stage}
    assert stages == {
        Stage.GRAPH: ["c", "b", "a"],
        Stage.ON_FAILURE: ["alarm"],
        Stage.FINALLY: ["z", "y"],
    }
    assert whole.order == ("b", "a", "c")


def test_what_comes_last_may_read_every_step_before_it() -> None:
    revision(
        step("a"),
        step("b"),
        on_failure=step("alarm", args=["${steps.a.error} ${run.error}"], when="run.phase == 'Failed'"),
        finally_=[step("tidy", args=["${steps.b.output}", "${steps.alarm.phase}"])],
        output={"tidied": "${steps.tidy.phase}", "sum": "${steps.a.output.sum}"},
    )


@given(st.randoms(use_true_random=False))
def test_the_digest_stays_when_keys_change_places(random: Any) -> None:
    plain = msgspec.to_builtins(
        workflow(
            step("a", env=[{"name": "X", "value": "1"}], resources={"limits": {"cpu": "1", "memory": "1Gi"}}),
            input={"type": "object", "properties": {"n": {"type": "integer"}, "m": {"type": "string"}}},
            output={"n": "${input.n}", "m": 1},
        )
    )

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(member) for member in value] if isinstance(value, list) else value

    again = msgspec.convert(shuffled(plain), WorkflowSpec)
    assert revisions.digest(again) == revisions.digest(msgspec.convert(plain, WorkflowSpec))


@pytest.mark.parametrize(
    "other",
    [
        workflow(step("a"), step("b")),
        workflow(step("a", args=["2"])),
        workflow(step("a", args=["1"]), timeout="1h"),
        workflow(step("a", args=["1"]), output={}),
    ],
)
def test_the_digest_tells_workflows_apart(other: WorkflowSpec) -> None:
    assert revisions.digest(other) != revisions.digest(workflow(step("a", args=["1"])))


def test_the_order_of_steps_is_part_of_a_workflow() -> None:
    assert revisions.digest(workflow(step("a"), step("b"))) != revisions.digest(workflow(step("b"), step("a")))


def test_a_frozen_revision_is_compiled_once_for_all_its_runs() -> None:
    spec = msgspec.to_builtins(workflow(step("a")))
    assert revisions.of_run("digest", spec) is revisions.of_run("digest", dict(spec))
    assert revisions.of_run("digest", spec).digest == revisions.digest(workflow(step("a")))
