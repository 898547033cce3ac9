"""The kubenode binary (see kubenode/main.go): built once per version, kept in a cache outside the repository."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .progress import run_long, say

MODULE = Path(__file__).parent / "kubenode"
CLIENTS = ("kubectl", "helm")
GO_VERSION_ANSWER = re.compile(r"go(\d+)\.(\d+)")


def cache_root() -> Path:
    """The directory for everything that is costly to make: ``$ADZE_CACHE``, else ``~/.cache/adze``."""
    chosen = os.environ.get("ADZE_CACHE")
    return Path(chosen).resolve() if chosen else Path.home() / ".cache" / "adze"


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Hold a lock of that name against all other processes with the same cache."""
    path = cache_root() / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def kubernetes_version() -> str:
    """The Kubernetes version (such as v1.35.4) that go.mod requires: the one place that states it."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\d+\.\d+\.\d+)$", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise RuntimeError(f"{MODULE}/go.mod requires no k8s.io/kubernetes")
    return found.group(1)


def cache_directory() -> Path:
    """Where the binary for the present sources lies, or will lie once built."""
    digest = hashlib.sha256()
    for name in ("go.sum", "main.go"):
        digest.update((MODULE / name).read_bytes())
    digest.update(kubernetes_version().encode())
    return cache_root() / f"kubenode-{digest.hexdigest()[:12]}"


def ensure() -> Path:
    """Return the path of the binary, building it first (many minutes) if the cache lacks it.

    Processes that ask at the same time wait for the one that builds.
    """
    directory = cache_directory()
    binary = directory / "kubenode"
    with alone(directory.name):
        directory.mkdir(exist_ok=True)
        if not binary.exists():
            _build(binary)
        for client in CLIENTS:
            _write_wrapper(directory / client, client)
    return binary


def tools() -> Path:
    """The directory with ``kubenode``, ``kubectl`` and ``helm``, fit for PATH; builds the binary if needed."""
    return ensure().parent


def build_command(output: Path) -> list[str]:
    """The Go build; the version is stamped in because a module build leaves it as v0.0.0-master."""
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    package = "k8s.io/component-base/version"
    stamps = f"-X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    return ["go", "build", "-trimpath", "-ldflags", f"-s -w {stamps}", "-o", str(output), "."]


def _build(binary: Path) -> None:
    _require_go()
    say(f"building kubenode (Kubernetes {kubernetes_version()}); 10 to 20 minutes with nothing cached")
    start = time.monotonic()
    partial = binary.with_name("kubenode.partial")
    run_long("go build", build_command(partial), cwd=MODULE)
    partial.rename(binary)
    say(f"kubenode built: {binary}", since=start)


def _require_go() -> None:
    wanted = re.search(r"^go (\d+)\.(\d+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert wanted, "go.mod states its Go version"
    need = (int(wanted.group(1)), int(wanted.group(2)))
    advice = f"Go {need[0]}.{need[1]} or newer is needed to build kubenode: install it and put `go` on PATH"
    if not shutil.which("go"):
        raise RuntimeError(f"no `go` on this machine. {advice}")
    answer = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, cwd="/").stdout
    found = GO_VERSION_ANSWER.search(answer)
    # Go 1.21 and later can fetch the newer toolchain that go.mod asks for; older ones cannot.
    if found and (int(found.group(1)), int(found.group(2))) < (1, 21):
        raise RuntimeError(f"`go` is {answer.strip()}. {advice}")


def _write_wrapper(path: Path, command: str) -> None:
    text = f'#!/bin/sh\nexec "$(dirname "$(readlink -f "$0")")/kubenode" {command} "$@"\n'
    if path.exists() and path.read_text() == text:
        return
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.chmod(0o755)
    partial.rename(path)
