"""Where one embedded node keeps its things, and the names and addresses it uses; all follow from one directory."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_ROOT = Path("/var/tmp/adze-node")
POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
DNS_SERVICE_IP = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
API_PORT = 6443

# The node covers these in its own mount namespace, so its state cannot lie below them.
COVERED = (Path("/run"), Path("/var/run"), Path("/var/lib"), Path("/var/log"))
# A Unix socket's path has at most 107 bytes, and the node's sockets lie directly below its directory.
LONGEST_ROOT = 80


@dataclass(frozen=True)
class Layout:
    """The files, names and addresses of the node whose state is in ``root``.

    Two nodes with different directories share no name, address or cgroup and can run side by side.
    """

    root: Path

    def __post_init__(self) -> None:
        if not self.root.is_absolute():
            raise ValueError(f"the node's directory must be absolute: {self.root}")
        if any(self.root.is_relative_to(covered) for covered in COVERED):
            raise ValueError(f"the node's directory cannot lie below {', '.join(map(str, COVERED))}: {self.root}")
        if len(str(self.root)) > LONGEST_ROOT:
            raise ValueError(f"the node's directory is longer than {LONGEST_ROOT} characters: {self.root}")

    @classmethod
    def default(cls) -> Layout:
        """The node in ``$ADZE_NODE``, else in the default directory."""
        return cls(Path(os.environ.get("ADZE_NODE") or DEFAULT_ROOT).resolve())

    @property
    def name(self) -> str:
        """Names the node's link and cgroup on the host, and its Node object."""
        if self.root == DEFAULT_ROOT:
            return "adze"
        return f"adze-{self._digest.hex()[:6]}"

    @property
    def _digest(self) -> bytes:
        return hashlib.sha256(str(self.root).encode()).digest()

    @property
    def _subnet(self) -> str:
        third = 0 if self.root == DEFAULT_ROOT else 1 + int.from_bytes(self._digest[:4], "big") % 254
        return f"10.213.{third}"

    @property
    def host_ip(self) -> str:
        """The host's address as the node and its Pods reach it."""
        return f"{self._subnet}.1"

    @property
    def node_ip(self) -> str:
        """The node's address, reached from the host and from Pods."""
        return f"{self._subnet}.2"

    @property
    def node_name(self) -> str:
        return f"{self.name}-node"

    @property
    def link(self) -> str:
        """The host's end of the veth pair (at most 15 characters)."""
        return f"{self.name}-h"

    @property
    def api_url(self) -> str:
        return f"https://{self.node_ip}:{API_PORT}"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def conf(self) -> Path:
        return self.root / "conf"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.log"

    @property
    def control_socket(self) -> Path:
        return self.root / "supervisor.sock"

    @property
    def containerd_socket(self) -> Path:
        return self.root / "containerd.sock"

    @property
    def state_file(self) -> Path:
        """Marks the directory as a node's; holds what `down` needs to find its processes."""
        return self.root / "node.json"

    def kubeconfig(self, user: str = "admin") -> Path:
        return self.root / f"{user}.kubeconfig"
