"""The simulator's limits, for every test here that plays one of its episodes."""

from collections.abc import Iterator

import pytest

from tests.sim.laboratory import laboratory


@pytest.fixture(autouse=True)
def _laboratory() -> Iterator[None]:
    with laboratory():
        yield
