"""Allowances without a cluster: on disk, so that a resumed run doesn't take more than it may."""

import json
from pathlib import Path

from adze.core import calls, rates
from adze.core.calls import Failure, Problem
from adze.core.model import Lease
from adze.core.slots import Take
from adze.local.leases import Leases
from adze.local.state import Folder
from tests.builders import NOW, seconds
from tests.cli.command import adze
from tests.e2e.kube import run

TAKE = Take("g", "k", 1, 1, seconds(60))


def test_a_lease_survives_its_process(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    leases = Leases(folder, lambda: "1")
    create = calls.CreateLease(rates.manifest("default", TAKE, rates.State(log=(rates.stamp(NOW, 1),)), NOW))
    made = leases.verbs[calls.CreateLease](create)
    assert isinstance(made, Lease)
    again = leases.verbs[calls.CreateLease](create)
    assert isinstance(again, Problem)
    assert again.failure is Failure.EXISTS
    folder.close()
    read = Leases(Folder(tmp_path), lambda: "2").verbs[calls.ReadLease](calls.ReadLease("default", "adze-rate-g"))
    assert rates.state(read).used(TAKE.per, NOW + seconds(1)) == 1
    other = leases.verbs[calls.ReadLease](calls.ReadLease("default", "adze-rate-other"))
    assert isinstance(other, Problem)


def test_a_local_run_keeps_to_its_allowance(tmp_path: Path, state: Path) -> None:
    source = f"import time, pathlib; open({str(tmp_path / 'starts')!r}, 'a').write(f'{{time.time()}}\\n')"
    entry = {"key": "k", "limit": 1, "per": "1s"}
    step = {"name": "a", "forEach": "[1, 2, 3]", "script": {"source": source}, "rateLimit": [entry]}
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps(run("limited", step)))
    done = adze("run", str(file), state=state)
    assert done.returncode == 0, done.stderr
    starts = sorted(float(line) for line in (tmp_path / "starts").read_text().split())
    assert len(starts) == 3
    assert starts[2] - starts[0] > 1.5, "two windows of a second lie between three takings"
