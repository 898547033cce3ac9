"""Runs that must end alike without a cluster and on one: the examples' and those in `cases/`.

`test_local.py` runs them here, `tests/e2e/test_examples.py` and `tests/e2e/test_conformance.py` on a cluster. The
expectations are those of `tests.examples.expectation`.
"""

from pathlib import Path
from typing import Any

import yaml

CASES = sorted(path for path in (Path(__file__).parent / "cases").glob("*.yaml") if ".expect" not in path.name)


def expected(case: Path) -> Any:
    """How a case ends."""
    return yaml.safe_load(case.with_suffix(".expect.yaml").read_text())
