"""New lines in the logs of Pods."""

from collections.abc import Iterable, Iterator

from adze.core.pods import Pod
from adze.local.state import Folder

LONGEST = 4096
"""Bytes of a line before it's cut in two."""


class Follower:
    """Remembers how far each log has been read."""

    PAUSE = 0.1
    """Seconds between two looks at logs that grow; files tell nobody of their growth."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._positions: dict[str, int] = {}
        self._done: set[str] = set()

    def skip(self, pods: Iterable[Pod]) -> None:
        """What has ended already was read by an earlier adze."""
        self._done |= {pod.name for pod in pods if pod.ended}

    def read(self, pods: Iterable[Pod]) -> Iterator[tuple[Pod, str]]:
        """The lines that have come since the last time; the end of an ended Pod's log needs no line feed."""
        for pod in list(pods):
            if pod.name not in self._done:
                yield from ((pod, text) for text in self._lines(pod))
                if pod.ended:
                    self._done.add(pod.name)

    def _lines(self, pod: Pod) -> Iterator[str]:
        try:
            with (self._folder.pod(pod.name) / "log").open("rb") as file:
                file.seek(self._positions.get(pod.name, 0))
                while line := file.readline(LONGEST):
                    if not line.endswith(b"\n") and len(line) < LONGEST and not pod.ended:
                        break  # the rest of it is still to come
                    self._positions[pod.name] = file.tell()
                    yield line.decode(errors="replace").rstrip("\r\n")
        except FileNotFoundError:
            return
