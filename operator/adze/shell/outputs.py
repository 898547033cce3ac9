"""The receiver of large outputs: HTTP in, a ConfigMap out. Every replica serves it.

A step proves who it is by a token that Kubernetes has made for its Pod alone. An answer of 200 means that the output is
in etcd, and its body is what the step must write as its output. Everything else may be sent again.
"""

import msgspec
from aiohttp import web

from adze.core import fanout, manifest, names, outputs
from adze.core.calls import Failure
from adze.core.model import API_VERSION, ItemStatus, OwnerReference, Run
from adze.core.pods import Pod
from adze.shell import metrics
from adze.shell.access import review_token
from adze.shell.cluster import ApiError, Cluster, resource
from adze.shell.driver import problem
from adze.shell.http import SOON, Refused, Server, Turns, answer, bearer, body, of_api, problems, unknown_token

IN_FLIGHT = 8
"""Requests that are served at a time: each holds its output in memory several times over."""
PATH = "/v1/outputs"
POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"
"""What the API server knows of a token besides its account: the Pod that it is for."""


class _Metadata(msgspec.Struct, rename="camel"):
    owner_references: tuple[OwnerReference, ...] = ()


class _Page(msgspec.Struct):
    metadata: _Metadata
    data: dict[str, str] = {}
    immutable: bool = False


class Receiver:
    """Answers at the address that steps with a large output are given."""

    def __init__(self, cluster: Cluster, namespaces: tuple[str, ...]) -> None:
        """`cluster` is one of its own, for the sake of the steps; `namespaces` are those served, empty for all."""
        self._cluster = cluster
        self._namespaces = namespaces
        self._turns = Turns(IN_FLIGHT)

    def server(self) -> Server:
        """What serves it."""
        middleware = problems(outputs.LARGEST, _explain, _count)
        app = web.Application(client_max_size=outputs.LARGEST, middlewares=[middleware])
        app.router.add_post(PATH, self._hand_over)
        return Server(app)

    async def _hand_over(self, request: web.Request) -> web.Response:
        with self._turns.take("outputs"):
            pod = await self._sender(bearer(request))
            run, part = await self._attempt(pod)
            limit = outputs.LARGEST if names.index(part.name) is None else fanout.PAGE_LIMIT
            content = await body(request, limit)
            if len(content) > limit:
                raise Refused(413, f"an output has at most {limit} bytes", "body")
            if not _has_room(run, part, len(content)):
                raise Refused(413, "the run has no room for this output: docs/limits.md", "body")
            try:
                text = outputs.checked(content)
            except ValueError as error:
                raise Refused(400, str(error), "body") from None
            await self._store(run, pod, text)
            return answer(200, outputs.refer(content))

    async def _sender(self, token: str) -> Pod:
        """The Pod that the token was made for, as it is now."""
        user = await review_token(self._cluster, token, names.AUDIENCE)
        if user is None:
            raise unknown_token()
        # system:serviceaccount:NAMESPACE:NAME
        namespace = user.username.split(":")[2] if user.username.startswith("system:serviceaccount:") else ""
        name, uid = (next(iter(user.extra.get(key, ())), "") for key in (POD_NAME, POD_UID))
        if not (namespace and name and uid):
            raise Refused(403, "the token is not a Pod's")
        if self._namespaces and namespace not in self._namespaces:
            raise Refused(403, f"adze does not serve the namespace {namespace}")
        try:
            pod = msgspec.json.decode(
                await self._cluster.call("GET", resource("v1", namespace, "pods", name)), type=Pod
            )
        except ApiError as error:
            if error.code == 404:
                raise Refused(403, f"the Pod {name} is gone") from None
            raise
        if pod.metadata.uid != uid:
            raise Refused(403, f"the Pod {name} is another by now")
        return pod

    async def _attempt(self, pod: Pod) -> tuple[Run, ItemStatus]:
        """The run that stands behind the Pod, and the step or item whose attempt it is."""
        owners = (one for one in pod.metadata.owner_references if one.controller and one.kind == "WorkflowRun")
        owner = next(owners, None)
        if owner is None or not pod.held:
            raise Refused(403, f"the Pod {pod.name} is no attempt of a step")
        path = resource(API_VERSION, pod.metadata.namespace, "workflowruns", owner.name)
        try:
            run = msgspec.json.decode(await self._cluster.call("GET", path), type=Run)
        except ApiError as error:
            if error.code == 404:
                raise Refused(403, f"the run {owner.name} is gone") from None
            raise
        if run.metadata.uid != owner.uid:
            raise Refused(403, f"the run {owner.name} is another by now")
        for part in run.status.parts():
            if part.open_attempt and part.open_attempt.pod == pod.name and not pod.ended:
                return run, part
        raise Refused(403, f"the attempt of the Pod {pod.name} has ended")

    async def _store(self, run: Run, pod: Pod, text: str) -> None:
        page = manifest.page(run, names.output(pod.name), text)
        path = resource("v1", run.metadata.namespace, "configmaps")
        try:
            await self._cluster.call("POST", path, page)
        except ApiError as error:
            if problem(error).failure is not Failure.EXISTS:
                raise
            if not await self._is_there(f"{path}/{page['metadata']['name']}", run, text):
                raise Refused(409, "this attempt has handed over another output before", "body") from None

    async def _is_there(self, path: str, run: Run, text: str) -> bool:
        try:
            found = msgspec.json.decode(await self._cluster.call("GET", path), type=_Page)
        except ApiError as error:
            if error.code == 404:  # deleted just now
                raise Refused(503, "the output was there and is not any more", Retry_After=SOON) from None
            raise
        owned = any(one.controller and one.uid == run.metadata.uid for one in found.metadata.owner_references)
        return owned and found.immutable and found.data.get(names.PAGE) == text


def _has_room(run: Run, part: ItemStatus, size: int) -> bool:
    """Whether the run may have room for the output; the planner knows for sure when it's recorded."""
    if names.index(part.name) is not None:
        step = next(step for step in run.status.steps if step.name == names.step_of(part.name))
        return (step.items.paged if step.items else 0) + size <= fanout.OUTPUTS_LIMIT
    return sum(step.output_page.bytes for step in run.status.steps if step.output_page) + size <= outputs.TOGETHER


def _explain(error: Exception) -> Refused | None:
    return of_api(error) if isinstance(error, ApiError) else None


def _count(_: web.Request, status: int) -> None:
    metrics.output_requests.labels(status).inc()
