"""adze rerun on a cluster."""

from tests.e2e.kube import Kube, run_of, shell, steps, workflow
from tests.e2e.test_cli import Adze, adze_command

__all__ = ["adze_command"]


def test_what_failed_is_repeated_and_waited_for_then_the_rest_by_selector(kube: Kube, adze_command: Adze) -> None:
    done = {"name": "a", **shell('echo "{\\"n\\": 1}" > $ADZE_OUTPUT')}
    flaky = {"name": "b", "parents": ["a"], **shell("test $TRIGGER = Rerun")}
    flaky["env"] = [{"name": "TRIGGER", "value": "${run.trigger}"}]
    kube.apply(workflow("w", done, flaky), run_of("one", "w"), run_of("two", "w"))
    assert kube.ended("one")["phase"] == "Failed"
    assert kube.ended("two")["phase"] == "Failed"

    waited = adze_command("rerun", "one", "--from", "Failed", "--name", "better", "--wait")
    assert waited.returncode == 0, waited.stderr
    created, ended = waited.stdout.splitlines()
    assert created == "workflowrun.adze.dev/one repeated by better"
    assert ended.startswith("better Succeeded in ")
    assert steps(kube.ended("better"))["a"]["reason"] == "Kept"
    assert "Repeats:    one, from Failed" in adze_command.must("describe", "run", "better")

    choice = ("rerun", "--field-selector", "spec.workflow=w,status.phase=Failed", "--from", "Failed")
    left = "workflowrun.adze.dev/one left alone: better repeats it"
    assert adze_command.must(*choice, "--dry-run").splitlines() == [left, "workflowrun.adze.dev/two would be repeated"]
    assert len(kube.list("workflowruns")) == 3
    said = adze_command.must(*choice).splitlines()
    new = said[1].rsplit(" ", 1)[1]
    assert (said[0], new.startswith("two-")) == (left, True)
    assert kube.ended(new)["phase"] == "Succeeded"
    assert adze_command.must(*choice).splitlines() == [left, f"workflowrun.adze.dev/two left alone: {new} repeats it"]
    refused = adze_command("rerun", "better", "--from", "Failed")
    assert (refused.returncode, "no step of run 'better' failed" in refused.stderr) == (2, True)
