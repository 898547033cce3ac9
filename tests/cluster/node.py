"""The embedded node: its life from nothing to Ready and back to nothing, and the control of its components."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import binary, bootstrap, components, images, namespaces, packages, pki
from .api import Api
from .layout import Layout
from .progress import run, say
from .wait import NotYetError, wait_true, wait_until

CONTROL_TIMEOUT = 10.0
_POST = """
import sys, urllib.request as http
print(http.urlopen(http.Request(sys.argv[1], sys.argv[2].encode()), timeout=10).read().decode())
"""


class Node:
    """A single-node Kubernetes whose whole state is below one directory and in one set of namespaces."""

    kind = "embedded"

    def __init__(self, layout: Layout | None = None) -> None:
        self.layout = layout or Layout.default()

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, valid on the host."""
        return self.layout.kubeconfig()

    @property
    def audit_log(self) -> Path:
        return self.layout.audit_log

    # Life cycle

    def up(self) -> float:
        """Bring the node to Ready, from whatever state; return the seconds that took once all parts were cached.

        A node that is Ready already is left alone; the remains of one that died are removed first.
        """
        start = time.monotonic()
        if self.is_ready():
            say(f"node {self.layout.node_name} is Ready already")
            return time.monotonic() - start
        if os.geteuid() != 0:
            raise PermissionError("the embedded node needs root for its namespaces; or set KUBECONFIG to a cluster")
        packages.ensure()
        executable = binary.ensure()
        tars = images.ensure(images.NODE_IMAGES)
        with binary.alone(self.layout.name):
            if self.is_ready():
                say(f"node {self.layout.node_name} was brought up by another process")
                return 0.0
            self._remove()
            start = time.monotonic()
            try:
                self._create(executable)
                self._bring_up(tars, start)
                self._write_state(complete=True)
            except BaseException:
                say(f"the node did not come up; its logs stay in {self.layout.logs} until `down` or the next `up`")
                self._kill_processes()
                raise
        say(f"node {self.layout.node_name} is Ready", since=start)
        return time.monotonic() - start

    def down(self) -> None:
        """Remove every process, mount, link, cgroup and file of the node; nothing to remove is fine too."""
        with binary.alone(self.layout.name):
            self._remove()

    def _remove(self) -> None:
        layout = self.layout
        if layout.root.exists() and any(layout.root.iterdir()) and not layout.state_file.exists():
            raise RuntimeError(f"{layout.root} holds files but no {layout.state_file.name}: not a node's, left alone")
        self._kill_processes()
        namespaces.disconnect(layout)
        namespaces.remove_cgroups(layout)
        if layout.root.exists():
            shutil.rmtree(layout.root)

    def _create(self, executable: Path) -> None:
        layout = self.layout
        layout.root.mkdir(parents=True, exist_ok=True)
        layout.state_file.write_text(json.dumps({"processes": {}, "complete": False}))
        layout.logs.mkdir()
        pki.write(layout)
        components.write_configs(layout)
        namespaces.write_own_settings(layout)
        namespaces.make_cgroups(layout)
        config = namespaces.write_supervisor_config(layout, components.commands(layout, executable))
        namespaces.spawn(layout, config)
        pid = wait_until("the supervisor", self._supervisor_pid, timeout=20, interval=0.02)
        self._write_state(complete=False)
        namespaces.connect(layout, pid)

    def _write_state(self, complete: bool) -> None:
        """Record the processes, and whether `up` came to its end: only then are all images there."""
        self.layout.state_file.write_text(json.dumps({"processes": self._outer_processes(), "complete": complete}))

    def _outer_processes(self) -> dict[str, str | None]:
        """The supervisor and the process that made its namespaces, each with its start time; OSError if gone."""
        pid = namespaces.init_pid(self.layout)
        return {str(each): namespaces.start_time(each) for each in (pid, namespaces.parent_pid(pid))}

    def _supervisor_pid(self) -> int:
        try:
            return namespaces.init_pid(self.layout)
        except OSError as error:
            log = namespaces.supervisor_log(self.layout).read_text()
            raise NotYetError(f"{error}; its log: {log[-2000:]}") from error

    def _bring_up(self, tars: list[Path], start: float) -> None:
        api = Api(self.layout)
        for name in components.FIRST:
            self.start(name)
        with ThreadPoolExecutor(max_workers=1) as background:
            imports = background.submit(self._import_all, tars)
            wait_until("the API server", lambda: api.text("/readyz"), timeout=120)
            say("API server answers", since=start)
            for name in components.THEN:
                self.start(name)
            for collection, body in bootstrap.objects(self.layout):
                wait_until(f"the creation of {body['kind']}", lambda: api.ensure(collection, body), timeout=30)  # noqa: B023
            wait_until("the Node object", lambda: api.get(f"/api/v1/nodes/{self.layout.node_name}"), timeout=60)
            for name in components.LAST:
                self.start(name)
            wait_until("the node to be Ready", self.check_ready, timeout=60)
            imports.result()

    def _import_all(self, tars: list[Path]) -> None:
        wait_until("containerd", lambda: _connect(self.layout.containerd_socket).close(), timeout=60)
        for tar in tars:
            self.load(tar)

    def check_ready(self) -> None:
        """Raise NotYetError or OSError unless Pods can be created, run, reach services and resolve their names."""
        api = Api(self.layout)
        node = api.get(f"/api/v1/nodes/{self.layout.node_name}")
        conditions = {each["type"]: each for each in node["status"].get("conditions", [])}
        ready = conditions.get("Ready", {})
        if ready.get("status") != "True":
            raise NotYetError(f"node condition {ready.get('reason')}: {ready.get('message')}")
        api.get("/api/v1/namespaces/default/serviceaccounts/default")
        for what, port in (("kube-proxy", components.PROXY_HEALTH_PORT), ("coredns", components.DNS_PORT)):
            try:
                socket.create_connection((self.layout.node_ip, port), timeout=2).close()
            except OSError as error:
                raise NotYetError(f"{what} on port {port}: {error}") from error

    def runs(self) -> bool:
        """Whether the node's supervisor is there, whatever its components do."""
        try:
            return bool(self.status())
        except OSError:
            return False

    def is_ready(self) -> bool:
        """Whether the node runs and is Ready at this moment."""
        try:
            if not self.runs() or not json.loads(self.layout.state_file.read_text())["complete"]:
                return False
            self.check_ready()
        except (NotYetError, OSError):
            return False
        return True

    def _kill_processes(self) -> None:
        """Kill the namespaces' first process, which takes all others along, and wait until it is gone."""
        try:
            recorded = json.loads(self.layout.state_file.read_text())["processes"]
        except FileNotFoundError:
            return
        with suppress(OSError):
            # An `up` that was killed early has recorded nothing yet.
            recorded |= self._outer_processes()
        ours = [int(pid) for pid, started in recorded.items() if namespaces.start_time(int(pid)) == started]
        for pid in ours:
            os.kill(pid, signal.SIGKILL)
        for pid in ours:
            started = recorded[str(pid)]
            wait_true(f"the end of process {pid}", lambda: namespaces.start_time(pid) != started, timeout=30)  # noqa: B023

    # Components

    def status(self) -> dict[str, dict[str, Any]]:
        """Each component's state: ``wanted``, ``pid`` (inside the node, None if down) and ``starts`` so far."""
        return self._ask({"action": "status"})

    def start(self, name: str) -> None:
        """Have the component running (again)."""
        self._ask_about(name, "start")

    def stop(self, name: str) -> None:
        """End the component and keep it down until ``start``; returns once its process is gone."""
        self._ask_about(name, "stop")
        wait_true(f"{name} to end", lambda: self.status()[name]["pid"] is None, timeout=20, seen=self.status)

    def restart(self, name: str) -> None:
        """End the component and start it again; returns once the new process runs."""
        before = self._ask_about(name, "restart")
        self.wait_restarted(name, before["starts"])

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send the component a signal; one that dies of it is started again within about a second."""
        self._ask_about(name, "kill", signal=int(number))

    def wait_restarted(self, name: str, starts: int) -> None:
        """Wait until the component runs in a later process than the one numbered ``starts``."""

        def running() -> bool:
            state = self.status()[name]
            return state["starts"] > starts and state["pid"] is not None

        wait_true(f"{name} to run again", running, timeout=20, seen=self.status)

    def _ask_about(self, name: str, action: str, **more: int) -> dict[str, Any]:
        if name not in components.NAMES:
            raise ValueError(f"no component {name!r}; there are {', '.join(components.NAMES)}")
        return self._ask({"action": action, "name": name, **more})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with _connect(self.layout.control_socket) as connection, connection.makefile("rw") as stream:
            stream.write(json.dumps(request) + "\n")
            stream.flush()
            line = stream.readline()
        if not line:
            raise ConnectionError(f"the supervisor refused {request}; see {self.layout.logs}/supervisor.log")
        answer: dict[str, Any] = json.loads(line)
        return answer

    # etcd

    def etcd(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One call of etcd's JSON gateway, which listens inside the node only."""
        inside = ["nsenter", "--target", str(namespaces.init_pid(self.layout)), "--net", sys.executable, "-c", _POST]
        done = run([*inside, components.ETCD_URL + path, json.dumps(body)])
        answer: dict[str, Any] = json.loads(done)
        return answer

    def fill(self, *, full: bool) -> None:
        """Have etcd take itself for full, so that it refuses each write (alarm NOSPACE), or no longer."""
        member = self.etcd("/v3/maintenance/status", {})["header"]["member_id"]
        alarm = {"alarm": "NOSPACE", "memberID": member, "action": "ACTIVATE" if full else "DEACTIVATE"}
        self.etcd("/v3/maintenance/alarm", alarm)

    # Use

    def load(self, tar: Path) -> None:
        """Import an image archive into the node's container runtime."""
        run(["ctr", "--address", self.layout.containerd_socket, "--namespace", "k8s.io", "images", "import", tar])

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl as the administrator and return its output; a failure raises with what it said."""
        argv = [str(binary.ensure()), "kubectl", f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout)
        if done.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONTROL_TIMEOUT)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection
