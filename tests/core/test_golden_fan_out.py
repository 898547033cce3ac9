"""A run that 0.1 has left in the middle of a fan-out: later versions go on with it."""

from pathlib import Path

import msgspec

from adze.core.model import Run
from adze.core.values import gathered
from tests.builders import Drive, opened, pod, seconds

GOLDEN = Path(__file__).parent / "golden" / "fan-out-0.1.json"
"""Eight items, three at a time: three succeeded, one failed, one waits for its retry; outputs in two pages."""


def test_a_stored_fan_out_goes_on() -> None:
    stored = msgspec.json.decode(GOLDEN.read_bytes())
    run = msgspec.convert(stored["run"], Run)
    assert run.spec.workflow_spec is not None
    drive = Drive(run.spec.workflow_spec, begun=run)
    drive.pages = stored["pages"]
    drive.now += seconds(11)
    assert drive.live == {"fetch[5]", "fetch[6]", "fetch[7]"}
    drive.pods = {name: opened(pod(name)) for name in (drive.attempt(part).pod for part in drive.live)}
    drive.until_quiet()
    assert drive.created == [], "what has been claimed is not started anew"
    for part in ("fetch[6]", "fetch[5]", "fetch[7]"):
        drive.succeed(part, output={"text": part})
    drive.until_wake()
    assert (drive.live, drive.attempt("fetch[4]").number) == ({"fetch[4]"}, 2)
    drive.succeed("fetch[4]", output={"text": "four"})
    assert (drive.items("fetch").succeeded, drive.items("fetch").failed) == ("0,2-7", "1")
    texts = [output.get("text") for output in gathered(drive.items("fetch"), drive.pages)]
    assert texts == [f"zero {'x' * 30}", None, f"two {'x' * 30}", "three", "four", "fetch[5]", "fetch[6]", "fetch[7]"]
    assert drive.succeed("join").phase == "Succeeded"
