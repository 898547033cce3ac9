"""A node of its own for chaos, and a client of it."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import yaml

from adze.core.model import API_VERSION
from adze.shell.cluster import MERGE, ApiError, Cluster, Credentials, resource
from tests.cluster import audit
from tests.cluster.layout import Layout
from tests.cluster.node import Node
from tests.cluster.wait import NotYetError, wait_until

ROOT = Path(__file__).parents[2]
READY = 90.0
Object = dict[str, Any]


def say(text: str) -> None:
    """A line of progress."""
    print(f"[chaos {time.strftime('%H:%M:%S')}] {text}", flush=True)


def directory() -> Path:
    """Where the node lives: ADZE_CHAOS_NODE, else below the temporary directory. Never a node that others use."""
    return Path(os.environ.get("ADZE_CHAOS_NODE") or Path(tempfile.gettempdir()) / "adze-chaos").resolve()


class Lab:
    """The node and what scenarios need of it."""

    def __init__(self, root: Path | None = None) -> None:
        self.node = Node(Layout(root or directory()))
        self.work = Path(tempfile.mkdtemp(prefix="adze-chaos-work-"))
        self.credentials: Credentials
        self.cluster: Cluster

    async def open(self) -> None:
        """Have the node Ready, with our kinds; connect."""
        await asyncio.to_thread(self.node.up)
        for file in sorted((ROOT / "crds").glob("*.yaml")):
            await self.kubectl("apply", "-f", str(file))
        await self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        self.credentials = credentials(self.node.kubeconfig)
        self.cluster = Cluster(self.credentials, agent="adze-chaos/1")
        # For a moment after Established the API server still answers 429.
        for kind in ("workflows", "workflowruns", "workflowevents"):
            path = resource(API_VERSION, None, kind)
            await self.until(f"{kind} to be served", partial(self.cluster.call, "GET", path), READY)

    async def close(self) -> None:
        """Disconnect. The node stays."""
        await self.cluster.close()
        shutil.rmtree(self.work)

    async def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl; a failure raises with what it said."""
        return await asyncio.to_thread(self.node.kubectl, *arguments, stdin=stdin)

    async def namespace(self, name: str) -> None:
        """Make a namespace that Pods can be made in."""
        await self.call("POST", resource("v1", None, "namespaces"), {"metadata": {"name": name}})

        async def ready() -> None:
            await self.cluster.call("GET", resource("v1", name, "serviceaccounts", "default"))

        await self.until("the namespace's service account", ready, READY)

    async def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """One call; the decoded answer."""
        return msgspec.json.decode(await self.cluster.call(method, path, body, kind))

    async def create(self, namespace: str, body: Object) -> None:
        """Create an object of ours as a persistent user does: again until it's there."""
        path = resource(API_VERSION, namespace, f"{body['kind'].lower()}s")

        async def create() -> None:
            try:
                await self.cluster.call("POST", path, body)
            except ApiError as error:
                if error.code != 409:
                    raise

        await self.until(f"the creation of {body['kind']} {body['metadata']['name']}", create, READY)

    async def patch(self, path: str, body: Any) -> None:
        """A merge patch that must succeed in the end."""
        await self.until(f"patch of {path}", lambda: self.cluster.call("PATCH", path, body, MERGE), READY)

    async def until(self, what: str, probe: Callable[[], Awaitable[Any]], timeout: float) -> Any:
        """Ask until there's an answer without error. TimeoutError says what was seen last."""
        start = time.monotonic()
        while True:
            try:
                return await probe()
            except ApiError as error:
                if time.monotonic() - start > timeout:
                    raise TimeoutError(f"waited {timeout:.0f} s for {what}; last seen: {error}") from error
            await asyncio.sleep(0.2)

    async def answers(self) -> float:
        """Wait until the API server answers from etcd; the seconds it took."""
        start = time.monotonic()
        path = resource("v1", None, "namespaces", "default")
        await self.until("the API server", lambda: self.cluster.call("GET", path), READY)
        return time.monotonic() - start

    async def node_ready(self) -> None:
        """Wait until the node is Ready again."""

        def probe() -> None:
            try:
                self.node.check_ready()
            except (KeyError, ValueError) as error:
                raise NotYetError(str(error)) from error

        await asyncio.to_thread(wait_until, "the node to be Ready", probe, READY)

    def mark(self) -> int:
        """The end of the audit log now."""
        return audit.end(self.node.audit_log)

    def audit(self, offset: int, namespace: str) -> list[audit.Event]:
        """The writes noted since, in a namespace. A line that a killed API server left half written is passed over."""
        return [event for event in _whole(self.node.audit_log, offset) if event.namespace == namespace]


def _whole(path: Path, offset: int) -> Iterator[audit.Event]:
    while True:
        try:
            for event in audit.events(path, offset):
                offset = event.end
                yield event
            return
        except ValueError:
            with path.open("rb") as log:
                log.seek(offset)
                offset += len(log.readline())


def credentials(kubeconfig: Path) -> Credentials:
    """The login of an embedded node's kubeconfig."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]

    def text(data: str) -> str:
        return base64.b64decode(data).decode()

    return Credentials(
        server=cluster["server"],
        ca=text(cluster["certificate-authority-data"]),
        certificate=text(user["client-certificate-data"]),
        private_key=text(user["client-key-data"]),
    )
