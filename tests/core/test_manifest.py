"""The Pod that an attempt becomes."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from adze.core import manifest
from adze.core import revision as revisions
from adze.core.expressions import ExpressionError
from adze.core.manifest import CONTEXT_LIMIT, TooLarge
from adze.core.model import Attempt, Phase, Run, Step, StepStatus, WorkflowSpec
from adze.core.policy import Policy
from adze.core.values import Values
from tests.builders import POLICY, UID, run, step, workflow

GOLDEN = Path(__file__).parent / "golden"
CONTAINER = step(
    "charge",
    parents=["validate"],
    command=["pay", "--order=${input.order}"],
    args=["${steps.validate.output.sum}", "$(HOME)"],
    env=[
        {"name": "LEVEL", "value": "debug"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "bank", "key": "token"}}},
    ],
    env_from=[{"configMapRef": {"name": "shop"}}],
    image_pull_policy="Always",
    resources={"limits": {"cpu": "1"}},
    timeout="30s",
    start_timeout="90s",
)
DIRECT = {"trigger": "Direct", "scheduledTime": "2026-03-01T12:00:00Z"}
DONE = {
    "validate": StepStatus(name="validate", phase=Phase.SUCCEEDED, output={"sum": 3}),
    "charge": StepStatus(name="charge"),
}


def build(
    spec: WorkflowSpec,
    name: str = "a",
    *,
    owner: Run | None = None,
    steps: dict[str, StepStatus] | None = None,
    policy: Policy = POLICY,
    **given_input: Any,
) -> dict[str, Any]:
    whole = revisions.of_run(revisions.digest(spec), msgspec.to_builtins(spec))
    owner = owner or run("shop", input=given_input)
    values = Values(owner, given_input, steps or {name: StepStatus(name=name)})
    attempt = Attempt(number=2, pod="hello-1-x-2-abc")
    return manifest.build(owner, whole.nodes[name], attempt, values, policy)


def container_of(one: Step, **given_input: Any) -> dict[str, Any]:
    (container,) = build(workflow(one), one.name, **given_input)["spec"]["containers"]
    return dict(container)


def test_a_container_step_in_full() -> None:
    spec = workflow(step("validate"), CONTAINER, defaults={"env": [{"name": "REGION", "value": "eu"}]})
    whole = build(spec, "charge", steps=DONE, order="o-1")
    context = whole["metadata"]["annotations"].pop("adze.dev/context")
    assert msgspec.json.decode(context) == {
        "input": {"order": "o-1"},
        "steps": {"validate": {"output": {"sum": 3}, "phase": "Succeeded"}},
        "run": {"name": "hello-1", "namespace": "shop", "uid": UID, "workflow": "shop"} | DIRECT,
        "step": "charge",
        "attempt": 2,
    }
    assert whole == yaml.safe_load((GOLDEN / "container-pod.yaml").read_text())


def test_a_plain_container_step_says_nothing_it_needn_t() -> None:
    container = container_of(step("a"))
    assert not container.keys() & {"command", "args", "imagePullPolicy", "envFrom", "resources"}
    assert "activeDeadlineSeconds" not in build(workflow(step("a")))["spec"]


def test_a_script_step_becomes_a_file_of_the_worker_image() -> None:
    source = "print('${input.x} $(HOME)')"
    whole = build(workflow(step("a", script={"source": source})), policy=Policy(worker_image="worker:9"))
    (container,) = whole["spec"]["containers"]
    assert (container["image"], container["command"]) == ("worker:9", ["python3", "/adze/script"])
    assert "args" not in container
    assert whole["metadata"]["annotations"]["adze.dev/script"] == source
    items = whole["spec"]["volumes"][0]["downwardAPI"]["items"]
    assert [item["path"] for item in items] == ["context.json", "script"]


def test_a_script_may_bring_image_and_interpreter() -> None:
    script = {"source": "echo 1", "image": "bash:5", "command": ["bash", "-eu"]}
    container = container_of(step("a", script=script))
    assert (container["image"], container["command"]) == ("bash:5", ["bash", "-eu", "/adze/script"])


def expand(text: str, variables: dict[str, str]) -> str:
    """What the kubelet makes of a text (k8s.io/kubernetes third_party/forked/golang/expansion)."""

    def one(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return variables.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", one, text)


@pytest.mark.parametrize(
    ("written", "given_data", "wanted"),
    [
        ("$(HOME)", "", "/root"),
        ("$$(HOME)", "", "$(HOME)"),
        ("${input.d}", "$(HOME)", "$(HOME)"),
        ("${input.d}", "$$(HOME)", "$$(HOME)"),
        ("${input.d}", "costs $5 or $$", "costs $5 or $$"),
        ("$(HOME)/${input.d}", "$(HOME)", "/root/$(HOME)"),
        ("${input.d}$(HOME)", "$", "$/root"),
        ("${input.d}(HOME)", "$", "$(HOME)"),
        ("${{'a': input.d}}", "$(HOME)", '{"a":"$(HOME)"}'),
    ],
)
def test_the_kubelet_expands_what_the_author_wrote_and_never_data(written: str, given_data: str, wanted: str) -> None:
    variables = [{"name": "V", "value": written}]
    container = container_of(step("a", command=[written], args=[written], env=variables), d=given_data)
    for text in (*container["command"], *container["args"], container["env"][-1]["value"]):
        assert expand(text, {"HOME": "/root"}) == wanted


@given(st.text(alphabet="$()HOME{} "))
def test_data_reaches_the_step_whatever_is_in_it(data: str) -> None:
    container = container_of(step("a", args=["${input.d}", "<${input.d}>"]), d=data)
    expanded = [expand(text, {"HOME": "/root", "": "?", "H": "?", "M": "?", "O": "?"}) for text in container["args"]]
    assert expanded == [data, f"<{data}>"]


def test_values_become_texts() -> None:
    container = container_of(
        step("a", args=["${input.n}", "${input.f}", "${input.t}", "${input.none}", "${input.list}", "${input.text}"]),
        n=3,
        f=1.5,
        t=True,
        none=None,
        list=["a", {"b": 1}],
        text="plain",
    )
    assert container["args"] == ["3", "1.5", "true", "null", '["a",{"b":1}]', "plain"]


def test_a_failing_expression_is_an_expression_error() -> None:
    with pytest.raises(ExpressionError, match=r"input\.nothing"):
        container_of(step("a", args=["${input.nothing}"]))


def test_what_does_not_fit_beside_the_script_is_too_large() -> None:
    script = step("a", script={"source": "x" * 100_000})
    room = CONTEXT_LIMIT - 100_000 - len(build(workflow(script), x="")["metadata"]["annotations"]["adze.dev/context"])
    build(workflow(script), x="y" * room)
    with pytest.raises(TooLarge, match=f"{CONTEXT_LIMIT + 1} bytes; {CONTEXT_LIMIT} fit"):
        build(workflow(script), x="y" * (room + 1))
    with pytest.raises(TooLarge):
        build(workflow(script), x="ü" * (room // 2 + 1))


def test_a_clean_up_step_reads_how_everything_ended() -> None:
    steps = {
        "a": StepStatus(name="a", phase=Phase.FAILED, reason="ExitCode", message="exit code 3"),
        "b": StepStatus(name="b", phase=Phase.SUCCEEDED, output={"x": 1}),
        "tidy": StepStatus(name="tidy"),
    }
    spec = workflow(step("a"), step("b"), finally_=[step("tidy", args=["${run.phase}", "${steps.a.error}"])])
    whole = build(spec, "tidy", steps=steps)
    context = msgspec.json.decode(whole["metadata"]["annotations"]["adze.dev/context"])
    assert context["steps"] == {
        "a": {"output": {}, "phase": "Failed", "error": "ExitCode: exit code 3"},
        "b": {"output": {"x": 1}, "phase": "Succeeded"},
    }
    assert (context["run"]["phase"], context["run"]["error"]) == ("Failed", "a: ExitCode: exit code 3")
    assert whole["spec"]["containers"][0]["args"] == ["Failed", "ExitCode: exit code 3"]


def test_long_names_make_valid_labels_and_an_inline_run_has_no_workflow() -> None:
    spec = workflow(step("a"))
    labels = build(spec, owner=run(spec, name="r" * 250))["metadata"]["labels"]
    assert len(labels["adze.dev/run"]) <= 63
    assert "adze.dev/workflow" not in labels


def test_half_a_second_of_timeout_rounds_up() -> None:
    spec = workflow(step("a", timeout="1500ms", start_timeout="1s"))
    assert build(spec)["spec"]["activeDeadlineSeconds"] == 3
