"""`adze operator` as a process of this machine, for one namespace: what the bench measures and chaos kills."""

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
from pathlib import Path

import aiohttp

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class OperatorProcess:
    """A started operator. Its output goes to a file that `log` reads; it ends with this process, even by force."""

    def __init__(
        self,
        kubeconfig: Path,
        namespace: str,
        *,
        start_timeout: float,
        end_with_us: signal.Signals,
        prelude: str = "",
        **settings: str,
    ) -> None:
        """`end_with_us` is sent to it when this process dies. `prelude` is Python that runs first. `settings` are
        further environment variables."""
        self.port = _free_port()
        self.instance = f"adze-{self.port}"
        self._start_timeout = start_timeout
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed with the process)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ADZE_")}
        environment |= {
            "KUBECONFIG": str(kubeconfig),
            "ADZE_NAMESPACES": namespace,
            "ADZE_PORT": str(self.port),
            "ADZE_LOG_LEVEL": "warning",
            "POD_NAME": self.instance,
            **settings,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"{prelude}\nfrom adze.cli import main; main()", "operator"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C is for whoever started it, who then ends it in order
            preexec_fn=lambda: _LIBC.prctl(_PR_SET_PDEATHSIG, end_with_us),
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs, or is frozen."""
        return self._process.poll() is None

    def check(self) -> None:
        """RuntimeError if it has ended."""
        if not self.alive:
            raise RuntimeError(f"the operator ended with status {self._process.returncode}\n{self.log()}")

    async def ready(self) -> None:
        """Wait until it knows the Pods. TimeoutError shows what was seen and its log."""
        start = time.monotonic()
        seen = "nothing"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while time.monotonic() - start < self._start_timeout:
                self.check()
                try:
                    async with session.get(f"http://127.0.0.1:{self.port}/readyz") as answer:
                        if answer.status == 200:
                            return
                        seen = f"HTTP {answer.status}: {await answer.text()}"
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    seen = str(error)
                await asyncio.sleep(0.1)
        raise TimeoutError(f"the operator was not ready within {self._start_timeout:.0f} s; saw {seen}\n{self.log()}")

    def log(self, lines: int = 15) -> str:
        """The end of what it printed."""
        self._output.seek(0)
        return "".join(self._output.readlines()[-lines:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
