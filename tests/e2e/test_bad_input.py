"""Bad input is refused when it's applied, or told by a condition that names the field; the operator stays up."""

from typing import Any

import pytest

from tests.e2e.kube import Kube, Object, run, run_of, shell, steps, workflow

TRUE = shell("true")


def step(name: str, **fields: Any) -> Object:
    """A step that does nothing."""
    return {"name": name, **TRUE, **fields}


REFUSED = {
    "self-parent": ([step("a", parents=["a"])], {}, "a step must not be its own parent"),
    "duplicate step": ([step("a"), step("a")], {}, "Duplicate value"),
    "two kinds": ([step("a", script={"source": "pass"})], {}, "a step must have exactly one kind"),
    "no kind": ([{"name": "a"}], {}, "a step must have exactly one kind"),
    "unknown field": ([step("a", retrys=3)], {}, "retrys"),
    "bad duration": ([step("a", timeout="5 minutes")], {}, "spec.steps[0].timeout"),
    "bad enum": ([step("a", backoff={"type": "Fast"})], {}, "spec.steps[0].backoff.type"),
    "bad name": ([step("A_b")], {}, "spec.steps[0].name"),
    "negative retries": ([step("a", retries=-1)], {}, "spec.steps[0].retries"),
    "no steps": ([], {}, "spec.steps"),
    "empty expression": ([step("a", when="")], {}, "spec.steps[0].when"),
}


@pytest.mark.parametrize(("nodes", "fields", "message"), REFUSED.values(), ids=REFUSED)
def test_the_api_server_refuses(kube: Kube, nodes: list[Object], fields: Object, message: str) -> None:
    assert message in kube.refused(workflow("bad", *nodes, **fields))


INVALID = {
    "cycle": ([step("a", parents=["c"]), step("b", parents=["a"]), step("c", parents=["b"])], "form a cycle"),
    "unknown parent": ([step("a", parents=["nope"])], "spec.steps[a].parents: there is no step 'nope'"),
    "bad CEL": ([step("a", when="1 +")], "spec.steps[a].when:1:4: Syntax error"),
    "missing step": (
        [step("a", env=[{"name": "X", "value": "n=${steps.b.output.n}"}])],
        "spec.steps[a].env.X:1:19: there is no step 'b'",
    ),
    "not upstream": ([step("a"), step("b", when="steps.a.phase == 'Failed'")], "add it to parents"),
    "wrong type": ([step("a"), step("b", parents=["a"], when="steps.a.phase == 3")], "found no matching overload"),
    "not a boolean": ([step("a", when="1 + 1")], "spec.steps[a].when:1:1: must give bool, not int"),
    "no image": ([{"name": "a", "command": ["true"]}], "spec.steps[a].image"),
    "bad schema": ([step("a", output={"type": "nonsense"})], "spec.steps[a].output: not a JSON Schema"),
}


@pytest.mark.parametrize(("nodes", "message"), INVALID.values(), ids=INVALID)
def test_the_workflow_says_what_is_wrong_with_it(kube: Kube, nodes: list[Object], message: str) -> None:
    kube.apply(workflow("bad", *nodes), run_of("of-bad", "bad"))
    seen = kube.until("reviewed", "workflow", "bad", lambda w: "conditions" in w.get("status", {}), timeout=10)
    ready = next(c for c in seen["status"]["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Invalid")
    assert message in ready["message"]
    status = kube.ended("of-bad", timeout=15)
    assert (status["phase"], status["reason"]) == ("Failed", "InvalidWorkflow")
    assert message in status["message"]
    assert kube.list("pods") == []


def test_a_mended_workflow_is_ready(kube: Kube) -> None:
    kube.apply(workflow("w", step("a", parents=["nope"])))
    kube.must("wait", "--for=condition=Ready=False", "workflow/w", "--timeout=10s")
    kube.apply(workflow("w", step("a")))
    kube.must("wait", "--for=condition=Ready", "workflow/w", "--timeout=10s")


def test_input_that_breaks_the_schema_starts_nothing(kube: Kube) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    kube.apply(run("r", step("a"), input=schema, spec={"input": {"n": "three"}}))
    status = kube.ended("r", timeout=15)
    assert (status["phase"], status["reason"]) == ("Failed", "InvalidInput")
    assert "spec.input.n" in status["message"]
    assert "InvalidInput" in kube.must("get", "events", "--field-selector", "involvedObject.name=r")
    assert kube.list("pods") == []


def test_input_with_a_nul_starts_nothing(kube: Kube) -> None:
    kube.apply(run("r", step("a", when="input.x == 'a'"), spec={"input": {"x": "a\0b"}}))
    status = kube.ended("r", timeout=15)
    assert (status["phase"], status["reason"]) == ("Failed", "InvalidInput")
    assert "a NUL character, which expressions can't read: at x" in status["message"]


def test_a_workflow_that_comes_late_is_waited_for(kube: Kube) -> None:
    kube.apply(run_of("r", "late"))
    kube.until("waiting", "workflowrun", "r", lambda r: r.get("status", {}).get("reason") == "WorkflowNotFound", 10)
    kube.apply(workflow("late", step("a")))
    assert kube.ended("r")["phase"] == "Succeeded"


def test_a_workflow_that_never_comes_fails_the_run(kube: Kube) -> None:
    kube.apply(run_of("r", "never"))
    status = kube.ended("r", timeout=90)
    assert (status["phase"], status["reason"]) == ("Failed", "WorkflowNotFound")
    assert "there is no Workflow 'never'" in status["message"]


@pytest.mark.parametrize("change", [{"input": {"n": 2}}, {"workflow": "other"}, {"input": None}])
def test_what_a_run_does_cannot_be_changed(kube: Kube, change: Object) -> None:
    kube.apply(run_of("r", "w", input={"n": 1}))
    changed = run_of("r", "w", input={"n": 1})
    changed["spec"] |= change
    changed["spec"] = {field: value for field, value in changed["spec"].items() if value is not None}
    assert f"{next(iter(change))} must not change" in kube.refused(changed)


def test_an_inline_workflow_cannot_be_changed(kube: Kube) -> None:
    kube.apply(run("r", step("a")))
    assert "workflowSpec must not change" in kube.refused(run("r", step("b")))


def test_a_run_needs_exactly_one_workflow(kube: Kube) -> None:
    both = run("r", step("a"), spec={"workflow": "w"})
    assert "exactly one of workflow and workflowSpec" in kube.refused(both)


def test_cancel_is_for_good(kube: Kube) -> None:
    kube.apply(run_of("r", "w", cancel=True))
    assert "cancel must not be undone" in kube.refused(run_of("r", "w", cancel=False))


OUTPUTS = {
    "not JSON": ("echo hello > $ADZE_OUTPUT", "OutputInvalid", "not JSON"),
    "not an object": ("echo '[1, 2]' > $ADZE_OUTPUT", "OutputInvalid", "must be a JSON object, not an array"),
    "too large": (
        "(printf '{\"x\": \"'; head -c 5000 /dev/zero | tr '\\0' y; printf '\"}') > $ADZE_OUTPUT",
        "OutputTooLarge",
        "larger than 4096 bytes",
    ),
    "against its schema": ('echo \'{"n": "one"}\' > $ADZE_OUTPUT', "OutputInvalid", "output.n"),
    "a NUL": (
        'echo \'{"x": "a\\u0000b"}\' > $ADZE_OUTPUT',
        "OutputInvalid",
        "a NUL character, which expressions can't",
    ),
    "last words with a NUL": ("printf 'sorry\\000now'; exit 3", "ExitCode", "exit code 3: sorry\ufffdnow"),
    "exit code": ("echo sorry; exit 3", "ExitCode", "exit code 3: sorry"),
    "signal": ("exit 137", "ExitCode", "exit code 137 (SIGKILL)"),
}


@pytest.mark.parametrize(("command", "reason", "message"), OUTPUTS.values(), ids=OUTPUTS)
def test_a_step_that_ends_badly_says_how(kube: Kube, command: str, reason: str, message: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    kube.apply(run("r", {"name": "a", "output": schema, **shell(command)}))
    status = kube.ended("r")
    assert status["phase"] == "Failed"
    assert steps(status)["a"]["reason"] == reason
    assert message in steps(status)["a"]["message"]
    assert status["message"].startswith(f"a: {reason}: ")
