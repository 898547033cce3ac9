"""What lint says about a file, and where."""

from pathlib import Path

import pytest

from adze.lint.check import Checked, check_files
from adze.lint.formats import as_text

HEAD = "apiVersion: adze.dev/v1alpha1\nkind: Workflow\nmetadata: {name: w}\nspec:\n"
SCRIPT = "    script: {source: x}\n"


def check(tmp_path: Path, text: str) -> Checked:
    (tmp_path / "f.yaml").write_text(text)
    return check_files([str(tmp_path / "f.yaml")])


def said(tmp_path: Path, text: str) -> list[str]:
    return as_text(check(tmp_path, text).findings).replace(f"{tmp_path}/", "").splitlines()


def lines(*steps: str) -> str:
    return HEAD + "  steps:\n" + "".join(steps)


PLACES = {
    "an unknown field": (
        lines("  - name: a\n    retires: 3\n", SCRIPT),
        "f.yaml:7:5: error: spec.steps[a].retires: unknown field 'retires'; did you mean 'retries'? [unknown-field]",
    ),
    "a bound": (
        lines("  - name: a\n    retries: 101\n", SCRIPT),
        "f.yaml:7:14: error: spec.steps[a].retries: 101 is greater than the maximum of 100 [schema]",
    ),
    "a boolean in place of a text": (
        lines("  - name: y\n", SCRIPT),
        'f.yaml:6:11: error: spec.steps[0].name: true is not of type "string"; a bare y is a boolean: quote it '
        "[schema]",
    ),
    "a rule": (
        lines("  - name: a\n", SCRIPT, "    image: x:1\n"),
        "f.yaml:6:5: error: spec.steps[a]: a step must have exactly one kind: script, job, workflow, sleep, approval, "
        "waitFor, or a container (image, command, args) [schema]",
    ),
    "an approval for each item": (
        lines('  - {name: a, forEach: "[1]", approval: {message: x}}\n'),
        "f.yaml:6:5: error: spec.steps[a]: an approval is asked for once: no forEach. Let a step with forEach have it "
        "as its parent [schema]",
    ),
    "a name twice": (
        lines("  - name: a\n", SCRIPT, "  - name: a\n", SCRIPT),
        "f.yaml:8:5: error: spec.steps[a]: 'a' is there twice [schema]",
    ),
    "a bare expression": (
        lines("  - name: a\n    when: run.nmae == 'x'\n", SCRIPT),
        "f.yaml:7:14: error: spec.steps[a].when: run has no 'nmae' here; it has name, namespace, "
        "scheduledTime, trigger, uid, workflow "
        "[workflow]",
    ),
    "an expression in a quoted text": (
        lines('  - name: a\n    env: [{name: X, value: "n=${steps.b.output.n}"}]\n', SCRIPT),
        "f.yaml:7:47: error: spec.steps[a].env[X]: there is no step 'b' [workflow]",
    ),
    "an expression in a block": (
        lines("  - name: a\n    env:\n    - name: X\n      value: |\n        hello\n        ${bla}\n", SCRIPT),
        "f.yaml:11:11: error: spec.steps[a].env[X]: unknown name 'bla'; here are known: input, run [workflow]",
    ),
    "a default": (
        HEAD
        + "  defaults: {retryWhen: attempt.exit != 3}\n  steps:\n  - name: a\n"
        + SCRIPT
        + "  - name: b\n"
        + SCRIPT,
        "f.yaml:5:32: error: spec.defaults.retryWhen: attempt has no 'exit' here; it has exitCode, message, number, "
        "reason [workflow]",
    ),
    "a parent": (
        lines("  - name: a\n    parents: [b]\n", SCRIPT),
        "f.yaml:7:14: error: spec.steps[a].parents: there is no step 'b' [workflow]",
    ),
    "onFailure": (
        lines("  - name: a\n", SCRIPT) + "  onFailure:\n    name: f\n    timeout: 0s\n" + SCRIPT,
        "f.yaml:10:14: error: spec.onFailure.timeout: must be longer than 0s; leave it out for the default [workflow]",
    ),
    "the run's output": (
        lines("  - name: a\n", SCRIPT) + "  output:\n    m: ${steps.b.output.m}\n",
        "f.yaml:9:24: error: spec.output.m: there is no step 'b' [workflow]",
    ),
    "another version": (
        lines("  - name: a\n", SCRIPT).replace("v1alpha1", "v1"),
        "f.yaml:1:13: error: apiVersion: must be adze.dev/v1alpha1 for a Workflow, not 'adze.dev/v1' [kind]",
    ),
    "another kind": (
        lines("  - name: a\n", SCRIPT).replace("Workflow", "Workflows"),
        "f.yaml:2:7: error: kind: adze.dev has no kind 'Workflows'; did you mean 'Workflow'? [kind]",
    ),
    "a bad name": (
        lines("  - name: a\n", SCRIPT).replace("name: w", "name: W_1"),
        "f.yaml:3:18: error: metadata.name: must be lower-case letters, digits, '-' and '.', at most 253 of them, "
        "not 'W_1' [kind]",
    ),
    "a bad beginning of a name": (
        lines("  - name: a\n", SCRIPT).replace("name: w", "generateName: -w"),
        "f.yaml:3:26: error: metadata.generateName: must be lower-case letters, digits, '-' and '.', at most 253 of "
        "them, not '-w' [kind]",
    ),
    "no name": (
        lines("  - name: a\n", SCRIPT).replace("{name: w}", "{}"),
        "f.yaml:3:11: error: metadata.name: must be given [kind]",
    ),
    "an unused input": (
        HEAD + "  input: {type: object, properties: {sum: {type: integer}}}\n  steps:\n  - name: a\n" + SCRIPT,
        "f.yaml:5:38: warning: spec.input.properties.sum: no expression, script or command names the input 'sum' "
        "[unused-input]",
    ),
    "a loose image": (
        lines("  - {name: a, image: busybox, command: [x]}\n"),
        "f.yaml:6:15: warning: spec.steps[a].image: the image busybox has no fixed version: give it a tag or a digest "
        "[loose-image]",
    ),
    "no object": ("just words", "f.yaml:1:1: error: an object with apiVersion and kind is expected [kind]"),
}


@pytest.mark.parametrize(("text", "line"), PLACES.values(), ids=PLACES)
def test_a_finding_has_a_place_a_field_and_a_rule(tmp_path: Path, text: str, line: str) -> None:
    assert said(tmp_path, text) == [line]


@pytest.mark.parametrize(
    ("image", "loose"),
    [
        ("busybox", True),
        ("busybox:latest", True),
        ("host:5000/busybox", True),
        ("busybox:1.37", False),
        ("host:5000/busybox:1", False),
        ("busybox@sha256:0123", False),
    ],
)
def test_an_image_is_loose_without_tag_or_digest(tmp_path: Path, image: str, loose: bool) -> None:
    text = lines(f"  - {{name: a, image: '{image}', command: [x]}}\n")
    assert [found.rule for found in check(tmp_path, text).findings] == ["loose-image"] * loose


def test_a_run_is_checked_against_its_workflow_in_whatever_order(tmp_path: Path) -> None:
    workflow = HEAD + "  input: {type: object, required: [total]}\n  steps:\n  - name: total\n" + SCRIPT
    run = HEAD.replace("Workflow", "WorkflowRun").replace("name: w", "name: r") + "  workflow: w\n  input: {}\n"
    line = 'error: spec.input: "total" is a required property [input]'
    assert said(tmp_path, f"{workflow}---\n{run}") == [f"f.yaml:15:10: {line}"]
    assert said(tmp_path, f"{run}---\n{workflow}") == [f"f.yaml:6:10: {line}"]


def test_a_run_without_its_workflow_is_no_error(tmp_path: Path) -> None:
    text = "apiVersion: adze.dev/v1alpha1\nkind: WorkflowRun\nmetadata: {name: r}\nspec: {workflow: elsewhere}\n"
    assert said(tmp_path, text) == []


def test_a_problem_of_an_inline_workflow_is_found_there(tmp_path: Path) -> None:
    text = (
        "apiVersion: adze.dev/v1alpha1\nkind: WorkflowRun\nmetadata: {generateName: r-}\nspec:\n  workflowSpec:\n"
        "    steps:\n    - {name: a, when: 1 + 1, script: {source: x}}\n"
    )
    wanted = "f.yaml:7:23: error: spec.workflowSpec.steps[a].when: must give bool, not int [workflow]"
    assert said(tmp_path, text) == [wanted]


def test_other_kinds_are_left_alone(tmp_path: Path) -> None:
    checked = check(tmp_path, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\nwhatever: 1\n")
    assert checked.findings == []
    assert [document.name for document in checked.others] == ["c"]


CRON = HEAD + "  input: {type: object, required: [total]}\n" + '  "on":\n    cron:\n'
SCHEDULES = {
    "'61 * * * *'": "8:18: error: spec.on.cron[0].schedule: '61 * * * *': bad minute",
    "'@daily', timeZone: Mars": "8:38: error: spec.on.cron[0].timeZone: 'Mars' is no time zone, such as UTC or "
    "Europe/Berlin",
    "'@daily', input: {m: 1}": '8:35: error: spec.on.cron[0].input: "total" is a required property',
}


@pytest.mark.parametrize(("schedule", "words"), SCHEDULES.items(), ids=SCHEDULES)
def test_a_schedule_that_makes_no_sense_is_an_error(tmp_path: Path, schedule: str, words: str) -> None:
    steps = "  steps:\n  - name: total\n" + SCRIPT
    found = said(tmp_path, f"{CRON}    - {{schedule: {schedule}}}\n{steps}")
    assert f"f.yaml:{words} [workflow]" in found


def test_what_is_wrong_with_steps_hides_no_schedule(tmp_path: Path) -> None:
    found = said(
        tmp_path, f"{CRON}    - {{schedule: '61 * * * *'}}\n  steps:\n  - name: total\n    when: wat\n{SCRIPT}"
    )
    assert len(found) == 2


def test_events_and_webhooks_are_checked_too(tmp_path: Path) -> None:
    workflow = HEAD + '  "on":\n    events:\n    - {name: a, filter: event.dta.x}\n  steps:\n  - name: a\n' + SCRIPT
    webhook = HEAD.replace("Workflow", "WorkflowWebhook") + "  auth: {type: GitHub, secretRef: {name: s}}\n"
    event = HEAD.replace("Workflow", "WorkflowEvent") + "  {source: a, type: b}\n"
    (trigger,) = said(tmp_path, workflow)
    assert trigger.startswith("f.yaml:7:34: error: spec.on.events[a].filter: event has no 'dta' here")
    assert said(tmp_path, webhook) == []
    (text,) = said(tmp_path, webhook + "  type: ${request.bdy}\n")
    assert text.startswith("f.yaml:6:18: error: spec.type: request has no 'bdy' here")
    assert said(tmp_path, event) == ['f.yaml:5:3: error: spec: "id" is a required property [schema]']
