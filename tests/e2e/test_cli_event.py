"""An event pushed from the command line starts runs, once."""

from tests.e2e.kube import Kube, shell, workflow
from tests.e2e.test_cli import Adze, adze_command

__all__ = ["adze_command"]


def test_an_event_starts_one_run_however_often_it_is_pushed(kube: Kube, adze_command: Adze) -> None:
    kube.apply(workflow("w", {"name": "a", **shell("true")}, on={"events": [{"name": "user:created"}]}))
    kube.must("wait", "--for=condition=Ready", "workflow/w", "--timeout=10s")
    words = ("event", "push", "user:created", "--source", "shop", "--id", "7", "--data", '{"plan": "pro"}')
    name = adze_command.must(*words).split()[0].partition("/")[2]
    kube.until("processed", "workflowevent", name, lambda event: event.get("status", {}).get("started") == 1)
    assert adze_command.must(*words).endswith(" is known already\n")
    (started,) = kube.list("workflowruns")
    assert kube.ended(started["metadata"]["name"])["phase"] == "Succeeded"
