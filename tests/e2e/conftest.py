"""Fixtures for tests on the real cluster: adze installed once, a namespace for each test."""

import itertools
import os
from collections.abc import Iterator

import pytest

from tests.e2e.kube import Kube
from tests.installation import Installation, install

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def adze() -> Installation:
    """The present adze in a real cluster, as `make demo` installs it."""
    return install()


@pytest.fixture
def kube(adze: Installation) -> Iterator[Kube]:
    """kubectl in a namespace of this test's own, which is deleted afterwards."""
    kube = Kube(adze, f"e2e-{os.getpid()}-{next(_numbers)}")
    kube.must("create", "namespace", kube.namespace)
    yield kube
    kube.kubectl("delete", "namespace", kube.namespace, "--wait=false")
