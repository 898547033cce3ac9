"""adze in a cluster, as a user installs it: cluster, images, `helm install`. Used by `make demo` and the tests.

`python -m tests.installation` prints the lines that set KUBECONFIG and PATH for a shell.
"""

import hashlib
import os
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tests.cluster import binary, images, provider
from tests.cluster.progress import run_long, say

ROOT = Path(__file__).parent.parent
RELEASE = "adze"
NAMESPACE = "adze-system"
OPERATOR_SOURCES = ("operator", "requirements/operator.txt", "pyproject.toml")
WORKER_SOURCES = ("worker-image", "operator/adze/sdk")


@dataclass(frozen=True)
class Installation:
    """Where adze runs and how to reach it."""

    kubeconfig: Path
    tools: Path
    kind: str

    @property
    def environment(self) -> dict[str, str]:
        """Environment for subprocesses: our kubectl and helm, this cluster."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": f"{self.tools}:{os.environ['PATH']}"}

    def kubectl(
        self, *arguments: str, stdin: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl; the caller looks at the return code."""
        return subprocess.run(
            ["kubectl", *arguments], env=self.environment, input=stdin, text=True, capture_output=True, timeout=timeout
        )

    def helm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run helm; the caller looks at the return code."""
        return subprocess.run(["helm", *arguments], env=self.environment, text=True, capture_output=True, timeout=240)


def scale(adze: Installation, replicas: int) -> None:
    """Run that many replicas of the operator and wait for them."""
    for arguments in (
        ("scale", f"deployment/{RELEASE}", f"--replicas={replicas}"),
        ("rollout", "status", f"deployment/{RELEASE}", "--timeout=90s"),
    ):
        done = adze.kubectl("--namespace", NAMESPACE, *arguments, timeout=100)
        if done.returncode:
            raise RuntimeError(done.stderr)


def _digest(paths: tuple[str, ...]) -> str:
    """Names the content of source files, so that an image is built once per content and a change rolls out."""
    digest = hashlib.sha256()
    for path in paths:
        top = ROOT / path
        files = [top] if top.is_file() else sorted(top.rglob("*"))
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def image(name: str, containerfile: str, sources: tuple[str, ...]) -> tuple[str, Path]:
    """Tag and archive of one of the project's images, built if its content is new."""
    tag = f"localhost/adze/{name}:{_digest(sources)}"
    return tag, images.build(ROOT / containerfile, ROOT, tag)


def _pushed(variable: str) -> str:
    if image := os.environ.get(variable):
        return image
    raise SystemExit(f"KUBECONFIG names a cluster: push adze's images where it can pull them, and set {variable}")


def helm(*values: str) -> list[str]:
    """The command that installs or upgrades adze."""
    where = ["--namespace", NAMESPACE, "--create-namespace", "--take-ownership"]
    options = [*where, "--wait", "--timeout", "180s", "--set-string"]
    return ["helm", "upgrade", "--install", RELEASE, str(ROOT / "charts/adze"), *options, ",".join(values)]


@lru_cache(maxsize=1)
def install(*settings: str) -> Installation:
    """Have a cluster with the present adze in it; `settings` go to `helm --set`."""
    cluster = provider.choose()
    cluster.up()
    tools = binary.tools()
    if cluster.kind == "external":
        operator, worker = _pushed("ADZE_OPERATOR_IMAGE"), _pushed("ADZE_WORKER_IMAGE")
        say(f"using the images that you pushed: {operator}, {worker}")
    else:
        operator, archive = image("operator", "operator/Containerfile", OPERATOR_SOURCES)
        worker, worker_archive = image("worker", "worker-image/Containerfile", WORKER_SOURCES)
        for tar in (archive, worker_archive):
            cluster.load(tar)
    installation = Installation(cluster.kubeconfig, tools, cluster.kind)
    repository, tag = operator.rsplit(":", 1)
    values = [f"image.repository={repository}", f"image.tag={tag}", f"worker.image={worker}", *settings]
    run_long("helm upgrade --install adze charts/adze", helm(*values), env=installation.environment)
    return installation


if __name__ == "__main__":
    done = install()
    print(f'export KUBECONFIG={done.kubeconfig} PATH="{done.tools}:$PATH"')
