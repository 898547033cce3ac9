"""The operator as a process of this machine that can be frozen, killed and started again."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import aiohttp

START_TIMEOUT = 60.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class Operator:
    """`adze operator` for one namespace, by a kubeconfig that may lead to a proxy.

    Without a `lease` replicas work at the same time: that must be safe too, and here it's the harder test.
    """

    def __init__(self, kubeconfig: Path, namespace: str, lease: str = "", prelude: str = "") -> None:
        """`prelude` is Python that runs first: with it a test breaks the operator on purpose."""
        self.port = _free_port()
        self.frozen = False
        self.killed = False
        self.instance = f"adze-{self.port}"
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by close)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ADZE_")}
        environment |= {
            "KUBECONFIG": str(kubeconfig),
            "ADZE_NAMESPACES": namespace,
            "ADZE_PORT": str(self.port),
            "ADZE_LOG_LEVEL": "warning",
            "ADZE_LEASE": lease,
            "POD_NAMESPACE": namespace,
            "POD_NAME": self.instance,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"{prelude}\nfrom adze.cli import main; main()", "operator"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs, or is frozen."""
        return self._process.poll() is None

    async def ready(self) -> None:
        """Wait until it knows the Pods. TimeoutError shows its log."""
        start = time.monotonic()
        seen = "nothing"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while time.monotonic() - start < START_TIMEOUT:
                if not self.alive:
                    raise RuntimeError(f"the operator ended with status {self._process.returncode}\n{self.log()}")
                try:
                    async with session.get(f"http://127.0.0.1:{self.port}/readyz") as answer:
                        if answer.status == 200:
                            return
                        seen = f"HTTP {answer.status}"
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    seen = str(error)
                await asyncio.sleep(0.1)
        raise TimeoutError(f"the operator was not ready within {START_TIMEOUT:.0f} s; saw {seen}\n{self.log()}")

    def log(self, lines: int = 15) -> str:
        """The end of what it printed."""
        self._output.seek(0)
        return "".join(self._output.readlines()[-lines:])

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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _die_with_parent() -> None:
    """A test that was killed leaves no operator behind."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
