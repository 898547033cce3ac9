"""forEach on the real cluster: many items, both failure policies, cancel, and an operator that dies in between."""

import json
from collections import Counter

from tests.e2e.kube import Kube, Object, run, shell, steps
from tests.installation import NAMESPACE, RELEASE

NUMBERS = {"input": {"numbers": list(range(20))}}
FLAKY = """
case $ADZE_ITEM-$ADZE_ATTEMPT in
3-*|17-*) echo "item $ADZE_ITEM never works" >&2; exit 9;;
5-1|6-1) exit 1;;
esac
echo "{\\"square\\": $(( $NUMBER * $NUMBER ))}" > $ADZE_OUTPUT
"""


def each(name: str, command: str, source: str = "input.numbers", **fields: object) -> Object:
    """A forEach step that runs a shell command."""
    env = [{"name": "NUMBER", "value": "${item}"}]
    return {"name": name, "forEach": source, **shell(command), "env": env, **fields}


def started(kube: Kube) -> Counter[tuple[str, str]]:
    """How many Pods each attempt of each item has had."""
    labels = [pod["metadata"]["labels"] for pod in kube.list("pods", "adze.dev/item")]
    return Counter((label["adze.dev/item"], label["adze.dev/attempt"]) for label in labels)


def test_continue_runs_all_items_and_gathers_them_in_order(kube: Kube) -> None:
    wanted = [-1 if number in (3, 17) else number * number for number in range(20)]
    gathered: Object = {"name": "check", "parents": ["square"], **shell('test "$FOUND" = "$WANTED"')}
    gathered["env"] = [
        {"name": "FOUND", "value": "${steps.square.output.map(o, has(o.error) ? -1 : o.square)}"},
        {"name": "WANTED", "value": json.dumps(wanted, separators=(",", ":"))},
    ]
    square = each("square", FLAKY, retries=1, backoff={"base": "1s"}, maxParallel=8, failurePolicy="Continue")
    kube.apply(run("r", square, gathered, output={"first": "${steps.square.output[0]}"}, spec=NUMBERS))
    status = kube.ended("r", timeout=240)
    step = steps(status)["square"]
    assert (status["phase"], step["phase"], step["message"]) == ("Succeeded", "Succeeded", "2 of 20 items failed")
    items = step["items"]
    assert (items["total"], items["succeeded"], items["failed"]) == (20, "0-2,4-16,18-19", "3,17")
    failures = {entry["name"]: entry for entry in items["failures"]}
    assert set(failures) == {"square[3]", "square[17]"}
    assert failures["square[3]"]["message"] == "exit code 9: item 3 never works"
    assert failures["square[3]"]["attempts"][0]["number"] == 2
    assert status["output"] == {"first": {"square": 0}}
    assert started(kube) == Counter(
        {**{(str(n), "1"): 1 for n in range(20)}, **{(str(n), "2"): 1 for n in (3, 5, 6, 17)}}
    )


def test_fail_starts_nothing_new(kube: Kube) -> None:
    fail = each("a", "test $ADZE_ITEM != 1 || exit 9; sleep 3", maxParallel=3)
    kube.apply(run("r", fail, {"name": "b", "parents": ["a"], **shell("true")}, spec=NUMBERS))
    status = kube.ended("r", timeout=120)
    step = steps(status)["a"]
    assert (status["phase"], step["phase"], step["reason"]) == ("Failed", "Failed", "ItemsFailed")
    assert step["message"] == "1 of 20 items failed; a[1]: ExitCode: exit code 9"
    assert steps(status)["b"]["phase"] == "Cancelled"
    assert step["items"]["failed"] == "1"
    assert step["items"]["cancelled"].endswith("-19")
    assert len(started(kube)) < 10


def test_an_empty_list_is_a_success(kube: Kube) -> None:
    after = {"name": "b", "parents": ["a"], **shell("test $SIZE = 0")}
    after["env"] = [{"name": "SIZE", "value": "${size(steps.a.output)}"}]
    kube.apply(run("r", each("a", "exit 1"), after, spec={"input": {"numbers": []}}))
    assert kube.ended("r")["phase"] == "Succeeded"


def test_an_item_may_be_an_object_and_a_step_fan_out_over_outputs(kube: Kube) -> None:
    people = [{"name": "Ada", "pets": [{"kind": "cat"}]}, {"name": "Émile $(id)", "pets": []}]
    source = """
import json, os
context = json.load(open(os.environ["ADZE_CONTEXT"]))
assert context["input"] == {"greeting": "hello"}, context
output = {"text": context["input"]["greeting"] + " " + context["item"]["name"], "index": context["index"]}
json.dump(output, open(os.environ["ADZE_OUTPUT"], "w"))
"""
    greet = {"name": "greet", "forEach": "input.people", "script": {"source": source}}
    check = {
        "name": "check",
        "parents": ["greet"],
        "forEach": "steps.greet.output.filter(o, o.index == 1)",
        **shell("test \"$TEXT\" = 'hello Émile $(id)'"),
        "env": [{"name": "TEXT", "value": "${item.text}"}],
    }
    kube.apply(run("r", greet, check, spec={"input": {"greeting": "hello", "people": people}}))
    status = kube.ended("r", timeout=120)
    assert status["phase"] == "Succeeded"
    assert steps(status)["check"]["items"]["total"] == 1


def test_outputs_that_are_too_many_come_as_files(kube: Kube) -> None:
    write = 'printf \'{"text": "%03000d"}\' $ADZE_ITEM > $ADZE_OUTPUT'
    source = """
import json, os
from pathlib import Path
shown = json.load(open(os.environ["ADZE_CONTEXT"]))["steps"]["a"]
outputs = {}
for page in Path(shown["outputs"]).glob("*.json"):
    outputs |= json.loads(page.read_text())
texts = [int(outputs[str(index)]["text"]) for index in range(30)]
json.dump({"right": texts == list(range(30))}, open(os.environ["ADZE_OUTPUT"], "w"))
"""
    check = {"name": "check", "parents": ["a"], "script": {"source": source}}
    output = {"right": "${steps.check.output.right}", "sizes": "${steps.a.output.all(o, size(o.text) == 3000)}"}
    numbers = {"input": {"numbers": list(range(30))}}
    kube.apply(run("r", each("a", write), check, output=output, spec=numbers))
    status = kube.ended("r", timeout=240)
    assert (status["phase"], status.get("output")) == ("Succeeded", {"right": True, "sizes": True})
    assert len(json.dumps(steps(status))) < 20_000
    pages = kube.list("configmaps", "adze.dev/run=r")
    assert {page["metadata"]["name"] for page in pages} == set(steps(status)["a"]["items"]["pages"])
    assert all(page["immutable"] for page in pages)
    kube.must("delete", "workflowrun", "r")
    for page in pages:
        kube.gone("configmap", page["metadata"]["name"])


def test_cancel_in_the_middle(kube: Kube) -> None:
    kube.apply(run("r", each("a", "test $ADZE_ITEM = 0 || sleep 300", maxParallel=4), spec=NUMBERS))
    kube.step("r", "a", lambda step: step.get("items", {}).get("succeeded") == "0")
    kube.patch("workflowrun", "r", cancel=True)
    status = kube.ended("r", timeout=90)
    step = steps(status)["a"]
    assert (status["phase"], step["phase"]) == ("Cancelled", "Cancelled")
    assert (step["items"]["succeeded"], step["items"]["cancelled"]) == ("0", "1-19")
    assert len(started(kube)) <= 5


def succeeded(step: Object) -> int:
    """How many items of a step have succeeded."""
    parts = [part.split("-") for part in step.get("items", {}).get("succeeded", "").split(",") if part]
    return sum(int(part[-1]) - int(part[0]) + 1 for part in parts)


def test_a_killed_operator_loses_and_doubles_no_item(kube: Kube) -> None:
    kube.apply(run("r", each("a", "sleep 1; echo '{}' > $ADZE_OUTPUT", maxParallel=5), spec=NUMBERS))
    for done in (1, 6):
        kube.step("r", "a", lambda step, done=done: succeeded(step) >= done, timeout=120)
        killed = kube.adze.kubectl(
            *("--namespace", NAMESPACE, "delete", "pod", "-l", f"app.kubernetes.io/instance={RELEASE}"),
            *("--grace-period=0", "--force"),
        )
        assert killed.returncode == 0, killed.stderr
    status = kube.ended("r", timeout=240)
    assert (status["phase"], steps(status)["a"]["items"]["succeeded"]) == ("Succeeded", "0-19")
    assert started(kube) == Counter({(str(number), "1"): 1 for number in range(20)})


def test_for_each_is_checked_at_apply(kube: Kube) -> None:
    said = kube.refused(run("r", {"name": "a", **shell("true"), "maxParallel": 2}))
    assert "maxParallel and failurePolicy are for steps with forEach" in said
    kube.apply(run("r", {"name": "a", "forEach": "size(run.name)", **shell("true")}))
    status = kube.ended("r")
    assert (status["reason"], "must give a list, not int" in status["message"]) == ("InvalidWorkflow", True)


def test_what_is_no_list_fails_with_a_reason(kube: Kube) -> None:
    kube.apply(run("r", each("a", "true"), spec={"input": {"numbers": 7}}))
    step = steps(kube.ended("r"))["a"]
    assert (step["phase"], step["reason"]) == ("Failed", "ForEachInvalid")
