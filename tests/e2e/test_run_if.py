"""Steps that start by how their parents ended."""

from tests.e2e.kube import Kube, run, shell, steps

TRUE, FALSE = shell("true"), shell("exit 3")


def test_run_if_chooses_what_follows_a_failure(kube: Kube) -> None:
    kube.apply(
        run(
            "r",
            {"name": "fast", **FALSE},
            {"name": "slow", **TRUE},
            {"name": "any", **TRUE, "parents": ["fast", "slow"], "runIf": "AnySucceeded"},
            {"name": "below", **TRUE, "parents": ["fast", "slow"]},
            {
                "name": "report",
                **shell('echo "{\\"saw\\": \\"$SAW\\"}" > $ADZE_OUTPUT'),
                "env": [{"name": "SAW", "value": "${steps.fast.error}"}],
                "parents": ["fast"],
                "runIf": "Failed",
            },
            {"name": "calm", **TRUE, "parents": ["slow"], "runIf": "Failed"},
            {"name": "tidy", **TRUE, "parents": ["any", "below", "calm"], "runIf": "Always"},
        )
    )
    status = kube.ended("r")
    assert status["phase"] == "Failed"
    seen = {name: (step["phase"], step.get("reason")) for name, step in steps(status).items()}
    assert seen == {
        "fast": ("Failed", "ExitCode"),
        "slow": ("Succeeded", None),
        "any": ("Succeeded", None),
        "below": ("Cancelled", "ParentFailed"),
        "report": ("Succeeded", None),
        "calm": ("Skipped", "NoParentFailed"),
        "tidy": ("Succeeded", None),
    }
    assert steps(status)["report"]["output"] == {"saw": "ExitCode: exit code 3"}


def test_run_if_is_one_of_four(kube: Kube) -> None:
    step = {"name": "b", **TRUE, "parents": ["a"], "runIf": "Sometimes"}
    assert "Unsupported value" in kube.refused(run("r", {"name": "a", **TRUE}, step))
