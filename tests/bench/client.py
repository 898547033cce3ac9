"""The bench's own client, its namespace, and the check that no other operator works there."""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from kubernetes import client, config

from adze.core.model import API_VERSION
from adze.core.pods import Pod
from adze.shell.cluster import MERGE, ApiError, Cluster, Credentials, resource
from tests.cluster import binary, provider
from tests.cluster.progress import run

from .progress import say
from .scenarios import Scenario

CRDS = Path(__file__).parents[2] / "crds"
SERVED_TIMEOUT = 20.0
ANOTHER_TIMEOUT = 4.0
GONE_TIMEOUT = 60.0
ACCOUNT = "adze-operator"
TOKEN_SECONDS = 4 * 3600


class Refused(Exception):
    """The bench can't measure here; says why."""


def ready() -> Path:
    """The kubeconfig of the cluster at hand. Refused if it isn't Ready."""
    chosen = provider.choose()
    if not chosen.is_ready():
        raise Refused("no cluster is Ready: python -m tests.cluster up")
    return chosen.kubeconfig


def connect(kubeconfig: Path) -> Cluster:
    """A client by the kubeconfig's current context."""
    settings = client.Configuration()
    config.load_kube_config(  # type: ignore[no-untyped-call]
        str(kubeconfig), client_configuration=settings, persist_config=False
    )
    token = settings.api_key.get("authorization", "").removeprefix("Bearer ")
    credentials = Credentials(
        server=settings.host,
        ca=_text(settings.ssl_ca_cert),
        insecure=not settings.verify_ssl,
        certificate=_text(settings.cert_file),
        private_key=_text(settings.key_file),
        token=token or None,
    )
    return Cluster(credentials, agent="adze-bench/1")


class Place(NamedTuple):
    """Where a bench works: an administrator's client, a namespace in which nobody else works, and a kubeconfig for
    the operator there."""

    cluster: Cluster
    namespace: str
    kubeconfig: Path


@asynccontextmanager
async def place(kubeconfig: Path) -> AsyncIterator[Place]:
    """A place that goes in the end. Refused if somebody works there."""
    namespace = f"adze-bench-{uuid.uuid4().hex[:6]}"
    cluster = connect(kubeconfig)
    with tempfile.TemporaryDirectory(prefix=namespace) as directory:
        try:
            await have_kinds(cluster, kubeconfig)
            await create_namespace(cluster, namespace)
            await refuse_company(cluster, namespace)
            account = Path(directory) / "kubeconfig"
            account.write_text(await operator_kubeconfig(cluster, namespace, kubeconfig))
            yield Place(cluster, namespace, account)
        finally:
            say(f"removing namespace {namespace}")
            await remove_namespace(cluster, namespace)
            await cluster.close()


def _text(path: str | None) -> str | None:
    return Path(path).read_text() if path else None


async def have_kinds(cluster: Cluster, kubeconfig: Path) -> None:
    """Apply the CRDs of this tree and wait until they are served."""
    kubectl = [binary.tools() / "kubectl", f"--kubeconfig={kubeconfig}"]
    for arguments in (["apply"], ["wait", "--for=condition=Established", "--timeout=30s"]):
        await asyncio.to_thread(run, [*kubectl, *arguments, "-f", CRDS])
    deadline = time.monotonic() + SERVED_TIMEOUT
    while True:
        try:
            await cluster.call("GET", resource(API_VERSION, None, "workflowruns"), limit="1")
            return
        except ApiError:
            # For a moment after Established the API server still answers 404 or 429.
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.1)


async def create_namespace(cluster: Cluster, name: str) -> None:
    """Make the namespace and wait for its default service account, without which no Pod is admitted."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"adze.dev/bench": "true"}}}
    await cluster.call("POST", resource("v1", None, "namespaces"), body)
    deadline = time.monotonic() + 20
    while True:
        try:
            await cluster.call("GET", resource("v1", name, "serviceaccounts", "default"))
            return
        except ApiError as error:
            if error.code != 404 or time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.1)


async def operator_kubeconfig(cluster: Cluster, namespace: str, kubeconfig: Path) -> str:
    """A kubeconfig with a token, as an operator has it in a cluster. Its rights go with the namespace.

    The API server remembers a token. A client certificate's chain it verifies with each call, which in a wide run took
    an eighth of its CPU.
    """
    accounts = resource("v1", namespace, "serviceaccounts")
    await cluster.call("POST", accounts, {"metadata": {"name": ACCOUNT}})
    owner = msgspec.json.decode(await cluster.call("GET", resource("v1", None, "namespaces", namespace)))["metadata"]
    owned = {"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": owner["uid"]}
    binding = {
        "metadata": {"name": namespace, "ownerReferences": [owned]},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    }
    await cluster.call("POST", resource("rbac.authorization.k8s.io/v1", None, "clusterrolebindings"), binding)
    asked = {"spec": {"expirationSeconds": TOKEN_SECONDS}}
    token = msgspec.json.decode(await cluster.call("POST", f"{accounts}/{ACCOUNT}/token", asked))["status"]["token"]
    view = ["config", "view", "--minify", "--flatten", "-o=json"]
    shown = await asyncio.to_thread(run, [binary.tools() / "kubectl", f"--kubeconfig={kubeconfig}", *view])
    config = msgspec.json.decode(shown)
    config["users"][0]["user"] = {"token": token}
    return msgspec.json.encode(config).decode()


async def refuse_company(cluster: Cluster, namespace: str) -> None:
    """Refused if an operator answers in the namespace before ours has started: it would do half of the work."""
    scenario = Scenario("probe", {"probe": ()}, skipped=True)
    probe = scenario.run("probe") | {"spec": {"workflowSpec": scenario.workflow()["spec"]}}
    path = resource(API_VERSION, namespace, "workflowruns")
    await cluster.call("POST", path, probe)
    deadline = time.monotonic() + ANOTHER_TIMEOUT
    while time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        answer: Any = msgspec.json.decode(await cluster.call("GET", f"{path}/probe"))
        if phase := answer.get("status", {}).get("phase"):
            raise Refused(
                f"another adze operator works in namespace {namespace} (it made a probe {phase}): "
                "stop it, or give it namespaces of its own (ADZE_NAMESPACES), or bench on another cluster"
            )
    await cluster.call("DELETE", f"{path}/probe")


class _Pods(msgspec.Struct):
    items: list[Pod] = []


async def remove_namespace(cluster: Cluster, name: str) -> None:
    """Delete the namespace, letting go of Pods that an operator held; says what is left after a while."""
    path = resource("v1", None, "namespaces", name)
    try:
        await cluster.call("DELETE", path)
        deadline = time.monotonic() + GONE_TIMEOUT
        while time.monotonic() < deadline:
            left = msgspec.json.decode(await cluster.call("GET", resource("v1", name, "pods")), type=_Pods).items
            for pod in left:
                if pod.held:
                    await _let_go(cluster, pod)
            await cluster.call("GET", path)
            await asyncio.sleep(1)
    except ApiError as error:
        if error.code != 404:
            say(f"namespace {name} is left: {error}")
        return
    say(f"namespace {name} is still being removed after {GONE_TIMEOUT:.0f} s; {len(left)} Pods are left in it")


async def _let_go(cluster: Cluster, pod: Pod) -> None:
    body = {"metadata": {"uid": pod.metadata.uid, "finalizers": None}}
    try:
        await cluster.call("PATCH", resource("v1", pod.metadata.namespace, "pods", pod.name), body, MERGE)
    except ApiError as error:
        if error.code != 404:
            raise
