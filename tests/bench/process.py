"""The operator under measurement: a process of this machine, and what it costs."""

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

START_TIMEOUT = 40.0
STOP_TIMEOUT = 25.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class Operator:
    """`adze operator` for one namespace. Its output goes to a file that `log` reads."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.port = _free_port()
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed with the process)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ADZE_")}
        environment |= {
            "KUBECONFIG": str(kubeconfig),
            "ADZE_NAMESPACES": namespace,
            "ADZE_PORT": str(self.port),
            "ADZE_LOG_LEVEL": "warning",
            "ADZE_LOG_FORMAT": "json",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from adze.cli import main; main()", "operator"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C is for the bench, which then ends this in order
            preexec_fn=_die_with_parent,
        )
        self._clock = _cpu_clock(self.pid)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ready(self) -> None:
        """Wait until it works on runs."""
        start = time.monotonic()
        seen = "nothing"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while time.monotonic() - start < START_TIMEOUT:
                self.check()
                try:
                    async with session.get(f"http://127.0.0.1:{self.port}/readyz") as answer:
                        if answer.status == 200:
                            return
                        seen = f"HTTP {answer.status}: {await answer.text()}"
                except (aiohttp.ClientError, TimeoutError) as error:
                    seen = str(error)
                await asyncio.sleep(0.2)
        raise TimeoutError(f"the operator was not ready within {START_TIMEOUT:.0f} s; saw {seen}\n{self.log()}")

    def check(self) -> None:
        """RuntimeError if it has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the operator ended with status {self._process.returncode}\n{self.log()}")

    async def metrics(self) -> str:
        """Its own metrics, as text."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.get(f"http://127.0.0.1:{self.port}/metrics") as answer,
        ):
            return await answer.text()

    def cpu(self) -> float:
        """Seconds of CPU that all its threads have used: utime + stime, at the kernel's resolution and not in ticks."""
        return time.clock_gettime(self._clock)

    def rss(self) -> tuple[float, float]:
        """Resident memory in MiB: now, and at its highest."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        sizes = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
        return int(sizes["VmRSS"]) / 1024, int(sizes["VmHWM"]) / 1024

    def log(self, lines: int = 15) -> str:
        """The end of what it printed."""
        self._output.seek(0)
        return "".join(self._output.readlines()[-lines:])

    def stop(self) -> None:
        """End it, by force if it lingers."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _die_with_parent() -> None:
    """Even a bench that was killed leaves no operator behind."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _cpu_clock(pid: int) -> int:
    clock = ctypes.c_int()
    if problem := _LIBC.clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise OSError(problem, f"no CPU clock of process {pid}")
    return clock.value
