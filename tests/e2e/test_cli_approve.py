"""A decision from the command line, on a real cluster with the chart's policy."""

from pathlib import Path

from adze.cli import exits
from tests.e2e.kube import Kube, run, shell
from tests.e2e.test_cli import Adze, adze_command, kubeconfig

__all__ = ["adze_command"]


def test_a_step_is_approved_by_who_may(kube: Kube, adze_command: Adze, tmp_path: Path) -> None:
    ask = {"name": "ask", "approval": {"message": "Release it?", "approvers": ["ada"]}}
    kube.apply(run("r", ask, {"name": "go", "parents": ["ask"], **shell("true")}))
    kube.step("r", "ask", lambda step: step.get("reason") == "WaitingForApproval", timeout=20)
    assert "WaitingForApproval: Release it?" in adze_command.must("describe", "run", "r")
    ada, eve = (kubeconfig(adze_command, tmp_path / name, user={"as": name}) for name in ("ada", "eve"))
    kube.must("create", "rolebinding", "people", "--clusterrole=admin", "--user=ada", "--user=eve")
    wrong = adze_command("approve", "r", KUBECONFIG=eve)
    assert (wrong.returncode, wrong.stdout) == (exits.FORBIDDEN, "")
    assert "takes decisions of ada, and you are eve" in wrong.stderr
    done = adze_command("approve", "r", "-m", "checked", KUBECONFIG=ada)
    assert done.stdout == "workflowrun.adze.dev/r ask approved by ada\n", done.stderr
    assert kube.ended("r")["phase"] == "Succeeded"
    assert adze_command("approve", "r", KUBECONFIG=ada).returncode == exits.NOT_FOUND
