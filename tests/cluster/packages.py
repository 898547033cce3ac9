"""The Debian packages that the embedded node and the image builds need."""

from __future__ import annotations

import os
import shutil
import subprocess

from .progress import run_long

NODE_PACKAGES = (
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "conntrack",
    "socat",
    "ebtables",
    "ethtool",
    "iproute2",
    "kmod",
    "util-linux",
)
IMAGE_PACKAGES = ("buildah", "busybox-static", "mmdebstrap", "util-linux")


def missing(names: tuple[str, ...]) -> list[str]:
    """Those of ``names`` that dpkg does not report as installed, in their order."""
    query = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *names]
    report = subprocess.run(query, capture_output=True, text=True).stdout.splitlines()
    installed = {line.split()[0] for line in report if line.endswith(" installed")}
    return [name for name in names if name not in installed]


def ensure(names: tuple[str, ...] = NODE_PACKAGES + IMAGE_PACKAGES) -> None:
    """Install the missing ones of ``names`` with apt-get; does nothing at all when none is missing."""
    if not shutil.which("dpkg-query") or not shutil.which("apt-get"):
        raise RuntimeError("the embedded node needs a Debian-like system (apt-get), or set KUBECONFIG to a cluster")
    wanted = missing(names)
    if not wanted:
        return
    if os.geteuid() != 0:
        raise PermissionError(f"these packages are missing and only root can install them: {' '.join(wanted)}")
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    run_long("apt-get update", ["apt-get", "update", "--quiet"], env=env)
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *wanted]
    run_long(f"installing {' '.join(wanted)}", install, env=env)
