"""A run followed to its end: over the server's watch limits, and over times in which the cluster can't be reached."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import click

from adze.cli import exits, tree
from adze.cli.cluster import Cluster, Expired, Object
from adze.cli.resources import RUNS

PATIENCE = 120.0
"""Seconds for which a cluster that has answered before may be away."""
PAUSE = 1.0

T = TypeVar("T")


def states(cluster: Cluster, name: str) -> Iterator[Object]:
    """The run as it is now, then each time that it has changed, until its end. NotFound once it is deleted."""
    seen = cluster.get(RUNS, name)
    yield seen
    if tree.ended(seen):
        return
    for run in persistent(lambda: _look(cluster, name)):
        if run is None or run["metadata"]["uid"] != seen["metadata"]["uid"]:
            raise exits.NotFound(f"run {name!r} was deleted meanwhile")
        if run["metadata"]["resourceVersion"] != seen["metadata"]["resourceVersion"]:
            seen = run
            yield seen
        if tree.ended(seen):
            return


def _look(cluster: Cluster, name: str) -> Iterator[Object | None]:
    """The run as it is now and as it changes, until the server ends the watch. None: it's gone."""
    run = cluster.find(RUNS, name)
    yield run
    if run:
        version = run["metadata"]["resourceVersion"]
        for kind, changed in cluster.watch(RUNS, version, {"fieldSelector": f"metadata.name={name}"}):
            yield None if kind == "DELETED" else changed


def persistent(look: Callable[[], Iterable[T]], quiet: bool = False) -> Iterator[T]:
    """What `look` finds, again and again for ever. Unreachable once the cluster has been away for long."""
    away: float | None = None
    while True:
        try:
            for item in look():
                away = None
                yield item
        except Expired:
            pass
        except exits.Unreachable as error:
            if away is None:
                away = time.monotonic()
                if not quiet:
                    click.echo(f"{error.message}; trying again for {PATIENCE:.0f} s", err=True)
            if time.monotonic() > away + PATIENCE:
                raise
        time.sleep(PAUSE)


def ticking(items: Iterable[T], seconds: float) -> Iterator[T | None]:
    """The items as they come, and None whenever none has come for some seconds."""
    arrivals: queue.SimpleQueue[tuple[T] | BaseException] = queue.SimpleQueue()

    def read() -> None:
        try:
            for item in items:
                arrivals.put((item,))
            arrivals.put(StopIteration())
        except BaseException as error:  # whatever it is, the reader of the items must know
            arrivals.put(error)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            arrival = arrivals.get(timeout=seconds)
        except queue.Empty:
            yield None
            continue
        if isinstance(arrival, StopIteration):
            return
        if isinstance(arrival, BaseException):
            raise arrival
        yield arrival[0]


def to_the_end(cluster: Cluster, name: str, timeout: float | None) -> Iterator[Object | None]:
    """States of the run, and None each second without one. TimedOut after `timeout` seconds."""
    end = None if timeout is None else time.monotonic() + timeout
    for run in ticking(states(cluster, name), 1.0):
        yield run
        if end is not None and time.monotonic() > end and not (run and tree.ended(run)):
            raise exits.TimedOut(f"run {name} has not ended within {timeout:.0f} s; it goes on")


def last(states: Iterable[Object | None]) -> Object:
    """The run as it is in the end."""
    run: Object = {}
    for state in states:
        run = state or run
    return run


def exit_code(run: Object) -> int:
    """The exit code that tells how the run ended."""
    return exits.OK if run["status"]["phase"] == "Succeeded" else exits.FAILED
