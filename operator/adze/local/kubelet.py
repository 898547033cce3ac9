"""Makes processes of Pods, and tells in the Pods' status what became of them."""

import asyncio
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from adze.core import names
from adze.core.carrier import PodCondition
from adze.core.pods import (
    INLINE_LIMIT,
    ContainerState,
    ContainerStatus,
    Pod,
    PodStatus,
    Running,
    Terminated,
)
from adze.local import process, runtimes
from adze.local.api import Api
from adze.local.process import Process
from adze.local.runtimes import Command, NotStarted
from adze.local.state import Folder, Order
from adze.local.variables import HOST, Objects

replace = msgspec.structs.replace

GRACE = 30.0
"""Seconds between the request to end and the kill, as Kubernetes has it."""
SHUTDOWN_GRACE = 10.0
"""The same when adze itself is to end: somebody waits for the prompt."""
UNKNOWN = -1
"""Exit code of a process that told none."""
LOG_LINES, LOG_BYTES = 80, 2048
"""What becomes of the log in a failed attempt's message where it wrote no output."""


class Kubelet:
    """Starts, watches and ends the processes of one run's Pods."""

    def __init__(self, api: Api, folder: Folder, order: Order, objects: Objects, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._folder = folder
        self._runtime = order.runtime
        self._parallel = order.parallel
        self._objects = objects
        self._clock = clock
        self._processes: dict[str, Process] = {}
        self._commands: dict[str, Command] = {}
        self._killers: dict[str, asyncio.TimerHandle] = {}
        self._closing = False
        self._idle = asyncio.Event()
        self.outputs_url = ""
        """Where processes send large outputs, if any does."""
        runtimes.equip(folder.path)

    def recover(self) -> None:
        """Take over the processes of an earlier adze, and tell the end of those that are no more."""
        for pod in list(self._api.pods.values()):
            if pod.ended or pod.gated:
                continue
            folder = self._folder.pod(pod.name)
            found = Process.find(folder)
            if found:
                self._watch(pod.name, found)
                self._tell_running(pod.name, process.moment(folder, "pid"))
            elif process.noted(folder, "pid") is not None:
                self._tell_end(pod.name)
        for name in list(self._api.pods):
            self.look(name)

    def look(self, name: str) -> None:
        """A Pod has changed: it may have to be started or ended."""
        pod = self._api.pods.get(name)
        if pod is None or pod.ended or self._closing:
            return
        running = self._processes.get(name)
        if pod.deleting and running and name not in self._killers:
            self._end(name, running, GRACE)
        elif not pod.deleting and not pod.gated and not running:
            if len(self._processes) < self._parallel:
                self._start(pod)
            elif not pod.condition("PodScheduled"):
                self._tell_waiting(pod)

    def _start(self, pod: Pod) -> None:
        folder = self._folder.pod(pod.name)
        manifest = self._api.manifests[pod.name]
        for name in ("alive", "pid", "exit"):
            folder.joinpath(name).unlink(missing_ok=True)
        try:
            runtimes.write_files(manifest, folder, self._runtime, self._api.page)
            command = runtimes.command(manifest, folder, self._runtime, self._objects, self.outputs_url)
            started = Process.start(folder, command.words, command.env)
        except (NotStarted, OSError) as error:
            now = self._clock()
            # As a container runtime does that can't execute what it's told to.
            failed = Terminated(exit_code=128, reason="StartError", message=str(error), started_at=now, finished_at=now)
            self._tell(pod.name, "Failed", ContainerState(terminated=failed))
            return
        self._commands[pod.name] = command
        self._watch(pod.name, started)
        self._tell_running(pod.name, self._clock())

    def _watch(self, name: str, running: Process) -> None:
        self._processes[name] = running
        self._idle.clear()
        running.when_ended(lambda: self._ended(name))

    def _tell_running(self, name: str, since: datetime | None) -> None:
        if not self._api.pods[name].main.running:
            self._tell(name, "Running", ContainerState(running=Running(started_at=since or self._clock())))

    def _tell_waiting(self, pod: Pod) -> None:
        full = f"{self._parallel} processes run at a time"
        condition = PodCondition(type="PodScheduled", status="False", reason="Unschedulable", message=full)
        self._api.put_pod(replace(pod, status=PodStatus(conditions=(condition,))))

    def _tell(self, name: str, phase: str, state: ContainerState, reason: str = "", message: str = "") -> None:
        pod = self._api.pods[name]
        containers = (ContainerStatus(name=names.MAIN, state=state),)
        status = PodStatus(phase=phase, reason=reason, message=message, container_statuses=containers)
        self._api.put_pod(replace(pod, spec=replace(pod.spec, node_name=HOST), status=status))

    def _ended(self, name: str) -> None:
        """The shell around a Pod's command is gone, and there is room for another."""
        self._tell_end(name)
        for waiting in list(self._api.pods):
            self.look(waiting)

    def _tell_end(self, name: str) -> None:
        folder = self._folder.pod(name)
        self._processes.pop(name, None)
        if killer := self._killers.pop(name, None):
            killer.cancel()
        if not self._processes:
            self._idle.set()
        pod = self._api.pods[name]
        code = process.noted(folder, "exit")
        started = pod.main.running.started_at if pod.main.running else process.moment(folder, "pid")
        if code is not None and not (self._closing and code):
            terminated = Terminated(
                exit_code=code,
                message=said(folder, code),
                started_at=started,
                finished_at=max(process.moment(folder, "exit") or self._clock(), started or self._clock()),
            )
            self._tell(name, "Failed" if code else "Succeeded", ContainerState(terminated=terminated))
            return
        self._remove(name)
        code = 137 if pod.deleting else UNKNOWN
        state = ContainerState(terminated=Terminated(exit_code=code, started_at=started, finished_at=self._clock()))
        if pod.deleting:
            self._tell(name, "Failed", state)
        elif self._closing:
            self._tell(name, "Failed", state, "Terminated", "adze was interrupted")
        else:
            self._tell(name, "Failed", state, "NodeLost", "its process was gone before it told its end")

    def _remove(self, name: str) -> None:
        """What runs in a container engine doesn't end with the process that has asked for it."""
        command = self._commands.get(name)
        if command is None:
            with suppress(NotStarted):
                folder = self._folder.pod(name)
                command = runtimes.command(self._api.manifests[name], folder, self._runtime, self._objects)
        if command and command.remove:
            with suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(command.remove, capture_output=True, check=False, timeout=60)

    def _end(self, name: str, running: Process, grace: float) -> None:
        running.send(signal.SIGTERM)
        loop = asyncio.get_running_loop()
        self._killers[name] = loop.call_later(grace, running.send, signal.SIGKILL)

    @property
    def busy(self) -> bool:
        """Whether a process runs."""
        return bool(self._processes)

    def kill(self) -> None:
        """End everything at once."""
        for running in self._processes.values():
            running.send(signal.SIGKILL)

    async def close(self) -> None:
        """End all processes, as a node does that shuts down: those attempts count as lost, not as failed."""
        self._closing = True
        for name, running in list(self._processes.items()):
            self._end(name, running, SHUTDOWN_GRACE)
        if self._processes:
            await self._idle.wait()


def said(folder: Path, code: int) -> str:
    """The termination message: the end of the output, or of a failed attempt's log."""
    output = tail(folder / "output", INLINE_LIMIT)
    if output or not code:
        return output
    return "\n".join(tail(folder / "log", LOG_BYTES).splitlines()[-LOG_LINES:])


def tail(path: Path, limit: int) -> str:
    """At most the last `limit` bytes of a file; empty if there's no such file."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - limit))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
