"""The operator as a process that can be frozen, killed and started again."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.operator_process import OperatorProcess

START_TIMEOUT = 60.0


class Operator(OperatorProcess):
    """An operator by a kubeconfig that may lead to a proxy.

    Without a `lease` replicas work at the same time: that must be safe too, and here it's the harder test.
    """

    def __init__(self, kubeconfig: Path, namespace: str, lease: str = "", prelude: str = "") -> None:
        """`prelude` is Python that runs first: with it a test breaks the operator on purpose."""
        self.frozen = False
        self.killed = False
        super().__init__(
            kubeconfig,
            namespace,
            start_timeout=START_TIMEOUT,
            end_with_us=signal.SIGKILL,
            prelude=prelude,
            ADZE_LEASE=lease,
            POD_NAMESPACE=namespace,
        )

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
