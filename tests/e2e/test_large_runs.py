"""Runs that come near to what one object can hold."""

from tests.e2e.kube import Kube, Object, run, steps

TEXT = "x" * 1_000_000


def waits(name: str, number: int, **metadata: object) -> Object:
    """A run with an input of a megabyte, which waits for so many events."""
    events = [{"name": f"w{n}", "waitFor": {"event": f"e{n}"}} for n in range(number)]
    tidy = [{"name": "tidy", "sleep": {"duration": "1s"}}]
    made = run(name, *events, spec={"input": {"text": TEXT}}, **{"finally": tidy})
    return {**made, "metadata": {**made["metadata"], **metadata}}


def event(number: int, **data: object) -> Object:
    """An event that one of the run's steps waits for."""
    spec = {"source": "/test", "id": f"{number}", "type": f"e{number}", "data": data}
    named = {"metadata": {"name": f"e{number}"}, "spec": spec}
    return {"apiVersion": "adze.dev/v1alpha1", "kind": "WorkflowEvent", **named}


def test_an_input_that_leaves_no_room_is_refused(kube: Kube) -> None:
    kube.create(run("r", {"name": "nap", "sleep": {"duration": "1s"}}, spec={"input": {"text": TEXT + TEXT[:200_000]}}))
    status = kube.ended("r")
    assert (status["phase"], status["reason"]) == ("Failed", "RunTooLarge")
    assert "spec.input leaves too little room: of 1178624 bytes its input 1200011, the workflow 1" in status["message"]


def test_outputs_get_the_room_that_a_large_input_leaves(kube: Kube) -> None:
    kube.create(waits("r", 5))
    for number in range(5):
        kube.create(event(number, text="y" * 60_000))
    status = kube.ended("r")
    assert (status["phase"], status["reason"]) == ("Failed", "StepFailed")
    reasons = sorted(str(steps(status)[f"w{n}"].get("reason")) for n in range(5))
    assert reasons == ["None", "None", "None", "OutputTooLarge", "OutputTooLarge"]
    assert steps(status)["tidy"]["phase"] == "Succeeded"


def test_a_run_whose_status_etcd_refuses_ends(kube: Kube) -> None:
    # Annotations are beyond what adze counts, and each quotation mark takes two bytes.
    kube.create(waits("r", 4, annotations={"note": '"' * 250_000}))
    for number in range(2):
        kube.create(event(number, text="y" * 60_000))
        kube.step("r", f"w{number}", lambda step: step["phase"] not in ("Pending", "Running"))
    status = kube.ended("r")
    assert (status["phase"], status["reason"]) == ("Failed", "RunTooLarge")
    assert "grown larger than an object can be" in status["message"]
    found = [(steps(status)[f"w{n}"]["phase"], steps(status)[f"w{n}"].get("reason")) for n in range(4)]
    ended = ("Cancelled", "RunTooLarge")
    assert found == [("Succeeded", None), ("Failed", "RunTooLarge"), ended, ended]
    assert len(steps(status)["w0"]["output"]["data"]["text"]) == 60_000
    assert steps(status)["tidy"]["phase"] == "Succeeded"
