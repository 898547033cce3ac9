"""A run on disk: every object in a file of its own, replaced as a whole, so that a kill at any moment loses nothing.

order.json            what was asked for
run.json              the WorkflowRun
pages/<name>.json     outputs of a forEach step or a large output, a ConfigMap
port                  where large outputs are sent
lib/, bin/            what processes find of adze: the SDK and `adze output`
pods/<name>/          an attempt: manifest.json, pod.json, and the files of its process (`local.process`)
"""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from adze.core.model import Run, Workflow, WorkflowSpec
from adze.core.pods import Pod

KEPT = 50
"""Runs whose state is kept, counting from the newest."""

T = TypeVar("T")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What `adze run` was asked for, so that `--resume` needs no more words."""

    files: tuple[str, ...]
    runtime: str
    parallel: int = 8
    objects: tuple[dict[str, Any], ...] = ()
    """The Workflows, ConfigMaps and Secrets of the files, as they stood there."""

    def spec(self, run: Run) -> WorkflowSpec:
        """What the run is of."""
        if run.spec.workflow_spec:
            return run.spec.workflow_spec
        known = (item for item in self.objects if item.get("kind") == "Workflow")
        named = next(item for item in known if item["metadata"]["name"] == run.spec.workflow)
        return msgspec.convert(named, Workflow).spec


class Busy(RuntimeError):
    """Another process works on this run."""


class Folder:
    """The state of one run. Holding it excludes other processes until this one ends or closes it."""

    def __init__(self, path: Path) -> None:
        """Open or create; Busy if another process holds it."""
        self.path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise Busy(f"another adze works on {path.name}") from None

    def close(self) -> None:
        """Let others have it."""
        os.close(self._lock)

    def save(self, name: str, item: Any) -> None:
        """Write `name`.json as a whole or not at all."""
        target = self.path / f"{name}.json"
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = target.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(item))
        draft.replace(target)

    def remove(self, name: str) -> None:
        """Remove `name`.json, if it's there."""
        self.path.joinpath(f"{name}.json").unlink(missing_ok=True)

    def load(self, name: str, kind: type[T]) -> T:
        """Read `name`.json; OSError or msgspec.MsgspecError if it can't be."""
        return load(self.path / f"{name}.json", kind)

    def pods(self) -> Iterator[tuple[dict[str, Any], Pod]]:
        """Every Pod with its manifest."""
        for path in sorted(self.path.glob("pods/*/pod.json")):
            yield load(path.with_name("manifest.json"), dict), load(path, Pod)

    def pod(self, name: str) -> Path:
        """Where a Pod's files are."""
        return self.path / "pods" / name


def load(path: Path, kind: type[T]) -> T:
    """A JSON file as `kind`."""
    return msgspec.json.decode(path.read_bytes(), type=kind)


def root() -> Path:
    """Where the runs of this user are."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "adze" / "runs"


def create(run: Run, order: Order) -> Folder:
    """The folder of a new run; the oldest ones beyond KEPT go."""
    for old in newest(root())[KEPT - 1 :]:
        _remove(old)
    folder = Folder(root() / f"{run.metadata.name[:60]}-{run.metadata.uid[:8]}")
    folder.save("order", order)
    folder.save("run", run)
    return folder


def unfinished(files: Iterable[str]) -> Folder | None:
    """The newest run that has not ended and nobody works on, of those files if there are any."""
    wanted = set(files)
    for path in newest(root()):
        try:
            order, run = load(path / "order.json", Order), load(path / "run.json", Run)
        except (OSError, msgspec.MsgspecError):
            continue
        if run.status.phase.final or not wanted <= set(order.files):
            continue
        try:
            return Folder(path)
        except Busy:
            continue
    return None


def newest(where: Path) -> list[Path]:
    """The runs' folders, the one that changed last first."""
    found = [(path.stat().st_mtime, path.parent) for path in where.glob("*/run.json")]
    return [path for _, path in sorted(found, reverse=True)]


def _remove(path: Path) -> None:
    try:
        folder = Folder(path)
    except Busy:
        return
    shutil.rmtree(path, ignore_errors=True)
    folder.close()
