"""Cancel, suspend, time out, retry, delete, edit: what a user does to a run, and what is left afterwards."""

import json

from tests.e2e.kube import Kube, Object, run, run_of, shell, steps, workflow


def running(step: Object) -> bool:
    """Whether a step runs."""
    return bool(step["phase"] == "Running")


def live_pods(kube: Kube) -> list[str]:
    """Names of Pods that may still run; a Pod's phase follows its containers by a moment."""
    return [pod["metadata"]["name"] for pod in kube.list("pods") if not has_ended(pod["status"])]


def has_ended(status: Object) -> bool:
    """Whether a Pod's phase says so, or the end of all its containers."""
    containers = status.get("containerStatuses", [])
    ended = bool(containers) and all("terminated" in container["state"] for container in containers)
    return ended or status["phase"] in ("Succeeded", "Failed")


def test_cancel_ends_what_runs_and_what_waits_then_cleans_up(kube: Kube) -> None:
    kube.apply(
        run(
            "r",
            {"name": "long", **shell("trap 'exit 0' TERM; sleep 300 & wait")},
            {"name": "broken", **shell("exit 1"), "retries": 5, "backoff": {"base": "1h", "max": "2h"}},
            {"name": "after", **shell("true"), "parents": ["long"]},
            **{
                "finally": [
                    {
                        "name": "tidy",
                        **shell('echo "{\\"saw\\": \\"$SAW\\"}" > $ADZE_OUTPUT'),
                        "env": [{"name": "SAW", "value": "${steps.long.phase} ${run.phase}"}],
                    }
                ]
            },
        )
    )
    kube.step("r", "long", running)
    kube.step("r", "broken", lambda step: step.get("reason") == "Backoff")
    kube.patch("workflowrun", "r", cancel=True)
    status = kube.ended("r")
    assert (status["phase"], status["reason"]) == ("Cancelled", "Cancelled")
    phases = {name: step["phase"] for name, step in steps(status).items()}
    assert phases == {"long": "Cancelled", "broken": "Cancelled", "after": "Cancelled", "tidy": "Succeeded"}
    assert steps(status)["tidy"]["output"] == {"saw": "Cancelled Cancelled"}
    assert live_pods(kube) == []


def test_suspend_starts_nothing_new_and_resume_goes_on(kube: Kube) -> None:
    kube.apply(run("r", {"name": "a", **shell("sleep 3")}, {"name": "b", **shell("true"), "parents": ["a"]}))
    kube.step("r", "a", running)
    kube.patch("workflowrun", "r", suspend=True)
    kube.step("r", "a", lambda step: step["phase"] == "Succeeded")
    seen = kube.until("suspended", "workflowrun", "r", lambda r: r["status"].get("reason") == "Suspended", 10)
    assert steps(seen["status"])["b"]["phase"] == "Pending"
    assert "attempts" not in steps(seen["status"])["b"]
    kube.patch("workflowrun", "r", suspend=False)
    assert kube.ended("r")["phase"] == "Succeeded"


def test_a_run_created_suspended_waits_for_its_start(kube: Kube) -> None:
    kube.apply(run("r", {"name": "a", **shell("true")}, spec={"suspend": True}))
    seen = kube.until("suspended", "workflowrun", "r", lambda r: r.get("status", {}).get("reason") == "Suspended", 10)
    assert "startTime" not in seen["status"]
    kube.patch("workflowrun", "r", suspend=False)
    assert kube.ended("r")["phase"] == "Succeeded"


def test_a_step_timeout_counts_as_a_failed_attempt(kube: Kube) -> None:
    step = {"name": "a", **shell('[ "$ADZE_ATTEMPT" = 2 ] || sleep 300'), "timeout": "2s", "retries": 1}
    kube.apply(run("r", {**step, "backoff": {"base": "1s"}}))
    status = kube.ended("r", timeout=90)
    assert status["phase"] == "Succeeded"
    assert [attempt.get("reason") for attempt in steps(status)["a"]["attempts"]] == ["Timeout", None]


def test_the_run_timeout_ends_it_and_finally_still_runs(kube: Kube) -> None:
    kube.apply(
        run(
            "r",
            {"name": "a", **shell("sleep 300")},
            timeout="5s",
            onFailure={"name": "alarm", **shell("true")},
            **{"finally": [{"name": "tidy", **shell("true")}]},
        )
    )
    status = kube.ended("r", timeout=90)
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
    phases = {name: step["phase"] for name, step in steps(status).items()}
    assert phases == {"a": "Cancelled", "alarm": "Succeeded", "tidy": "Succeeded"}


def test_a_deleted_run_takes_its_pods_along(kube: Kube) -> None:
    kube.apply(run("r", {"name": "a", **shell("sleep 300")}))
    kube.step("r", "a", running)
    kube.must("delete", "workflowrun", "r", "--wait=false")
    kube.gone("workflowrun", "r", timeout=10)
    for pod in kube.list("pods"):
        kube.gone("pod", pod["metadata"]["name"])


def test_a_namespace_with_live_runs_terminates(kube: Kube) -> None:
    kube.apply(*(run(f"r{n}", {"name": "a", **shell("sleep 300")}) for n in range(3)))
    kube.step("r2", "a", running)
    done = kube.adze.kubectl("delete", "namespace", kube.namespace, "--timeout=90s", timeout=100)
    assert done.returncode == 0, done.stderr


def test_editing_or_deleting_the_workflow_changes_nothing_for_a_run(kube: Kube) -> None:
    kube.apply(
        workflow("w", {"name": "a", **shell("sleep 4")}, {"name": "b", **shell("true"), "parents": ["a"]}),
        run_of("r", "w"),
    )
    kube.step("r", "a", running)
    kube.apply(workflow("w", {"name": "other", **shell("true")}))
    kube.must("delete", "workflow", "w")
    status = kube.ended("r")
    assert status["phase"] == "Succeeded"
    assert list(steps(status)) == ["a", "b"]


def test_a_pod_deleted_by_hand_is_a_failed_attempt(kube: Kube) -> None:
    step = {"name": "a", **shell('[ "$ADZE_ATTEMPT" = 2 ] || sleep 300'), "retries": 1, "backoff": {"base": "1s"}}
    kube.apply(run("r", step))
    pod = kube.step("r", "a", running)["attempts"][0]["pod"]
    kube.must("delete", "pod", pod, "--wait=false", "--grace-period=1")
    status = kube.ended("r")
    assert status["phase"] == "Succeeded"
    assert [attempt.get("reason") for attempt in steps(status)["a"]["attempts"]] == ["PodDeleted", None]


def test_a_pod_removed_by_force_is_a_failed_attempt(kube: Kube) -> None:
    kube.apply(run("r", {"name": "a", **shell("sleep 300")}))
    pod = kube.step("r", "a", running)["attempts"][0]["pod"]
    kube.must("patch", "pod", pod, "--type=merge", "-p", json.dumps({"metadata": {"finalizers": None}}))
    kube.must("delete", "pod", pod, "--force", "--grace-period=0")
    status = kube.ended("r", timeout=30)
    assert (status["phase"], steps(status)["a"]["reason"]) == ("Failed", "PodLost")


def test_retention_keeps_the_newest(kube: Kube) -> None:
    kube.apply(workflow("w", {"name": "a", **shell("true")}, retention={"succeeded": 1}))
    for name in ("r1", "r2", "r3"):
        kube.apply(run_of(name, "w"))
        if name != "r3":
            kube.ended(name)
    kube.gone("workflowrun", "r1", timeout=30)
    kube.gone("workflowrun", "r2", timeout=30)
    assert kube.ended("r3")["phase"] == "Succeeded"


def test_retention_by_age(kube: Kube) -> None:
    kube.apply(run("r", {"name": "a", **shell("true")}, retention={"ttl": "2s"}))
    kube.gone("workflowrun", "r", timeout=30)


def test_data_reaches_a_step_as_it_is(kube: Kube) -> None:
    nasty = "$(id) ${HOME} `id` \"; rm -rf / # $$(X) \\n 'ü'"
    kube.apply(
        run(
            "r",
            {
                "name": "a",
                "script": {
                    "source": "import json, os\n"
                    "context = json.load(open(os.environ['ADZE_CONTEXT']))\n"
                    "assert os.environ['NASTY'] == context['input']['nasty'], os.environ['NASTY']\n"
                    "json.dump({'got': os.environ['NASTY']}, open(os.environ['ADZE_OUTPUT'], 'w'))\n"
                },
                "env": [{"name": "NASTY", "value": "${input.nasty}"}],
            },
            spec={"input": {"nasty": nasty}},
        )
    )
    assert kube.ended("r")["output"] == {"got": nasty}
