"""The cache of step results on the real cluster."""

from tests.e2e.kube import Kube, Object, run, run_of, shell, steps, workflow


def test_a_step_is_reused_by_key_until_its_time_is_over(kube: Kube) -> None:
    say = 'echo "{\\"%s\\": \\"$ADZE_RUN\\"}" > $ADZE_OUTPUT'
    long: Object = {"name": "long", **shell(say % "long"), "cache": {"key": "${input.word}", "ttl": "1h"}}
    short: Object = {"name": "short", **shell(say % "short"), "cache": {"key": "${input.word}", "ttl": "1s"}}
    last: Object = {"name": "last", "parents": ["long", "short"], **shell("sleep 1")}
    kube.apply(workflow("w", long, short, last), run_of("one", "w", input={"word": "hi"}))
    assert kube.ended("one")["output"] == {"long": "one", "short": "one"}
    entries = {
        entry["metadata"]["labels"]["adze.dev/cache"]: entry for entry in kube.list("configmaps", "adze.dev/cache")
    }
    assert set(entries) == {"long", "short"}
    assert all(entry["immutable"] and "ownerReferences" not in entry["metadata"] for entry in entries.values())
    kube.must("delete", "workflowrun", "one")

    kube.apply(run_of("two", "w", input={"word": "hi"}), run_of("other", "w", input={"word": "ho"}))
    status = kube.ended("two")
    assert status["output"] == {"long": "one", "short": "two"}
    found = steps(status)["long"]
    assert (found["phase"], found["reason"], "attempts" in found) == ("Succeeded", "Cached", False)
    assert found["message"].startswith("handed over in run one, kept ")
    assert steps(status)["short"]["attempts"][0]["number"] == 1
    assert kube.ended("other")["output"] == {"long": "other", "short": "other"}
    again = {entry["metadata"]["uid"] for entry in kube.list("configmaps", "adze.dev/cache=short")}
    assert entries["short"]["metadata"]["uid"] not in again
    assert [entry["metadata"]["uid"] for entry in kube.list("configmaps", "adze.dev/cache=long")].count(
        entries["long"]["metadata"]["uid"]
    ) == 1

    rerun = run_of("again", "w")
    rerun["spec"]["rerunOf"] = {"run": "two", "from": "long"}
    kube.apply(rerun)
    assert kube.ended("again")["output"] == {"long": "again", "short": "two"}


def test_a_cache_is_checked_at_apply(kube: Kube) -> None:
    bad: Object = {"name": "a", "forEach": "input.x", **shell("true"), "cache": {"key": "x"}}
    assert "cache is for container and script steps without forEach" in kube.refused(run("r", bad))
    assert "spec.workflowSpec.steps[0].cache" in kube.refused(run("r", {"name": "a", **shell("true"), "cache": {}}))
    kube.apply(run("r", {"name": "a", **shell("true"), "cache": {"key": "x", "ttl": "721h"}}))
    status = kube.ended("r")
    assert (status["reason"], "cache.ttl: must be at most 720h" in status["message"]) == ("InvalidWorkflow", True)
