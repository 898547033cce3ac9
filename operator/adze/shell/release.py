"""Leave a cluster in order: stop the operator, then let go of every Pod, Job and child run that it holds.

A Pod with our finalizer can't be deleted while no operator runs, and neither can its namespace.
"""

import asyncio

import msgspec
import structlog

from adze.core import names
from adze.core.calls import Problem, Release
from adze.core.pods import Pod
from adze.shell import carriers
from adze.shell.cluster import MERGE, ApiError, Cluster, Credentials, resource, selector
from adze.shell.driver import Driver
from adze.shell.lists import pages

log = structlog.get_logger()


class _Pods(msgspec.Struct):
    items: list[Pod] = []


async def release(
    credentials: Credentials, deployment: str | None, namespace: str, namespaces: tuple[str, ...], patience: float
) -> int:
    """Scale the operator's Deployment to zero, wait for its end, release all Pods; the number of Pods released.

    TimeoutError if the operator's Pods are still there after `patience` seconds: to release Pods under a running
    operator would be in vain.
    """
    cluster = Cluster(credentials, agent="adze-release")
    try:
        if deployment:
            await _stop(cluster, namespace, deployment, patience)
        released = 0
        for scope in namespaces or (None,):
            released += await _release_pods(cluster, scope)
        log.info("released", pods=released)
        return released
    finally:
        await cluster.close()


async def _stop(cluster: Cluster, namespace: str, deployment: str, patience: float) -> None:
    path = resource("apps/v1", namespace, "deployments", deployment)
    try:
        found = msgspec.json.decode(await cluster.call("GET", path))
    except ApiError as error:
        if error.code == 404:
            return
        raise
    await cluster.call("PATCH", f"{path}/scale", {"spec": {"replicas": 0}}, MERGE)
    labels = selector(found["spec"]["selector"]["matchLabels"])
    async with asyncio.timeout(patience):
        while True:
            answer = await cluster.call("GET", resource("v1", namespace, "pods"), labelSelector=labels)
            left = [pod.name for pod in msgspec.json.decode(answer, type=_Pods).items if not pod.ended]
            if not left:
                return
            log.info("waiting for the operator's end", pods=left)
            await asyncio.sleep(1)


async def _release_pods(cluster: Cluster, namespace: str | None) -> int:
    driver = Driver(cluster, "adze-release")
    released = 0
    labels = selector({names.RUN_UID: None})
    for kind in carriers.KINDS:
        async for page in pages(cluster, carriers.path(kind, namespace), labelSelector=labels):
            held = [carrier for item in page.items if (carrier := carriers.decode(kind, item)).held]
            answers = await asyncio.gather(*(driver.do(Release(carrier)) for carrier in held))
            released += sum(not isinstance(answer, Problem) for answer in answers)
    return released
