"""The operator as a process of this machine that can be frozen, killed and started again."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.bench.process import Operator as BenchOperator


class Operator(BenchOperator):
    """`adze operator` for one namespace, by a kubeconfig that may lead to a proxy."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        super().__init__(kubeconfig, namespace)
        self.frozen = False
        self.killed = False

    @property
    def alive(self) -> bool:
        """Whether its process runs, or is frozen."""
        return self._process.poll() is None

    def kill(self) -> None:
        """kill -9, and wait until it's gone."""
        self.killed = True
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._process.wait(10)

    def freeze(self) -> None:
        """Stop it where it is, in the middle of anything."""
        os.kill(self.pid, signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """Let it go on, with all that it believed."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)
        self.frozen = False

    def close(self) -> None:
        """End it for good."""
        self.thaw()
        self.kill()
        self._output.close()
