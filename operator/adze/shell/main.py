"""The operator process. kopf logs in, watches our own kinds, starts and stops us; it never writes to an object."""

import asyncio
import gc
import logging
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import kopf
import msgspec
import structlog
from aiohttp.web import AppRunner

from adze import __version__
from adze.core import names
from adze.core.carrier import Carrier
from adze.core.model import GROUP, VERSION, Run, Workflow
from adze.core.policy import Policy
from adze.shell import carriers, kopf_settings, logs, probes
from adze.shell import settings as settings_module
from adze.shell.cluster import ApiError, Cluster, Credentials, selector, text_of
from adze.shell.driver import Driver
from adze.shell.election import Elector
from adze.shell.engine import Engine
from adze.shell.release import release as release_all
from adze.shell.settings import Settings
from adze.shell.watch import Watch
from adze.shell.workflows import review

log = structlog.get_logger()

POSTERS = 4
"""Kubernetes Events that are posted at a time."""
TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class Operator:
    """Everything that one process holds."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.policy = Policy(worker_image=settings.worker_image, service_accounts=settings.service_accounts)
        self.cluster: Cluster | None = None
        self.engine: Engine | None = None
        self.watches: list[Watch[Any]] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.probes: AppRunner | None = None
        self.elector: Elector | None = None

    async def start(self, credentials: Credentials) -> None:
        """Connect, watch the Pods, and begin to work once they are known."""
        self.cluster = Cluster(credentials, agent=f"adze-operator/{__version__}")
        driver = Driver(self.cluster, self.settings.instance)
        if self.settings.lease:
            identity = f"{self.settings.instance}_{uuid.uuid4().hex[:8]}"
            self.elector = Elector(self.cluster, self.settings.own_namespace, self.settings.lease, identity)
        allowed = self.elector.valid if self.elector else lambda: True
        self.engine = Engine(driver, self.policy, allowed)
        labels = f"{selector({names.RUN_UID: None})},!{names.RELEASED}"
        self.watches = [
            Watch(self.cluster, carriers.path(kind, namespace), labels, carrier, _identity, self.engine.see_pod)
            for namespace in self.settings.namespaces or (None,)
            for kind, (carrier, _, _) in carriers.KINDS.items()
        ]
        self.probes = await probes.serve_probes(self.settings.port, self.ready)
        posters = [driver.post_events() for _ in range(POSTERS)]
        for coroutine in (*posters, self._work(), *(watch.run() for watch in self.watches)):
            task = asyncio.get_running_loop().create_task(coroutine)
            task.add_done_callback(_die_with)
            self.tasks.append(task)

    async def _work(self) -> None:
        assert self.engine is not None
        for watch in self.watches:
            await watch.synced.wait()
        if self.elector:
            # A replica that waits knows all Pods and runs already; it only starts to look at them.
            await self.elector.lead()
        # What lives now lives long: the collector needn't go through it again and again.
        gc.freeze()
        gc.set_threshold(50_000, 50, 1000)
        self.engine.start()
        log.info("working", version=__version__, namespaces=self.settings.namespaces or "all")
        await (self.elector.keep() if self.elector else asyncio.Event().wait())

    def ready(self) -> bool:
        """Whether the Pods are known. A replica that waits for the Lease is ready too: it can take over."""
        return bool(self.watches) and all(watch.synced.is_set() for watch in self.watches)

    async def stop(self) -> None:
        """Stop everything that `start` started: kopf waits for tasks that it doesn't know."""
        for task in self.tasks:
            task.remove_done_callback(_die_with)
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.engine:
            await self.engine.stop()
        if self.elector:
            await self.elector.release()
        if self.probes:
            await self.probes.cleanup()
        if self.cluster:
            await self.cluster.close()


def _identity(pod: Carrier) -> tuple[str, str]:
    return pod.metadata.uid, pod.metadata.resource_version


def _die_with(task: asyncio.Task[Any]) -> None:
    """A task that should run for ever has ended: the process is no use without it, and a new one starts clean."""
    if not task.cancelled():
        log.critical("a vital task ended", task=str(task.get_coro()), error=repr(task.exception()))
        os._exit(1)


def login(**context: Any) -> kopf.ConnectionInfo | None:
    """In a cluster the service account's login, else that of the kubeconfig's current context."""
    return kopf.login_with_service_account(**context) or kopf.login_with_kubeconfig(**context)


def credentials(settings: kopf.OperatorSettings) -> Credentials:
    """kopf's login, for our own client: after a 401 kopf closes its session, so the two share none."""
    info = login(settings=settings, logger=logging.getLogger("kopf"))
    if info is None:
        raise SystemExit("adze operator: no service account here, and no kubeconfig that names a cluster")
    in_cluster = TOKEN.exists()
    return Credentials(
        server=info.server,
        ca=_pem(info.ca_path, info.ca_data),
        insecure=bool(info.insecure),
        certificate=_pem(info.certificate_path, info.certificate_data),
        private_key=_pem(info.private_key_path, info.private_key_data),
        token=info.token,
        token_path=TOKEN if in_cluster else None,
    )


def _pem(path: Any, data: Any) -> str | None:
    return Path(path).read_text() if path else text_of(data)


def registry(operator: Operator) -> kopf.OperatorRegistry:
    """kopf's handlers. None holds logic: they tell the engine what was seen."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.startup(registry=handlers)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        kopf_settings.configure(settings)
        await operator.start(credentials(settings))

    @kopf.on.cleanup(registry=handlers)
    async def stop(**_: Any) -> None:
        await operator.stop()

    kopf.on.login(registry=handlers)(login)

    @kopf.on.event(GROUP, VERSION, "workflowruns", registry=handlers)
    async def see_run(event: Any, **_: Any) -> None:
        assert operator.engine is not None
        run = _decoded(event["object"], Run)
        if run is None:
            return
        if event["type"] == "DELETED":
            operator.engine.lose_run(run.metadata.uid)
        else:
            operator.engine.see_run(run)

    @kopf.on.event(GROUP, VERSION, "workflows", registry=handlers)
    async def see_workflow(event: Any, **_: Any) -> None:
        assert operator.engine is not None and operator.cluster is not None
        workflow = _decoded(event["object"], Workflow)
        if workflow is None or event["type"] == "DELETED":
            return
        operator.engine.see_workflow(workflow.metadata.namespace, workflow.metadata.name)
        try:
            await review(operator.cluster, workflow, operator.settings.instance, operator.policy)
        except ApiError as error:
            log.warning("Workflow not reviewed", workflow=workflow.metadata.name, error=str(error))

    return handlers


def _decoded(body: Any, kind: type[Any]) -> Any:
    """The object, or None if it isn't one: a broken object must not stop the others."""
    try:
        return msgspec.convert(dict(body), kind)
    except (msgspec.ValidationError, RecursionError) as error:
        metadata = body.get("metadata", {})
        log.error("an object breaks its schema", kind=kind.__name__, name=metadata.get("name"), error=str(error))
        return None


def run() -> None:
    """Run the operator until it's told to stop."""
    settings = settings_module.load(os.environ)
    logs.configure(settings)
    # The API server takes JSON nested up to 10,000 levels; one such object must not break the decoding of a whole list.
    sys.setrecursionlimit(25_000)
    operator = Operator(settings)
    asyncio.run(
        kopf.operator(
            registry=registry(operator),
            settings=kopf.OperatorSettings(),
            namespaces=list(settings.namespaces),
            clusterwide=not settings.namespaces,
            standalone=True,
        )
    )


def release(deployment: str | None, namespace: str, patience: float) -> int:
    """Stop the operator's Deployment and let go of all Pods; how many."""
    settings = settings_module.load(os.environ)
    logs.configure(settings)
    access = credentials(kopf.OperatorSettings())
    return asyncio.run(release_all(access, deployment, namespace, settings.namespaces, patience))
