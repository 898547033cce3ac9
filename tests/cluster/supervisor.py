"""The first process of the node's namespaces: starts the components, restarts those that die, obeys a socket.

Runs as a script with one argument, a JSON file::

    {"prepare": [[ARGV...], ...], "components": {NAME: [ARGV...]}, "environment": {...}, "socket": PATH, "logs": PATH}

The ``prepare`` commands run first, in order; then the socket is opened. A client sends one JSON object per
connection and reads one back: ``{"action": "status"}``, or ``start``, ``stop``, ``restart`` and ``kill`` with a
``"name"`` (and a ``"signal"`` number for ``kill``). A component that dies is started again after a moment, unless
it was stopped. As the first process of its pid namespace it takes everything with it when it is killed.

Imports nothing of this package: it starts faster, and is read once by an interpreter that keeps no other file open.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESTART_DELAY = 0.3
STOP_GRACE = 5.0
REQUEST_TIMEOUT = 2.0


@dataclass
class Component:
    """One supervised command. ``wanted`` says whether it should be running; ``starts`` counts its processes."""

    name: str
    argv: list[str]
    wanted: bool = False
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    start_at: float | None = None
    kill_at: float | None = None

    def state(self) -> dict[str, Any]:
        return {"wanted": self.wanted, "pid": self.process.pid if self.process else None, "starts": self.starts}


class Supervisor:
    """Owns the component processes; everything happens in the one thread that runs ``loop``."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._environment: dict[str, str] = config["environment"]
        self._logs = Path(config["logs"])
        self._components = {name: Component(name, argv) for name, argv in config["components"].items()}
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(config["socket"])
        self._listener.listen(16)
        self._selector.register(self._listener, selectors.EVENT_READ, self._serve)
        self._child_died, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._child_died, selectors.EVENT_READ, self._reap)

    def loop(self) -> None:
        """Serve for ever."""
        while True:
            for key, _ in self._selector.select(self._next_deadline()):
                key.data()
            self._act_on_deadlines()

    def _next_deadline(self) -> float | None:
        times = [at for c in self._components.values() for at in (c.start_at, c.kill_at) if at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _act_on_deadlines(self) -> None:
        now = time.monotonic()
        for component in self._components.values():
            if component.start_at is not None and component.start_at <= now:
                self._start(component)
            if component.kill_at is not None and component.kill_at <= now:
                component.kill_at = None
                self._signal(component, signal.SIGKILL)

    def _start(self, component: Component) -> None:
        component.start_at = None
        if component.process or not component.wanted:
            return
        try:
            with (self._logs / f"{component.name}.log").open("ab") as log:
                component.process = subprocess.Popen(
                    component.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    start_new_session=True,
                )
        except OSError as error:
            _note(f"{component.name} does not start: {error}")
            component.start_at = time.monotonic() + RESTART_DELAY
            return
        component.starts += 1
        _note(f"{component.name} started as {component.process.pid}")

    def _signal(self, component: Component, number: int) -> None:
        if component.process:
            os.kill(component.process.pid, number)

    def _end(self, component: Component) -> None:
        """Ask the process to end, and kill it if it has not within the grace time."""
        if component.process:
            self._signal(component, signal.SIGTERM)
            self._signal(component, signal.SIGCONT)
            component.kill_at = time.monotonic() + STOP_GRACE

    def _reap(self) -> None:
        """Collect every dead child: the components, and the orphans that fall to the first process."""
        os.read(self._child_died, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for component in self._components.values():
                if component.process and component.process.pid == pid:
                    self._ended(component, os.waitstatus_to_exitcode(status))

    def _ended(self, component: Component, code: int) -> None:
        _note(f"{component.name} ended with {code}")
        assert component.process
        component.process.returncode = code
        component.process = None
        component.kill_at = None
        if component.wanted:
            component.start_at = time.monotonic() + RESTART_DELAY

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(REQUEST_TIMEOUT)
            try:
                with connection.makefile("rw") as stream:
                    # A client that only connects, to learn this process's pid, sends nothing.
                    if line := stream.readline():
                        stream.write(json.dumps(self._answer(json.loads(line))) + "\n")
            except (OSError, ValueError, KeyError) as error:
                _note(f"bad request: {error!r}")

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["action"] == "status":
            return {name: component.state() for name, component in self._components.items()}
        component = self._components[request["name"]]
        before = component.state()
        match request["action"]:
            case "start":
                component.wanted = True
                self._start(component)
            case "stop":
                component.wanted = False
                component.start_at = None
                self._end(component)
            case "restart":
                component.wanted = True
                self._end(component)
                self._start(component)
            case "kill":
                self._signal(component, request["signal"])
            case other:
                raise ValueError(f"no such action: {other}")
        return before


def _note(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def main(path: str) -> None:
    config = json.loads(Path(path).read_text())
    for argv in config["prepare"]:
        subprocess.run(argv, check=True, env=config["environment"])
    Supervisor(config).loop()


if __name__ == "__main__":
    main(sys.argv[1])
