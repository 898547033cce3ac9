"""The operator under measurement, and what it costs."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import time
from pathlib import Path

import aiohttp

from tests.operator_process import OperatorProcess

START_TIMEOUT = 40.0
STOP_TIMEOUT = 25.0
_LIBC = ctypes.CDLL(None)


class Operator(OperatorProcess):
    """An operator whose CPU and memory are read."""

    def __init__(self, kubeconfig: Path, namespace: str, **settings: str) -> None:
        """`settings` are further environment variables."""
        super().__init__(
            kubeconfig,
            namespace,
            start_timeout=START_TIMEOUT,
            end_with_us=signal.SIGTERM,
            ADZE_LOG_FORMAT="json",
            **settings,
        )
        self._clock = _cpu_clock(self.pid)

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

    def stop(self) -> None:
        """End it, by force if it lingers."""
        if self.alive:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _cpu_clock(pid: int) -> int:
    clock = ctypes.c_int()
    if problem := _LIBC.clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise OSError(problem, f"no CPU clock of process {pid}")
    return clock.value
