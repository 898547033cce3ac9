"""The namespaces around the node: what is mounted in them, the link to the host, and the cgroups on the host."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

from .layout import Layout
from .progress import CommandError, run
from .wait import NotYetError, wait_until

# Kernel settings that the kubelet changes and that no namespace holds: it gets files of its own in their place.
HOST_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
# Directories with fixed paths in the components, and where the node keeps their content below its own directory.
OWN_DIRECTORIES = {
    "/var/lib/kubelet": "kubelet",
    "/var/lib/containerd": "containerd",
    "/var/lib/cni": "cni",
    "/var/log/pods": "pod-logs",
    "/var/log/containers": "container-logs",
}


def prepare_commands(layout: Layout) -> list[list[str]]:
    """What the first process runs in the fresh mount namespace, so that nothing is written to the host's paths.

    The overlays only serve to have mount points in directories that the host may lack.
    """
    # --no-mtab: mount would note it in a directory that it makes in the host's /run.
    plan = [["mount", "--no-mtab", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"]]
    for covered in ("/var/lib", "/var/log"):
        upper, work = f"/run/cover{covered}", f"/run/cover-work{covered}"
        plan.append(["mkdir", "-p", upper, work])
        options = f"lowerdir={covered},upperdir={upper},workdir={work}"
        plan.append(["mount", "-t", "overlay", "-o", options, "overlay", covered])
    for path, name in OWN_DIRECTORIES.items():
        plan.append(["mkdir", "-p", path, str(layout.root / name)])
        plan.append(["mount", "--bind", str(layout.root / name), path])
    for setting in HOST_SETTINGS:
        plan.append(["mount", "--bind", str(_own_setting(layout, setting)), f"/proc/sys/{setting}"])
    plan.append(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
    # Volumes with mount propagation need a shared root.
    plan.append(["mount", "--make-rshared", "/"])
    return plan


def write_own_settings(layout: Layout) -> None:
    """Copy the host's values of the settings that the kubelet changes."""
    for setting in HOST_SETTINGS:
        copy = _own_setting(layout, setting)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(Path("/proc/sys", setting).read_text())


def _own_setting(layout: Layout, setting: str) -> Path:
    return layout.root / "sysctl" / setting


def spawn(layout: Layout, config: Path) -> None:
    """Start the supervisor as the first process of new network, mount and pid namespaces, and no child of ours."""
    script = Path(__file__).parent / "supervisor.py"
    mounts = ["--mount", "--propagation", "private", "--mount-proc"]
    enter = ["setsid", "--fork", "unshare", "--net", *mounts, "--pid", "--fork", "--kill-child"]
    with supervisor_log(layout).open("ab") as log:
        subprocess.run(
            [*enter, sys.executable, str(script), str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            check=True,
        )


def supervisor_log(layout: Layout) -> Path:
    return layout.logs / "supervisor.log"


def init_pid(layout: Layout) -> int:
    """The supervisor's pid as the host sees it, from the credentials of its socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(layout.control_socket))
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def parent_pid(pid: int) -> int:
    return int(_stat(pid)[1])


def start_time(pid: int) -> str | None:
    """When the process started (clock ticks since boot), or None when it is gone; tells a reused pid.

    A process that is dead but not reaped yet holds nothing any more and counts as gone.
    """
    try:
        fields = _stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


def _stat(pid: int) -> list[str]:
    """The fields of the process's status from its state on; the name before it may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def connect(layout: Layout, pid: int) -> None:
    """Join the network namespace of ``pid`` to the host with a veth pair; only that namespace forwards packets."""
    peer = ["type", "veth", "peer", "name", "eth0", "netns", str(pid)]
    run(["ip", "link", "add", layout.link, *peer])
    run(["ip", "addr", "add", f"{layout.host_ip}/24", "dev", layout.link])
    run(["ip", "link", "set", layout.link, "up"])
    inside = ["nsenter", "--target", str(pid), "--net"]
    for command in (
        ["ip", "addr", "add", f"{layout.node_ip}/24", "dev", "eth0"],
        ["ip", "link", "set", "lo", "up"],
        ["ip", "link", "set", "eth0", "up"],
        ["ip", "route", "add", "default", "via", layout.host_ip],
    ):
        run([*inside, *command])


def disconnect(layout: Layout) -> None:
    """Remove the link if the end of its namespace has not done so yet."""

    def gone() -> None:
        if not Path("/sys/class/net", layout.link).exists():
            return
        try:
            run(["ip", "link", "del", layout.link])
        except CommandError as error:
            raise NotYetError(str(error)) from error

    wait_until(f"the removal of link {layout.link}", gone, timeout=20)


def cgroup_hierarchies() -> list[Path]:
    """The mount points of every cgroup hierarchy, of version 1 and 2."""
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [Path(fields[1]) for fields in lines if fields[2] in ("cgroup", "cgroup2")]


def make_cgroups(layout: Layout) -> None:
    """Make the parent of all of the node's cgroups in each hierarchy."""
    for hierarchy in cgroup_hierarchies():
        (hierarchy / layout.name).mkdir(exist_ok=True)


def remove_cgroups(layout: Layout) -> None:
    """Remove the node's cgroups; the kernel may take a moment to let go of those whose processes just died."""

    def remove() -> None:
        try:
            for hierarchy in cgroup_hierarchies():
                for directory, _, _ in os.walk(hierarchy / layout.name, topdown=False):
                    Path(directory).rmdir()
        except OSError as error:
            raise NotYetError(str(error)) from error

    wait_until(f"the removal of the cgroups {layout.name}", remove, timeout=20)


def write_supervisor_config(layout: Layout, components: dict[str, list[str]]) -> Path:
    """Write the file that tells the supervisor what to run, and return its path."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    config = {
        "prepare": prepare_commands(layout),
        "components": components,
        # Nothing else of the caller's environment: a proxy or a KUBECONFIG set there is not meant for the node.
        "environment": {"PATH": path, "HOME": str(layout.root)},
        "socket": str(layout.control_socket),
        "logs": str(layout.logs),
    }
    target = layout.conf / "supervisor.json"
    target.write_text(json.dumps(config, indent=1))
    return target
