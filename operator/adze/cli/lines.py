"""Lines of many Pods in one stream, each with the step and the attempt that it comes from."""

import queue
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

import click

from adze.cli import exits
from adze.cli.cluster import Cluster, Object, Query
from adze.cli.follow import persistent, states
from adze.cli.resources import PODS
from adze.core import names

AT_ONCE = 50
"""Pods that are followed at the same time; the lines of those beyond come once others have ended."""
BUFFER = 1000
"""Lines that are read ahead of a slow terminal."""
COLOURS = ("cyan", "green", "magenta", "yellow", "blue")


def owner(pod: Object) -> tuple[str, int]:
    """Step, or item of one such as `fetch[42]`, and number of the attempt that a Pod is."""
    labels = pod["metadata"].get("labels", {})
    step, item = labels.get(names.STEP, ""), labels.get(names.ITEM)
    return names.part(step, int(item)) if item else step, int(labels.get(names.ATTEMPT, "0"))


def started(pod: Object) -> bool:
    """Whether its container has run, or runs: then it has a log."""
    return bool({"running", "terminated"} & _state(pod).keys())


def ended(pod: Object) -> bool:
    """Whether its container has run to its end."""
    return "terminated" in _state(pod)


def _state(pod: Object) -> Object:
    for container in pod.get("status", {}).get("containerStatuses", ()):
        if container["name"] == names.MAIN:
            state: Object = container.get("state", {})
            return state
    return {}


class Lines:
    """Prints lines, and says on stderr what can't be had."""

    def __init__(self, steps: list[str], prefix: bool) -> None:
        self._colours = {step: COLOURS[place % len(COLOURS)] for place, step in enumerate(steps)}
        self._width = max(map(len, steps), default=0) + len("/1")
        self._prefix = prefix
        self._coloured = sys.stdout.isatty() and click.get_current_context().color is not False
        self.lost = False

    def print(self, pod: Object, text: str) -> None:
        """A line that a Pod has printed."""
        step, attempt = owner(pod)
        prefix = f"{step}/{attempt}".ljust(self._width)
        if self._coloured:
            prefix = click.style(prefix, fg=self._colours.get(names.step_of(step)))
        # The step's own colours are its business, wherever they go.
        click.echo(f"{prefix} | {text}" if self._prefix else text, color=True)

    def note(self, step: str, attempt: int, text: str) -> None:
        """Something about a Pod."""
        click.echo(f"{step}/{attempt} {text}", err=True)

    def lose(self, pod: Object, error: exits.Failure) -> None:
        """A Pod's lines that can't be read."""
        self.lost = True
        self.note(*owner(pod), f"can't be read: {error.message}")


class Source(Protocol):
    """What is to be followed."""

    run: Object

    @property
    def query(self) -> Query:
        """Selects the Pods on the server."""

    def over(self, run: Object) -> bool:
        """Whether no further Pod can come once the run is like that."""


def follow_all(cluster: Cluster, source: Source, pods: list[Object], lines: Lines, tail: int | None) -> None:
    """What there is now and all that comes, until no Pod can come any more and all lines are read."""
    Following(cluster, source, lines, tail).until_the_end(pods)


class Following:
    """One thread a Pod reads, this one prints: a line is never torn, and a slow terminal slows the readers down."""

    def __init__(self, cluster: Cluster, source: Source, lines: Lines, tail: int | None) -> None:
        self._cluster = cluster
        self._source = source
        self._lines = lines
        self._tail = tail
        self._arrivals: queue.Queue[Callable[[], None]] = queue.Queue(BUFFER)
        self._turns = threading.Semaphore(AT_ONCE)
        self._known: set[str] = set()
        self._reading = 0
        self._over = False

    def until_the_end(self, pods: list[Object]) -> None:
        """Print what is there, then what comes."""
        for pod in pods:
            if ended(pod):
                self._known.add(pod["metadata"]["uid"])
                for text in self._cluster.log(pod["metadata"]["name"], {"tailLines": self._tail}):
                    self._lines.print(pod, text)
        self._start(self._watch_pods)
        self._start(self._watch_run)
        while not self._over or self._reading:
            self._arrivals.get()()

    def _start(self, work: Callable[[], None]) -> None:
        """Do something in another thread; its failure is this one's."""

        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # also what nobody thought of must end the command
                self._arrivals.put(partial(self._fail, error))

        threading.Thread(target=guarded, daemon=True).start()

    def _fail(self, error: BaseException) -> None:
        raise error

    def _watch_pods(self) -> None:
        # The watch of the run says it if the cluster is away.
        for pod in persistent(lambda: _look(self._cluster, self._source.query), quiet=True):
            if started(pod):
                self._arrivals.put(partial(self._found, pod))

    def _watch_run(self) -> None:
        for run in states(self._cluster, self._source.run["metadata"]["name"]):
            if self._source.over(run):
                break
        # Pods that the watch of Pods hasn't told of yet.
        last = self._cluster.items(PODS, self._source.query)
        self._arrivals.put(partial(self._finish, last))

    def _finish(self, pods: list[Object]) -> None:
        for pod in pods:
            if started(pod):
                self._found(pod)
        self._over = True

    def _found(self, pod: Object) -> None:
        """A Pod has started: read it, if it isn't read already."""
        if pod["metadata"]["uid"] not in self._known:
            self._known.add(pod["metadata"]["uid"])
            self._reading += 1
            self._start(partial(self._read, pod))

    def _read(self, pod: Object) -> None:
        try:
            with self._turns:
                for text in to_its_end(self._cluster, pod["metadata"]["name"], self._tail):
                    self._arrivals.put(partial(self._lines.print, pod, text))
        except (exits.NotFound, exits.BadInput, exits.Unreachable) as error:
            self._arrivals.put(partial(self._lines.lose, pod, error))
        self._arrivals.put(self._done)

    def _done(self) -> None:
        self._reading -= 1


def _look(cluster: Cluster, query: Query) -> Iterator[Object]:
    """The Pods as they are now, and as they change until the server ends the watch."""
    version = ""
    for page in cluster.pages(PODS, query):
        version = page["metadata"]["resourceVersion"]
        yield from page["items"]
    yield from (pod for _, pod in cluster.watch(PODS, version, query))


def to_its_end(cluster: Cluster, pod: str, tail: int | None) -> Iterator[str]:
    """The lines of a Pod as they come, until its end. A stream that breaks is taken up where it broke."""
    newest = ""

    def stretch() -> Iterator[str | None]:
        seen = newest
        now = cluster.find(PODS, pod)
        if now:
            since: Query = {"sinceTime": seen} if seen else {"tailLines": tail}
            for line in cluster.log(pod, {**since, "follow": "true", "timestamps": "true"}):
                # The server counts since in whole seconds.
                if not line[:1].isdigit() or line.partition(" ")[0] > seen:
                    yield line
        if now is None or ended(now):
            yield None

    for line in persistent(stretch, quiet=True):
        if line is None:
            return
        stamp, _, text = line.partition(" ")
        if stamp[:1].isdigit():
            newest = stamp
            yield text
        else:
            yield line
