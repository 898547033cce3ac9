"""The embedded node itself, on a node of these tests' own beside any other: the last test destroys it."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from . import audit, components, namespaces
from .layout import Layout
from .node import Node
from .wait import NotYetError, wait_true, wait_until

pytestmark = pytest.mark.cluster

BUSYBOX = "localhost/adze/busybox:1"
POD_TIMEOUT = 60
MADE_BY_A_NODE = re.compile(r"/(adze|kubepods|kubelet|system\.slice/containerd|k8s\.io)")


@dataclass(frozen=True)
class HostState:
    """What a node could leave behind on the host, other than processes and files below its directory."""

    links: frozenset[str]
    network_namespaces: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    directories: frozenset[str]
    settings: tuple[str, ...]

    @classmethod
    def now(cls, other: str) -> HostState:
        """The state at this moment, less what belongs to the node named ``other``, which may run meanwhile."""
        # Programs that have nothing to do with the node make and remove cgroups too, hence by name.
        every = (str(each) for root in namespaces.cgroup_hierarchies() for each in root.rglob("*") if each.is_dir())
        cgroups = {each for each in every if MADE_BY_A_NODE.search(each) and f"/{other}/" not in f"{each}/"}
        directories = [Path("/run"), Path("/var/lib"), Path("/var/log")]
        return cls(
            links=frozenset(each.name for each in Path("/sys/class/net").iterdir() if each.name != f"{other}-h"),
            network_namespaces=frozenset(_names(Path("/run/netns"))),
            mounts=frozenset(Path("/proc/self/mountinfo").read_text().splitlines()),
            cgroups=frozenset(cgroups),
            directories=frozenset(f"{top}/{name}" for top in directories for name in _names(top)),
            settings=tuple(Path("/proc/sys", each).read_text() for each in namespaces.HOST_SETTINGS),
        )


def _names(directory: Path) -> list[str]:
    return [each.name for each in directory.iterdir()] if directory.exists() else []


@pytest.fixture(scope="module")
def other() -> str:
    """The name of the node that other tests may be using at the same time."""
    return Layout.default().name


@pytest.fixture(scope="module")
def before(other: str) -> HostState:
    return HostState.now(other)


@pytest.fixture(scope="module")
def node(before: HostState, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    own = Node(Layout(tmp_path_factory.mktemp("node")))
    try:
        own.up()
        yield own
    finally:
        own.down()


def run_pod(node: Node, name: str, script: str, wanted: str = "Succeeded") -> None:
    """Run a busybox Pod until its phase is ``wanted``; a component that is coming back may delay each step."""

    def create() -> None:
        try:
            node.kubectl("run", name, f"--image={BUSYBOX}", "--restart=Never", "--", "sh", "-c", script)
        except RuntimeError as error:
            # An answer that was lost on the way does not mean that the Pod was not created.
            if "AlreadyExists" not in str(error):
                raise NotYetError(str(error)) from error

    wait_until(f"the creation of pod {name}", create, timeout=POD_TIMEOUT)
    wait_true(f"pod {name} to be {wanted}", lambda: phase(node, name) == wanted, POD_TIMEOUT, lambda: pod(node, name))


def phase(node: Node, name: str) -> str:
    return pod(node, name, "jsonpath={.status.phase}")


def pod(node: Node, name: str, output: str = "yaml") -> str:
    try:
        return node.kubectl("get", "pod", name, "-o", output)
    except RuntimeError as error:
        return str(error)


def test_up_of_a_ready_node_changes_nothing(node: Node) -> None:
    before = node.status()
    assert node.up() < 5
    assert node.status() == before
    conditions = node.kubectl("get", "node", node.layout.node_name, "-o", "jsonpath={.status.conditions}")
    assert '"reason":"KubeletReady"' in conditions


def test_pod_runs_and_its_log_is_read(node: Node) -> None:
    run_pod(node, "first", "echo hello from $(hostname)")
    assert node.kubectl("logs", "first") == "hello from first\n"


def test_service_is_reached_by_name(node: Node) -> None:
    serve = "mkdir /www && echo served > /www/index.html && exec httpd -f -p 8080 -h /www"
    run_pod(node, "web", serve, wanted="Running")
    node.kubectl("expose", "pod", "web", "--port=80", "--target-port=8080")
    fetch = "until wget -q -O - http://web.default/; do echo again >&2; done"
    run_pod(node, "client", fetch)
    assert node.kubectl("logs", "client").splitlines()[-1] == "served"


def test_names_outside_the_cluster_are_refused_at_once(node: Node) -> None:
    run_pod(node, "outside", "! nslookup somewhere.invalid.")
    assert "REFUSED" in node.kubectl("logs", "outside")


def test_writes_are_audited_with_their_client(node: Node) -> None:
    start = audit.end(node.audit_log)
    node.kubectl("create", "configmap", "audited", "--from-literal=a=b")
    node.kubectl("get", "configmap", "audited")
    write = audit.Write("kubectl", "create", "configmaps")

    def noted() -> audit.Event:
        events = list(audit.events(node.audit_log, start))
        if audit.count(events, client="kubectl")[write] != 1:
            raise NotYetError(str(audit.count(events)))
        return next(event for event in events if event.name == "audited")

    event = wait_until("the audit event", noted, timeout=5)
    assert (event.user, event.namespace, event.status) == ("admin", "default", 201)
    assert all(each.verb not in ("get", "list", "watch") for each in audit.events(node.audit_log))


@pytest.mark.parametrize("name", components.NAMES)
def test_killed_component_comes_back(node: Node, name: str) -> None:
    starts = node.status()[name]["starts"]
    node.kill(name, signal.SIGKILL)
    node.wait_restarted(name, starts)
    run_pod(node, f"after-{name}", "until nslookup kube-dns.kube-system.svc.cluster.local; do echo again; done")


def test_stopped_component_stays_down_until_started(node: Node) -> None:
    node.stop("kube-scheduler")
    run_pod(node, "unscheduled", "true", wanted="Pending")
    # One that died at the same time and was not stopped is back: so much time has passed.
    starts = node.status()["coredns"]["starts"]
    node.kill("coredns")
    node.wait_restarted("coredns", starts)
    assert node.status()["kube-scheduler"]["pid"] is None
    assert phase(node, "unscheduled") == "Pending"
    node.start("kube-scheduler")
    wait_true("the pod to run", lambda: phase(node, "unscheduled") == "Succeeded", POD_TIMEOUT)


def test_paused_component_goes_on_in_the_same_process(node: Node) -> None:
    before = node.status()["kubelet"]
    node.kill("kubelet", signal.SIGSTOP)
    run_pod(node, "paused", "true", wanted="Pending")
    wait_true("the pod to be scheduled", lambda: "nodeName:" in pod(node, "paused"), POD_TIMEOUT)
    assert phase(node, "paused") == "Pending"
    node.kill("kubelet", signal.SIGCONT)
    wait_true("the pod to run", lambda: phase(node, "paused") == "Succeeded", POD_TIMEOUT)
    assert node.status()["kubelet"] == before


def test_restart_makes_a_new_process(node: Node) -> None:
    before = node.status()["kube-apiserver"]
    node.restart("kube-apiserver")
    after = node.status()["kube-apiserver"]
    assert after["starts"] == before["starts"] + 1
    wait_until("the node to be Ready again", node.check_ready, timeout=60)


def test_unknown_component_is_an_error(node: Node) -> None:
    with pytest.raises(ValueError, match="no component 'nothing'"):
        node.stop("nothing")


def test_down_leaves_nothing_behind(node: Node, before: HostState, other: str) -> None:
    run_pod(node, "alive", "sleep 3600", wanted="Running")
    processes = _descendants(namespaces.parent_pid(namespaces.init_pid(node.layout)))
    assert len(processes) > len(components.NAMES) + 2
    node.down()
    assert not node.layout.root.exists()
    left = {pid for pid, started in processes.items() if namespaces.start_time(pid) == started}
    assert left == set()
    assert HostState.now(other) == before
    node.down()


def _descendants(root: int) -> dict[int, str | None]:
    """The process and all its descendants, each with its start time."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(pid): int(parent) for pid, parent in map(str.split, listed.splitlines())}
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: namespaces.start_time(pid) for pid in found}
