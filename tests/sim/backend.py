"""What a case of `conformance.py` needs of an API server, of users and of the cluster; and how cases compare."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from adze.core import manifest, names
from adze.core.calls import CreatePod, Failure, Problem
from adze.core.model import Run, RunStatus
from adze.core.pods import Pod

HOLD = "example.com/hold"
"""A finalizer and a scheduling gate of somebody else."""


class Backend(Protocol):
    """One API server, with nobody at work in it but the case."""

    async def do(self, call: Any) -> Any:
        """A call of the protocol, through the driver."""

    async def run(self, name: str) -> Run:
        """A user creates a run."""

    async def change(self, run: Run, **spec: Any) -> None:
        """A user changes a run's spec."""

    async def delete_run(self, run: Run, *, lingering: bool = False) -> None:
        """A user deletes a run. One that is lingering stays until `end_run`."""

    async def end_run(self, run: Run) -> None:
        """What held a lingering run lets go."""

    async def orphan_run(self, run: Run) -> None:
        """A user deletes a run and leaves its Pods."""

    async def write_blindly(self, before: Run, status: RunStatus) -> Run:
        """The status without a resourceVersion: what a writer does who swaps nothing."""

    async def foreign_pod(self, name: str) -> Pod:
        """A user makes a Pod."""

    async def touch(self, pod: Pod) -> Pod:
        """Somebody else writes to a Pod."""

    async def remove_pod(self, pod: Pod) -> None:
        """A user deletes a Pod by force."""

    async def place(self, pod: Pod) -> Pod:
        """The scheduler puts a Pod on a node."""

    async def kill(self, pod: Pod) -> Pod:
        """The kubelet ends the containers of a deleted Pod, and reports it."""

    async def refuse(self, reason: str) -> None:
        """From now on Pods are refused: QuotaExceeded or PodRejected."""

    async def changes(self, kind: str, since: Run | Pod) -> list[tuple[str, str, str]]:
        """What a watch of `runs` or `pods` tells after the version of `since`: type, name, version."""

    async def eventually(self, probe: Callable[[], Awaitable[Any]]) -> None:
        """Let kubelet and garbage collector work until `probe` raises no AssertionError."""


def attempt_pod(run: Run, name: str, *, gates: tuple[str, ...] = (names.GATE, HOLD)) -> CreatePod:
    """The create of a Pod as the protocol makes it. Another's gate keeps it from the scheduler."""
    container = {"name": "main", "image": "localhost/adze/busybox:1", "command": ["sleep", "600"]}
    return CreatePod(
        run,
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": run.metadata.namespace,
                "labels": {names.RUN_UID: run.metadata.uid},
                "finalizers": [names.FINALIZER],
                "ownerReferences": [manifest.owner(run)],
            },
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "schedulingGates": [{"name": gate} for gate in gates],
                "containers": [container],
            },
        },
    )


def same(seen: Any, wanted: Any, what: str = "") -> None:
    """AssertionError that shows both."""
    assert seen == wanted, f"{what} {seen!r} is not {wanted!r}".strip()


def fails(answer: Any, failure: Failure) -> None:
    """The call failed like that."""
    same(answer.failure if isinstance(answer, Problem) else answer, failure)


def number(item: Any) -> int:
    """Its resourceVersion."""
    return int(item.metadata.resource_version)
