"""A run from its start, or from where an earlier adze left it, to its end."""

import asyncio
import signal
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from adze.core.model import Decision, Run, Workflow
from adze.core.pods import Pod
from adze.local import approvals, runtimes
from adze.local.api import Api
from adze.local.kubelet import Kubelet
from adze.local.logs import Follower
from adze.local.state import Folder, Order
from adze.local.variables import Objects
from adze.shell.engine import Engine
from adze.shell.outside import utcnow

if TYPE_CHECKING:
    from adze.local.outputs import Receiver

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Show(Protocol):
    """Who watches a run."""

    def change(self, run: Run, pods: Iterable[Pod]) -> None:
        """The run or one of its Pods has changed."""

    def line(self, pod: Pod, text: str) -> None:
        """A Pod has printed a line."""

    def tick(self) -> None:
        """Time has passed."""

    def print(self, text: str) -> None:
        """Something has to be said besides."""


class Runner:
    """One run and all that works on it."""

    def __init__(
        self, folder: Folder, show: Show, clock: Callable[[], datetime] = utcnow, *, ask: bool = False
    ) -> None:
        """`ask` says whether steps that wait for approval are asked about on the terminal."""
        self._order = order = folder.load("order", Order)
        workflows = [msgspec.convert(item, Workflow) for item in order.objects if item.get("kind") == "Workflow"]
        objects = Objects(item for item in order.objects if item.get("kind") != "Workflow")
        self._show = show
        self._api = Api(folder, {workflow.metadata.name: workflow for workflow in workflows}, clock)
        self._kubelet = Kubelet(self._api, folder, order, objects, clock)
        self._engine = Engine(self._api, runtimes.POLICY, clock=clock)
        self._logs = Follower(folder)
        self._desk = approvals.Desk(show.print, self._decide) if ask else None
        self._receiver: Receiver | None = None
        self._folder = folder
        self._ended = asyncio.Event()
        self._error: BaseException | None = None
        self.interrupted: int | None = None
        """The signal that ended this before the run's end."""

    async def run(self) -> Run:
        """The run as it stands at its end, or when a signal comes; the next Runner goes on from there.

        Raises what a callback has raised, such as the OSError of a full disk.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._broken)
        for number in SIGNALS:
            loop.add_signal_handler(number, self._interrupt, number)
        if any(step.large_output for step in self._order.spec(self._api.run).every_step()):
            self._receive()
        self._api.run_changed = self._run_changed
        self._api.pod_changed = self._pod_changed
        self._logs.skip(self._api.pods.values())
        for pod in self._api.pods.values():
            self._engine.see_pod(None, pod)
        self._kubelet.recover()
        self._engine.see_run(self._api.run)
        self._engine.start()
        self._run_changed(self._api.run)
        follow = loop.create_task(self._follow())
        if self._desk and approvals.needed(self._order.spec(self._api.run)):
            self._desk.listen()
        try:
            await self._ended.wait()
        finally:
            await self._engine.stop()
            await self._kubelet.close()
            if self._receiver:
                self._receiver.stop()
            follow.cancel()
            if self._desk:
                self._desk.close()
            self._print_logs()
            for number in SIGNALS:
                loop.remove_signal_handler(number)
        if self._error:
            raise self._error
        return self._api.run

    def _receive(self) -> None:
        from adze.local.outputs import Receiver  # what few runs need needn't cost the others

        self._receiver = Receiver(self._api, self._folder)
        self._kubelet.outputs_url = self._receiver.url
        self._receiver.start()

    def _broken(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._error = context.get("exception") or RuntimeError(context["message"])
        self._ended.set()

    def _interrupt(self, number: int) -> None:
        if self.interrupted is not None:
            self._kubelet.kill()
        elif self._kubelet.busy:
            self._show.print("ending the steps that run; once more kills them")
        self.interrupted = self.interrupted or number
        self._ended.set()

    def _run_changed(self, run: Run) -> None:
        self._engine.see_run(run)
        if run.status.phase.final:
            self._ended.set()
        self._show.change(run, self._api.pods.values())
        if self._desk:
            self._desk.change(run)

    def _decide(self, step: str, verdict: Decision) -> None:
        asked = next(one for one in approvals.needed(self._order.spec(self._api.run)) if one.name == step)
        self._api.decide(approvals.decision(asked, verdict))

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        self._engine.see_pod(before, after)
        if after:
            if after.ended:
                self._print_logs()
            self._kubelet.look(after.name)
        self._show.change(self._api.run, self._api.pods.values())

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(Follower.PAUSE)
            self._print_logs()
            self._show.tick()

    def _print_logs(self) -> None:
        for pod, text in self._logs.read(self._api.pods.values()):
            self._show.line(pod, text)
