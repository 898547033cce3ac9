"""The operator process. kopf logs in, watches Workflows, starts and stops us; it never writes to an object."""

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
import uvloop
from aiohttp.web import AppRunner

from adze import __version__
from adze.core import names
from adze.core.carrier import Carrier
from adze.core.events import Sight
from adze.core.model import API_VERSION, GROUP, LEASE_API_VERSION, VERSION, Run, Webhook, Workflow
from adze.core.policy import Policy
from adze.core.slots import Slot
from adze.shell import carriers, kopf_settings, logs, probes
from adze.shell import settings as settings_module
from adze.shell.cluster import ApiError, Cluster, Credentials, resource, selector, text_of
from adze.shell.driver import Driver
from adze.shell.election import Elector
from adze.shell.engine import Engine
from adze.shell.events import Events
from adze.shell.gateway import Gateway
from adze.shell.http import Server
from adze.shell.outputs import Receiver
from adze.shell.release import release as release_all
from adze.shell.schedules import Schedules
from adze.shell.settings import Settings
from adze.shell.skew import Skew
from adze.shell.sweep import sweep
from adze.shell.watch import Watch
from adze.shell.webhooks import Webhooks
from adze.shell.webhooks import review as review_webhook
from adze.shell.workflows import review, served

log = structlog.get_logger()

GATEWAY_CONNECTIONS = 24
"""Calls of the gateway that are in flight at most."""
OUTPUTS_CONNECTIONS = 8
"""The same of the receiver of large outputs."""
POSTERS = 4
"""Kubernetes Events that are posted at a time."""
TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class Operator:
    """Everything that one process holds."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.policy = Policy(
            worker_image=settings.worker_image,
            service_accounts=settings.service_accounts,
            parallelism=settings.parallelism,
            namespace_parallelism=settings.namespace_parallelism,
            outputs_url=settings.outputs_url,
        )
        self.cluster: Cluster | None = None
        self.leasing: Cluster | None = None
        """A client of its own: the Lease is renewed also while the API server holds back what works."""
        self.engine: Engine | None = None
        self.schedules: Schedules | None = None
        self.events: Events | None = None
        self.servers: list[Server] = []
        self.serving: list[Cluster] = []
        """Clients of the servers' own: a burst of requests must not hold up the steps."""
        self.watches: list[Watch[Any]] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.probes: AppRunner | None = None
        self.elector: Elector | None = None

    async def start(self, credentials: Credentials) -> None:
        """Connect, watch runs, Pods and slots, and begin to work once all are known."""
        agent = f"adze-operator/{__version__}"
        self.cluster = Cluster(credentials, agent, skew=Skew())
        driver = Driver(self.cluster, self.settings.instance)
        if self.settings.lease:
            identity = f"{self.settings.instance}_{uuid.uuid4().hex[:8]}"
            self.leasing = Cluster(credentials, agent)
            self.elector = Elector(self.leasing, self.settings.own_namespace, self.settings.lease, identity)
        allowed = self.elector.valid if self.elector else lambda: True
        self.engine = Engine(driver, self.policy, allowed)
        self.schedules = Schedules(driver, self.engine, allowed)
        labels = f"{selector({names.RUN_UID: None})},!{names.RELEASED}"
        self.events = Events(self.cluster, self.settings.instance, allowed)
        event_watches: list[Watch[Sight]] = []
        for namespace in self.settings.namespaces or (None,):
            runs = resource(API_VERSION, namespace, "workflowruns")
            leases = resource(LEASE_API_VERSION, namespace, "leases")
            events = resource(API_VERSION, namespace, "workflowevents")
            self.watches += [
                *(
                    Watch(self.cluster, carriers.path(kind, namespace), labels, carrier, _identity, self.engine.see_pod)
                    for kind, (carrier, _, _) in carriers.KINDS.items()
                ),
                Watch(self.cluster, runs, "", Run, _identity, self._see_run),
                Watch(self.cluster, leases, selector({names.SLOTS: None}), Slot, _identity, self.engine.see_slot),
            ]
            event_watches.append(Watch(self.cluster, events, "", Sight, _identity, self._see_event))
        await self._serve(credentials, self.events)
        self.probes = await probes.serve_probes(self.settings.port, self.ready)
        posters = [driver.post_events() for _ in range(POSTERS)]
        watching = [*(watch.run() for watch in self.watches), *(watch.run() for watch in event_watches)]
        for coroutine in (*posters, self._work(), *watching):
            task = asyncio.get_running_loop().create_task(coroutine)
            task.add_done_callback(_die_with)
            self.tasks.append(task)

    def _see_run(self, old: Run | None, new: Run | None) -> None:
        assert self.engine is not None
        if new is not None:
            self.engine.see_run(new)
        elif old is not None:
            self.engine.lose_run(old.metadata.uid)

    async def _serve(self, credentials: Credentials, events: Events) -> None:
        """Start the gateway and the receiver of large outputs, where they are wanted."""
        settings = self.settings
        if settings.gateway_port:
            cluster = Cluster(credentials, f"adze-gateway/{__version__}", connections=GATEWAY_CONNECTIONS)
            webhooks = Webhooks(cluster) if settings.gateway_webhooks else None
            gateway = Gateway(cluster, settings.namespaces, events.backlog, webhooks)
            await self._start(gateway.server(), settings.gateway_port, cluster)
        if settings.outputs_port:
            cluster = Cluster(credentials, f"adze-outputs/{__version__}", connections=OUTPUTS_CONNECTIONS)
            await self._start(Receiver(cluster, settings.namespaces).server(), settings.outputs_port, cluster)

    async def _start(self, server: Server, port: int, cluster: Cluster) -> None:
        self.servers.append(server)
        self.serving.append(cluster)
        await server.start(port)

    def _see_event(self, old: Sight | None, new: Sight | None) -> None:
        assert self.events is not None and self.engine is not None
        self.events.see(old, new)
        if new and old is None:
            self.engine.see_event(new.metadata.namespace, new.spec.type)

    async def _work(self) -> None:
        assert self.engine is not None and self.schedules is not None and self.cluster is not None
        assert self.events is not None
        for watch in self.watches:
            await watch.synced.wait()
        if self.elector:
            # A replica that waits knows all Pods and runs already; it only starts to look at them.
            await self.elector.lead()
        # What lives now lives long: the collector needn't go through it again and again.
        gc.freeze()
        gc.set_threshold(50_000, 50, 1000)
        self.engine.start()
        self.schedules.start()
        sweeper = asyncio.get_running_loop().create_task(sweep(self.cluster, self.settings.namespaces))
        sweeper.add_done_callback(_die_with)
        self.tasks.append(sweeper)
        log.info("working", version=__version__, namespaces=self.settings.namespaces or "all")
        await asyncio.gather(self.events.run(), *([self.elector.keep()] if self.elector else ()))

    def ready(self) -> bool:
        """Whether runs, Pods and slots are known. A replica that waits for the Lease is ready too: it can take over."""
        return bool(self.watches) and all(watch.synced.is_set() for watch in self.watches)

    async def stop(self) -> None:
        """Stop everything that `start` started: kopf waits for tasks that it doesn't know."""
        for server in self.servers:
            await server.stop()
        for task in self.tasks:
            task.remove_done_callback(_die_with)
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.schedules:
            await self.schedules.stop()
        if self.engine:
            await self.engine.stop()
        if self.elector:
            await self.elector.release()
        if self.probes:
            await self.probes.cleanup()
        for cluster in filter(None, (self.cluster, self.leasing, *self.serving)):
            await cluster.close()


def _identity(item: Carrier | Run | Slot | Sight) -> tuple[str, str]:
    return item.metadata.uid, item.metadata.resource_version


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
        assert operator.cluster is not None
        # kopf looks for the kinds only once, after this.
        await served(operator.cluster)

    @kopf.on.cleanup(registry=handlers)
    async def stop(**_: Any) -> None:
        await operator.stop()

    kopf.on.login(registry=handlers)(login)

    @kopf.on.event(GROUP, VERSION, "workflows", registry=handlers)
    async def see_workflow(event: Any, **_: Any) -> None:
        assert operator.engine is not None and operator.cluster is not None and operator.schedules is not None
        metadata = event["object"]["metadata"]
        if event["type"] == "DELETED":
            operator.engine.lose_workflow(metadata["namespace"], metadata["name"])
            operator.schedules.lose_workflow((metadata["namespace"], metadata["name"]), metadata["uid"])
            return
        try:
            workflow = msgspec.convert(dict(event["object"]), Workflow)
        except (msgspec.ValidationError, RecursionError) as error:
            log.error("a Workflow breaks its schema", workflow=metadata["name"], error=str(error))
            return
        operator.schedules.see_workflow(workflow)
        operator.engine.see_workflow(workflow)
        try:
            await review(operator.cluster, workflow, operator.settings.instance, operator.policy)
        except ApiError as error:
            log.warning("Workflow not reviewed", workflow=workflow.metadata.name, error=str(error))

    @kopf.on.event(GROUP, VERSION, "workflowwebhooks", registry=handlers)
    async def see_webhook(event: Any, **_: Any) -> None:
        assert operator.cluster is not None
        if event["type"] == "DELETED":
            return
        try:
            webhook = msgspec.convert(dict(event["object"]), Webhook)
        except (msgspec.ValidationError, RecursionError) as error:
            log.error("a WorkflowWebhook breaks its schema", name=event["object"]["metadata"]["name"], error=str(error))
            return
        try:
            await review_webhook(operator.cluster, webhook)
        except ApiError as error:
            log.warning("WorkflowWebhook not reviewed", webhook=webhook.metadata.name, error=str(error))

    return handlers


def run() -> None:
    """Run the operator until it's told to stop."""
    settings = settings_module.load(os.environ)
    logs.configure(settings)
    # The API server takes JSON nested up to 10,000 levels; one such object must not break the decoding of a whole list.
    sys.setrecursionlimit(25_000)
    operator = Operator(settings)
    uvloop.run(
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
