"""Workflows that no run can be made of: what is said, and at which field (design, section 3)."""

from typing import Any

import pytest

from adze.core import revision as revisions
from adze.core.model import WorkflowSpec
from adze.core.revision import InvalidWorkflow
from tests.builders import bare_step, step, workflow

CLOSED = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
TYPED = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


def problems(spec: WorkflowSpec) -> list[str]:
    with pytest.raises(InvalidWorkflow) as refused:
        revisions.compile_workflow(spec)
    return [str(problem) for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (workflow(step("a", parents=["a"])), "spec.steps[a].parents: a step must not be its own parent"),
        (workflow(step("a", parents=["b"])), "spec.steps[a].parents: there is no step 'b'"),
        (workflow(step("a"), step("a")), "spec.steps[a]: two steps have this name"),
        (workflow(bare_step("a")), "spec.steps[a].image: a container step needs an image, here or in spec.defaults"),
        (workflow(bare_step("a", command=["true"])), "spec.steps[a].image: a container step needs an image"),
        (workflow(step("a"), finally_=[bare_step("z")]), "spec.finally[z].image: a container step needs an image"),
        (workflow(step("a"), on_failure=step("a")), "spec.onFailure: the name 'a' is taken by another step"),
        (workflow(step("a"), finally_=[step("a")]), "spec.finally[a]: the name 'a' is taken by another step"),
        (
            workflow(step("a"), on_failure=step("z"), finally_=[step("z")]),
            "spec.finally[z]: the name 'z' is taken by another step",
        ),
        (workflow(step("a"), finally_=[step("z"), step("z")]), "spec.finally[z]: the name 'z' is taken"),
        (workflow(step("a"), on_failure=step("z", parents=["a"])), "spec.onFailure.parents: onFailure steps have no"),
        (workflow(step("a", run_if="Failed")), "spec.steps[a].runIf: says how parents must have ended, but"),
        (workflow(step("a"), finally_=[step("z", parents=["a"])]), "spec.finally[z].parents: finally steps have no"),
    ],
)
def test_a_graph_that_is_none(spec: WorkflowSpec, wanted: str) -> None:
    assert [found for found in problems(spec) if found.startswith(wanted)], problems(spec)


def test_a_cycle_is_printed_along_its_edges() -> None:
    (problem,) = problems(workflow(step("a", parents=["c"]), step("b", parents=["a"]), step("c", parents=["b"])))
    path = problem.partition("the steps form a cycle: ")[2]
    assert path in ("a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c")


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"when": "input.wat >"}, "spec.steps[b].when:1:12: Syntax error"),
        ({"timeout": "0s"}, "spec.steps[b].timeout: must be longer than 0s"),
        ({"start_timeout": "0h0m"}, "spec.steps[b].startTimeout: must be longer than 0s"),
        ({"when": "1"}, "spec.steps[b].when:1:1: must give bool, not int"),
        ({"when": "true ||\n wat"}, "spec.steps[b].when:2:2: unknown name 'wat'"),
        ({"when": "input.n == 'x'"}, "spec.steps[b].when:1:9: found no matching overload"),
        ({"when": "steps.nobody.output.ok"}, "spec.steps[b].when:1:20: there is no step 'nobody'"),
        ({"when": "steps.c.output.ok"}, "spec.steps[b].when:1:15: step 'c' is not upstream of this one"),
        ({"when": "steps.b.output.ok"}, "spec.steps[b].when:1:15: step 'b' is not upstream of this one"),
        ({"when": "steps.a.output.wat"}, "spec.steps[b].when:1:1: steps.a.output has no field 'wat'"),
        ({"when": "attempt.number > 1"}, "spec.steps[b].when:1:8: unknown name 'attempt'"),
        ({"when": "run.phase == ''"}, "spec.steps[b].when:1:4: run has no 'phase' here; it has name,"),
        ({"retry_when": "input.n == 1"}, "spec.steps[b].retryWhen:1:6: unknown name 'input'"),
        ({"retry_when": "attempt.exitcode != 64"}, "spec.steps[b].retryWhen:1:8: attempt has no 'exitcode' here"),
        ({"retry_when": "attempt.exitCode"}, "spec.steps[b].retryWhen:1:1: must give bool, not int"),
        ({"args": ["fine", "x ${wat}"]}, "spec.steps[b].args[1]:1:5: unknown name 'wat'"),
        ({"command": ["${input.n"]}, "spec.steps[b].command[0]:1:1: ${ has no closing brace"),
        ({"env": [{"name": "SUM", "value": "a ${wat}"}]}, "spec.steps[b].env.SUM:1:5: unknown name 'wat'"),
        ({"args": ["${steps.a.output.wat}"]}, "spec.steps[b].args[0]:1:1: steps.a.output has no field 'wat'"),
        ({"timeout": "5m", "backoff": {"base": "99999999h"}}, "spec.steps[b].backoff.base: "),
        ({"timeout": "99999999h"}, "spec.steps[b].timeout: "),
        ({"start_timeout": "99999999h"}, "spec.steps[b].startTimeout: "),
        ({"output": {"type": "thing"}}, "spec.steps[b].output: not a JSON Schema: "),
        ({"output": {"properties": 5, "additionalProperties": False}}, "spec.steps[b].output: not a JSON Schema: "),
        ({"output": {"$ref": "https://example.com/s.json"}}, "spec.steps[b].output: not a JSON Schema: "),
    ],
)
def test_a_step_that_cannot_work(fields: dict[str, Any], wanted: str) -> None:
    spec = workflow(step("a", output=CLOSED), step("b", parents=["a"], **fields), step("c"), input=TYPED)
    assert [found for found in problems(spec) if found.startswith(wanted)], problems(spec)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"timeout": "99999999h"}, "spec.timeout: "),
        ({"timeout": "9" * 30 + "h"}, "spec.timeout: "),
        ({"input": {"type": "thing"}}, "spec.input: not a JSON Schema: "),
        ({"input": {"properties": ["a"]}}, "spec.input: not a JSON Schema: "),
        ({"input": {"required": 5}}, "spec.input: not a JSON Schema: "),
        ({"input": {"properties": {"a": {"$ref": "file:///etc/passwd"}}}}, "spec.input: not a JSON Schema: "),
        ({"output": {"x": {"y": ["${wat}"]}}}, "spec.output.x.y[0]:1:3: unknown name 'wat'"),
        ({"output": {"x": "${steps.b.output}"}}, "spec.output.x:1:10: there is no step 'b'"),
        ({"defaults": {"retryWhen": "1"}}, "spec.steps[a].retryWhen:1:1: must give bool"),
        ({"retention": {"ttl": "99999999h"}}, "spec.retention.ttl: "),
    ],
)
def test_a_workflow_that_cannot_work(fields: dict[str, Any], wanted: str) -> None:
    spec = workflow(step("a"), **fields)
    assert [found for found in problems(spec) if found.startswith(wanted)], problems(spec)


def test_every_problem_is_told_at_once() -> None:
    found = problems(
        workflow(
            step("a", parents=["ghost"], when="wat"),
            bare_step("b", args=["${", "${nope}"], timeout="99999999h"),
            output={"x": "${steps.c.output}"},
        )
    )
    assert len(found) == 7, found


def test_fields_of_a_closed_input_are_checked_wherever_they_are_read() -> None:
    whole = workflow(
        step("a", args=["${input.n}", "${input.m}"], when="input.all(k, k != '') && has(input.o)"),
        input=CLOSED,
        output={"p": "${input.p}"},
    )
    assert problems(whole) == [
        "spec.steps[a].when:1:30: input has no field 'o': its schema allows no others",
        "spec.steps[a].args[1]:1:1: input has no field 'm': its schema allows no others",
        "spec.output.p:1:1: input has no field 'p': its schema allows no others",
    ]


@pytest.mark.parametrize("name", ["import", "loop", "package", "for", "function", "output", "has", "string", "type"])
def test_a_step_may_bear_a_name_that_cel_reserves(name: str) -> None:
    revisions.compile_workflow(workflow(step(name), step("after", parents=[name], when=f"steps.{name}.output.ok")))


@pytest.mark.parametrize("name", ["größe", "with space", "a-b", "class", "", "1st"])
def test_a_property_may_bear_any_name(name: str) -> None:
    schema = {"type": "object", "required": [name], "properties": {name: {"type": "string"}}}
    revisions.compile_workflow(workflow(step("a", args=[f"${{input[{name!r}]}}"]), input=schema))


def test_triggers_are_checked_with_the_workflow() -> None:
    triggers = {
        "events": [
            {"name": "a", "filter": "event.data.ok"},
            {"name": "b", "filter": "event.dat.ok == 1", "input": {"x": "${input.a}", "y": ["${event.id"]}},
            {"name": "c", "filter": "'text'"},
        ]
    }
    found = problems(workflow(step("a"), on=triggers))
    assert [problem.partition(": ")[0] for problem in found] == [
        "spec.on.events[1].filter:1:10",
        "spec.on.events[1].input.x:1:8",
        "spec.on.events[1].input.y[0]:1:1",
        "spec.on.events[2].filter:1:1",
    ]
