"""Which cluster the tests use: the one that KUBECONFIG names, else kind, else a node of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Protocol

from . import binary, images
from .layout import Layout
from .node import Node
from .progress import run, run_long, say

KIND_CLUSTER = "adze"
PROBE_TIMEOUT = 15.0


class Cluster(Protocol):
    """A cluster of one of the three kinds."""

    kind: str

    @property
    def kubeconfig(self) -> Path: ...

    def up(self) -> float:
        """Have the cluster Ready and return the seconds that took; at once if it is Ready already."""

    def down(self) -> None:
        """Remove the cluster, if it is ours."""

    def is_ready(self) -> bool: ...

    def load(self, tar: Path) -> None:
        """Bring an image archive into the cluster."""


class External:
    """A cluster that somebody else made, named by KUBECONFIG; it is used and otherwise left alone."""

    kind = "external"

    @property
    def kubeconfig(self) -> Path:
        return Path(os.environ["KUBECONFIG"])

    def up(self) -> float:
        say(f"using the cluster of KUBECONFIG={self.kubeconfig}")
        return 0.0

    def down(self) -> None:
        say(f"the cluster of KUBECONFIG={self.kubeconfig} is not ours, left as it is")

    def is_ready(self) -> bool:
        kubectl = shutil.which("kubectl") or str(binary.tools() / "kubectl")
        return _answers([kubectl, f"--kubeconfig={self.kubeconfig}", "get", "--raw", "/readyz"])

    def load(self, tar: Path) -> None:
        raise RuntimeError(f"push the image of {tar} to a registry that the cluster of KUBECONFIG pulls from yourself")


class Kind:
    """A cluster of the `kind` tool, where a container engine runs."""

    kind = "kind"

    @property
    def kubeconfig(self) -> Path:
        return binary.cache_root() / "kind.kubeconfig"

    def up(self) -> float:
        start = time.monotonic()
        if not self._exists():
            self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
            options = ["--name", KIND_CLUSTER, "--kubeconfig", str(self.kubeconfig), "--wait", "180s"]
            run_long("creating a kind cluster", ["kind", "create", "cluster", *options])
            self.load(images.archive("busybox"))
        return time.monotonic() - start

    def down(self) -> None:
        run(["kind", "delete", "cluster", "--name", KIND_CLUSTER, "--kubeconfig", self.kubeconfig])
        self.kubeconfig.unlink(missing_ok=True)

    def is_ready(self) -> bool:
        return self._exists()

    def load(self, tar: Path) -> None:
        run(["kind", "load", "image-archive", tar, "--name", KIND_CLUSTER])

    def _exists(self) -> bool:
        return self.kubeconfig.exists() and KIND_CLUSTER in run(["kind", "get", "clusters"]).split()


def choose() -> Cluster:
    """The cluster that this machine and its environment call for; starts nothing."""
    named = os.environ.get("KUBECONFIG")
    # The embedded node's own kubeconfig in the environment must not turn it into a stranger's cluster.
    if named and Path(named) != Layout.default().kubeconfig():
        if External().is_ready():
            return External()
        say(f"KUBECONFIG={named} is set but no cluster answers there, so it is not used")
    if shutil.which("kind") and (_answers(["docker", "info"]) or _answers(["podman", "info"])):
        return Kind()
    return Node()


def _answers(argv: list[str]) -> bool:
    """Whether the command exists and succeeds in time; a mere client without its server fails."""
    try:
        return subprocess.run(argv, capture_output=True, timeout=PROBE_TIMEOUT).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
