"""`adze output`: the SDK's command, as one of adze's."""

import json
from pathlib import Path

from tests.cli.command import adze


def test_the_output_is_handed_over(tmp_path: Path) -> None:
    more = {"ADZE_OUTPUT": str(tmp_path / "output")}
    done = adze("output", state=tmp_path, stdin='{"n": 1}', more=more)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads((tmp_path / "output").read_text()) == {"n": 1}


def test_what_can_not_be_handed_over_says_why(tmp_path: Path) -> None:
    done = adze("output", state=tmp_path, stdin="{}")
    assert (done.returncode, "ADZE_OUTPUT is not set" in done.stderr) == (2, True)
    more = {"ADZE_OUTPUT": str(tmp_path / "output"), "ADZE_STEP": "list"}
    done = adze("output", "-", state=tmp_path, stdin=json.dumps({"text": "x" * 5000}), more=more)
    assert (done.returncode, "set largeOutput: true on step list" in done.stderr) == (1, True)
    done = adze("output", "missing.json", state=tmp_path, more=more)
    assert (done.returncode, "missing.json" in done.stderr) == (2, True)
