"""The cases of `tests/conformance` on the real cluster; `tests/conformance/test_local.py` runs the same without one."""

from pathlib import Path

import pytest

from tests.conformance import CASES, expected
from tests.e2e.kube import Kube
from tests.examples.expectation import matches


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_run_ends_as_without_a_cluster(kube: Kube, path: Path) -> None:
    kube.must("apply", "-f", str(path))
    assert matches(expected(path), kube.ended(path.stem, timeout=120)) == []
