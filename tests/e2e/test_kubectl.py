"""What kubectl users try first."""

import json

from tests.e2e.kube import Kube, run, run_of, shell, steps, workflow


def test_get_shows_what_matters_in_a_hundred_columns(kube: Kube) -> None:
    kube.apply(workflow("orders", {"name": "a", **shell("true")}), run_of("order-1", "orders"))
    kube.ended("order-1")
    narrow = kube.must("get", "workflowruns").splitlines()
    assert narrow[0].split() == ["NAME", "WORKFLOW", "PHASE", "PROGRESS", "REASON", "AGE"]
    assert narrow[1].split()[:4] == ["order-1", "orders", "Succeeded", "1/1"]
    assert max(map(len, narrow)) <= 100
    wide = kube.must("get", "awr", "-o", "wide").splitlines()[0].split()
    added = ["TRIGGER", "STARTED", "FINISHED", "MESSAGE"]
    assert wide == ["NAME", "WORKFLOW", "PHASE", "PROGRESS", "REASON", *added, "AGE"]
    assert "order-1" in kube.must("get", "adze")
    assert kube.must("get", "awf").splitlines()[1].split()[:3] == ["orders", "True", "Accepted"]


def test_wait_and_selectors_work_on_the_server(kube: Kube) -> None:
    kube.apply(workflow("w", {"name": "a", **shell("true")}), run_of("good", "w"))
    kube.apply(run("bad", {"name": "a", **shell("exit 1")}))
    kube.must("wait", "--for=condition=Succeeded", "workflowrun/good", "--timeout=60s")
    kube.must("wait", "--for=jsonpath={.status.phase}=Failed", "workflowrun/bad", "--timeout=60s")
    by_phase = kube.must("get", "awr", "--field-selector=status.phase=Failed", "-o", "name")
    assert by_phase.split() == ["workflowrun.adze.dev/bad"]
    by_workflow = kube.must("get", "awr", "--field-selector=spec.workflow=w", "-o", "name")
    assert by_workflow.split() == ["workflowrun.adze.dev/good"]


def test_every_field_is_explained(kube: Kube) -> None:
    for path in ("workflow.spec.steps.backoff", "workflowrun.spec", "workflowrun.status.steps.attempts"):
        text = kube.must("explain", path)
        assert "<no description>" not in text
    assert "at most max" in kube.must("explain", "workflow.spec.steps.backoff")


def test_logs_are_found_by_labels(kube: Kube) -> None:
    kube.apply(run("r", {"name": "hello", **shell("echo hello from $ADZE_RUN/$ADZE_STEP")}))
    kube.ended("r")
    assert kube.must("logs", "-l", "adze.dev/run=r,adze.dev/step=hello") == "hello from r/hello\n"


def test_describe_tells_the_story(kube: Kube) -> None:
    step = {"name": "a", **shell('[ "$ADZE_ATTEMPT" = 2 ] || exit 7'), "retries": 1, "backoff": {"base": "1s"}}
    kube.apply(run("r", step))
    kube.ended("r")
    text = kube.must("describe", "workflowrun", "r")
    assert "attempt 1 of 2 failed: ExitCode: exit code 7; next attempt in 1s" in text
    assert "1 steps in" in text or "1 step in" in text


def test_apply_again_and_diff_change_nothing(kube: Kube) -> None:
    objects = (workflow("w", {"name": "a", **shell("true")}), run_of("r", "w"))
    kube.apply(*objects)
    before = kube.ended("r")
    kube.apply(*objects)
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    done = kube.kubectl("diff", "-f", "-", stdin=listed)
    assert (done.returncode, done.stdout) == (0, "")
    assert kube.get("workflowrun", "r")["status"] == before


def test_generated_names_make_separate_runs(kube: Kube) -> None:
    kube.apply(workflow("w", {"name": "a", **shell("true")}))
    item = run_of("", "w")
    item["metadata"] = {"generateName": "w-"}
    names = [kube.must("create", "-f", "-", "-o", "name", stdin=json.dumps(item)).strip() for _ in range(2)]
    assert len(set(names)) == 2
    for name in names:
        assert kube.ended(name.partition("/")[2])["phase"] == "Succeeded"


def test_nothing_is_left_on_finished_objects(kube: Kube) -> None:
    kube.apply(run("r", {"name": "a", **shell("true")}, {"name": "b", **shell("exit 1")}))
    kube.ended("r")
    seen = kube.get("workflowrun", "r")
    assert "finalizers" not in seen["metadata"]
    assert not [name for name in seen["metadata"].get("annotations", {}) if "kopf" in name]
    for status in steps(seen["status"]).values():
        for attempt in status["attempts"]:
            kube.until("released", "pod", attempt["pod"], lambda pod: "finalizers" not in pod["metadata"], 10)


def test_a_step_can_do_nothing_to_the_cluster(kube: Kube) -> None:
    kube.apply(run("r", {"name": "a", **shell("test ! -e /var/run/secrets/kubernetes.io")}))
    assert kube.ended("r")["phase"] == "Succeeded"
