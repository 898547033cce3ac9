"""Reruns on the real cluster: what is kept, what outlives its source, and what is refused."""

import json

from tests.e2e.kube import Kube, Object, run, run_of, shell, steps, workflow

BIG = """
if test $ADZE_ITEM = 5; then test $TRIGGER = Rerun || exit 7; sleep 4; fi
printf '{"text": "%03000d", "by": "%s"}' $ADZE_ITEM $ADZE_RUN > $ADZE_OUTPUT
"""
TRIGGER = [{"name": "TRIGGER", "value": "${run.trigger}"}]


def again(name: str, of: str, start: str | None = "Failed", **spec: object) -> Object:
    """A run that repeats another."""
    made = run_of(name, "", **spec)
    made["spec"]["rerunOf"] = {"run": of, **({"from": start} if start else {})}
    if "workflow" not in spec:
        del made["spec"]["workflow"]
    return made


def pods(kube: Kube, run: str) -> list[str]:
    """The steps, or steps and items, of a run's Pods."""
    labels = [pod["metadata"]["labels"] for pod in kube.list("pods", f"adze.dev/run={run}")]
    return sorted(f"{label['adze.dev/step']}{label.get('adze.dev/item', '')}" for label in labels)


def test_a_rerun_of_what_failed_outlives_its_source(kube: Kube) -> None:
    first = {"name": "first", **shell('echo "{\\"made\\": \\"$ADZE_RUN\\"}" > $ADZE_OUTPUT')}
    each: Object = {"name": "each", "parents": ["first"], "forEach": "input.numbers", "maxParallel": 24, **shell(BIG)}
    last = {"name": "last", "parents": ["each"], **shell("true")}
    output = {
        "made": "${steps.first.output.made}",
        "again": "${steps.each.output.filter(o, o.by == 'again').map(o, o.text.endsWith('5'))}",
        "sizes": "${steps.each.output.all(o, size(o.text) == 3000)}",
    }
    given = {"input": {"numbers": list(range(24))}}
    kube.apply(run("r", first, {**each, "env": TRIGGER}, last, output=output, spec=given))
    status = kube.ended("r", timeout=180)
    items = steps(status)["each"]["items"]
    assert (status["phase"], items["failed"], items["succeeded"]) == ("Failed", "5", "0-4,6-23")
    assert items["pages"]

    kube.apply(again("again", "r"))
    kube.until("begun", "workflowrun", "again", lambda seen: "workflowSpec" in seen.get("status", {}))
    kube.must("delete", "workflowrun", "r")
    for page in items["pages"]:
        kube.gone("configmap", page)
    status = kube.ended("again")
    assert (status["phase"], status["output"]) == ("Succeeded", {"made": "r", "again": [True], "sizes": True})
    assert (steps(status)["first"]["reason"], "attempts" in steps(status)["first"]) == ("Kept", False)
    assert (status["trigger"]["kind"], status["trigger"]["run"]) == ("Rerun", "r")
    assert status["input"] == given["input"]
    assert pods(kube, "again") == ["each5", "last"]


def test_a_rerun_from_a_step_has_the_frozen_workflow(kube: Kube) -> None:
    named = 'echo "{\\"%s\\": \\"$ADZE_RUN %s\\"}" > $ADZE_OUTPUT'
    flow = workflow(
        "w",
        {"name": "a", **shell(named % ("a", "old"))},
        {"name": "b", "parents": ["a"], **shell(named % ("b", "old"))},
        {"name": "c", **shell(named % ("c", "old"))},
        **{"finally": [{"name": "tidy", **shell("true")}]},
    )
    kube.apply(flow, run_of("r", "w"))
    assert kube.ended("r")["phase"] == "Succeeded"
    flow["spec"]["steps"][1].update(shell(named % ("b", "new")))
    kube.apply(flow, again("from-b", "r", "b", workflow="w"), again("whole", "r", None, workflow="w"))
    assert kube.ended("from-b")["output"] == {"a": "r old", "b": "from-b old", "c": "r old"}
    assert kube.ended("whole")["output"] == {"a": "whole old", "b": "whole old", "c": "whole old"}
    assert pods(kube, "from-b") == ["b", "tidy"]
    selected = kube.must("get", "awr", "--field-selector", "spec.rerunOf.run=r", "-o", "name").split()
    assert selected == ["workflowrun.adze.dev/from-b", "workflowrun.adze.dev/whole"]
    assert "Rerun" in kube.must("get", "awr", "whole", "-o", "wide")


def test_what_can_not_be_repeated_is_refused_with_a_reason(kube: Kube) -> None:
    kube.apply(run("live", {"name": "a", **shell("sleep 300")}), run("good", {"name": "a", **shell("true")}))
    kube.ended("good")
    kube.step("live", "a", lambda step: step["phase"] == "Running" or bool(step.get("attempts")))
    cases = {
        "of-live": (again("of-live", "live"), "spec.rerunOf.run: run 'live' has not ended (Running)"),
        "of-none": (again("of-none", "nobody"), "spec.rerunOf.run: there is no run 'nobody' in namespace"),
        "of-good": (again("of-good", "good"), "spec.rerunOf.from: no step of run 'good' failed"),
        "of-step": (again("of-step", "good", "b"), "spec.rerunOf.from: run 'good' has no step 'b'"),
        "of-other": (again("of-other", "good", "a", workflow="w"), "spec.workflow must be left out"),
    }
    kube.apply(*(made for made, _ in cases.values()))
    for name, (_, words) in cases.items():
        status = kube.ended(name)
        assert (status["phase"], status["reason"]) == ("Failed", "RerunRefused")
        assert words in status["message"]
    assert not [pod for pod in kube.list("pods") if not pod["metadata"]["name"].startswith(("live", "good"))]
    said = kube.refused(again("x", "good", input={"a": 1}))
    assert "leave out workflowSpec and input" in said
    assert "spec.rerunOf.from" in kube.refused(again("x", "good", "Not A Step"))
    assert "spec.rerunOf.run" in kube.refused(again("x", "other/good"))
    done = kube.kubectl(
        *("patch", "awr", "of-good", "--type=merge", "-p", json.dumps({"spec": {"rerunOf": {"run": "live"}}}))
    )
    assert "rerunOf must not change" in done.stderr
