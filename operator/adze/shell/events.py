"""Processes WorkflowEvents: starts their runs, says so in their status, deletes them when they are old.

Only the replica that works does it, one worker a namespace. An event is taken from a quorum GET, the Workflows from a
quorum LIST made after the event was seen: whoever applied a Workflow before sending the event gets its run.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import islice

import msgspec
import structlog

from adze.core import events
from adze.core.backoff import growing
from adze.core.calls import Failure
from adze.core.draft import Notice
from adze.core.events import Firing, Sight, Started, Subscriber
from adze.core.model import API_VERSION, Event, EventProblem, EventRun, EventStatus, Metadata
from adze.shell import metrics
from adze.shell.cluster import MERGE, ApiError, Cluster, resource
from adze.shell.driver import kubernetes_event, problem
from adze.shell.lists import pages
from adze.shell.outside import utcnow
from adze.shell.workers import RETRY, Workers

log = structlog.get_logger()

BATCH = 100
"""Events of a namespace that share one list of its Workflows."""
AT_ONCE = 16
"""Events that are processed at a time: a burst must not take the API server from the steps."""
DELETERS = 2
"""Old events that are deleted at a time."""
DELETED_AGAIN = timedelta(minutes=1)
"""Pause before a failed delete is repeated."""
SAID_AGAIN = timedelta(minutes=10)
"""Pause before a Workflow is told once more, by a Kubernetes Event, of the same problem."""

_event = msgspec.json.Decoder(Event).decode


class _Annotated(msgspec.Struct):
    annotations: dict[str, str] = {}


class _Existing(msgspec.Struct):
    metadata: _Annotated


class Events:
    """Knows every WorkflowEvent by sight and processes those that have not been."""

    def __init__(
        self,
        cluster: Cluster,
        instance: str,
        allowed: Callable[[], bool] = lambda: True,
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        """`allowed` says before each batch, and each event's runs, whether this process may still work."""
        self._cluster = cluster
        self._instance = instance
        self._allowed = allowed
        self._clock = clock
        self._sights: dict[str, Sight] = {}
        self._same: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        self._pending: dict[str, dict[str, None]] = defaultdict(dict)
        self._workers = Workers(self._work, clock)
        self._alarms = Workers(self._ring, clock)
        self._failures: dict[str, int] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._deleting = asyncio.Semaphore(DELETERS)
        self._said: dict[tuple[str, str], datetime] = {}
        self._unprocessed: Counter[str] = Counter()

    def backlog(self, namespace: str) -> int:
        """How many events of a namespace are known and not processed."""
        return self._unprocessed[namespace]

    def see(self, old: Sight | None, new: Sight | None) -> None:
        """A difference among the WorkflowEvents, as the watch tells it."""
        sight = new or old
        assert sight is not None
        uid = sight.metadata.uid
        known = self._sights.get(uid)
        self._unprocessed[sight.metadata.namespace] += _waits(new) - _waits(known)
        if new is None:
            self._forget(sight)
            return
        self._sights[uid] = new
        self._same[new.identity].add(uid)
        self._look(uid)

    def _forget(self, sight: Sight) -> None:
        uid = sight.metadata.uid
        self._sights.pop(uid, None)
        self._failures.pop(uid, None)
        self._alarms.forget(uid)
        self._same[sight.identity].discard(uid)
        if not self._same[sight.identity]:
            del self._same[sight.identity]

    def _look(self, uid: str) -> None:
        """Process it, or set the alarm for its deletion."""
        sight = self._sights[uid]
        if sight.metadata.deletion_timestamp:
            return
        if sight.processed:
            self._failures.pop(uid, None)
            self._alarms.wake(uid, sight.expiry)
        elif uid not in self._failures:  # else it waits for its alarm
            self._queue(sight)

    def _queue(self, sight: Sight) -> None:
        namespace = sight.metadata.namespace
        self._pending[namespace][sight.metadata.uid] = None
        self._workers.look(namespace)

    async def _ring(self, uid: str) -> timedelta:
        """An event is old, or waited long enough since it failed."""
        sight = self._sights.get(uid)
        if sight and sight.processed:
            await self._delete(sight)
        elif sight:
            self._queue(sight)
        return timedelta(0)

    async def run(self) -> None:
        """Work until cancelled; what was seen before is looked at now."""
        self._workers.running = self._alarms.running = True
        for uid in self._sights:
            self._look(uid)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.gather(self._workers.stop(), self._alarms.stop())

    async def _work(self, namespace: str) -> timedelta:
        pending = self._pending[namespace]
        uids = list(islice(pending, BATCH))
        for uid in uids:
            del pending[uid]
        await self._process_all(namespace, [self._sights[uid] for uid in uids if uid in self._sights])
        if pending:
            self._workers.look(namespace)
        return timedelta(0)

    async def _process_all(self, namespace: str, batch: Sequence[Sight]) -> None:
        if not self._allowed():
            log.warning("events were left alone: this replica may work no more", namespace=namespace)
            return
        try:
            workflows = await self._subscribers(namespace)
        except Exception as error:
            await asyncio.gather(*(self._wait(sight, error) for sight in batch))
            return
        await asyncio.gather(*(self._process(sight, workflows) for sight in batch))

    async def _subscribers(self, namespace: str) -> list[Subscriber]:
        """The Workflows of a namespace that wait for events. One that can't be read must not stop the others."""
        found: list[Subscriber] = []
        async for page in pages(self._cluster, resource(API_VERSION, namespace, "workflows")):
            for item in page.items:
                try:
                    found.append(msgspec.json.decode(item, type=Subscriber))
                except (msgspec.ValidationError, RecursionError) as error:
                    log.error("a Workflow breaks its schema", namespace=namespace, error=str(error))
        return [workflow for workflow in found if workflow.spec.on]

    async def _process(self, sight: Sight, workflows: Sequence[Subscriber]) -> None:
        async with self._turn:
            try:
                if twin := self._processed_twin(sight):
                    status = events.duplicate(sight, twin.metadata.name, self._clock())
                    await self._write(sight.metadata, status)
                    return
                event = await self._read(sight)
                if event is None or not self._allowed():
                    return
                found = events.firings(event, workflows)
                outcomes = [
                    item if isinstance(item, EventProblem) else await self._start(event, item) for item in found
                ]
                status = events.processed(event, outcomes, self._clock())
                await self._write(event.metadata, status)
                metrics.events_processed.labels(status.conditions[0].reason).inc()
            except Exception as error:
                if not isinstance(error, ApiError):
                    log.exception("an event was not processed", name=sight.metadata.name)
                await self._wait(sight, error)
                return
        await self._say_problems(event, workflows, status.problems)

    def _processed_twin(self, sight: Sight) -> Sight | None:
        """Another object of the same event that was processed before: its runs may be gone by now."""
        twins = (self._sights[uid] for uid in self._same.get(sight.identity, ()) if uid != sight.metadata.uid)
        return next((twin for twin in twins if twin.processed), None)

    async def _read(self, sight: Sight) -> Event | None:
        """The event as etcd has it, if there's still something to do."""
        metadata = sight.metadata
        path = resource(API_VERSION, metadata.namespace, "workflowevents", metadata.name)
        try:
            event = _event(await self._cluster.call("GET", path))
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        gone = event.metadata.uid != metadata.uid or event.metadata.deletion_timestamp
        return None if gone or event.status.processed_time else event

    async def _start(self, event: Event, firing: Firing) -> Started | EventProblem:
        path = resource(API_VERSION, event.metadata.namespace, "workflowruns")
        try:
            await self._cluster.call("POST", path, firing.manifest)
        except ApiError as error:
            failure = problem(error).failure
            if failure is Failure.EXISTS:
                answer = await self._cluster.call("GET", f"{path}/{firing.run}")
                existing = msgspec.json.decode(answer, type=_Existing)
                return events.already(event, firing, existing.metadata.annotations)
            if failure is Failure.REFUSED:
                return events.refused(firing, error.message)
            raise
        return Started(EventRun(workflow=firing.workflow, name=firing.run))

    async def _write(self, metadata: Metadata, status: EventStatus) -> None:
        """Merge the status in, by compare-and-swap: a replica that comes too late must not take it back."""
        path = resource(API_VERSION, metadata.namespace, "workflowevents", metadata.name, "status")
        versions = {"resourceVersion": metadata.resource_version, "uid": metadata.uid}
        body = {"metadata": versions, "status": msgspec.to_builtins(status)}
        try:
            await self._cluster.call("PATCH", path, body, MERGE)
        except ApiError as error:
            if error.code != 404:
                raise

    async def _wait(self, sight: Sight, error: Exception) -> None:
        """Try again later, and say in the status why it waits, unless the API server is away or knows better."""
        self._retry(sight, error)
        status = events.waiting(sight, str(error), self._clock())
        if status is None or (isinstance(error, ApiError) and error.code in (0, 409)):
            return
        try:
            await self._write(sight.metadata, status)
        except ApiError as failed:
            log.warning("an event's status was not written", name=sight.metadata.name, error=str(failed))

    def _retry(self, sight: Sight, error: Exception) -> None:
        uid = sight.metadata.uid
        failures = self._failures[uid] = self._failures.get(uid, 0) + 1
        log.warning("an event waits", name=sight.metadata.name, error=str(error), failures=failures)
        if uid in self._sights:
            self._alarms.wake(uid, self._clock() + timedelta(seconds=growing(RETRY, failures - 1)))

    async def _say_problems(
        self, event: Event, workflows: Sequence[Subscriber], problems: Sequence[EventProblem]
    ) -> None:
        """Tell the Workflows concerned, by Kubernetes Events; not of each event of a burst."""
        by_name = {workflow.metadata.name: workflow.metadata for workflow in workflows}
        for found in problems:
            metadata = by_name[found.workflow]
            said = self._said.get((metadata.uid, found.message))
            if found.reason == "Suspended" or (said and self._clock() < said + SAID_AGAIN):
                continue
            if len(self._said) >= 1000:
                self._said.clear()
            self._said[metadata.uid, found.message] = self._clock()
            text = f"WorkflowEvent {event.metadata.name} started no run: {found.message}"
            body = kubernetes_event("Workflow", metadata, Notice("Warning", found.reason, text[:1000]), self._instance)
            try:
                await self._cluster.call("POST", resource("v1", metadata.namespace, "events"), body)
            except ApiError as error:
                log.warning("Kubernetes Event not posted", reason=found.reason, error=str(error))

    async def _delete(self, sight: Sight) -> None:
        metadata = sight.metadata
        path = resource(API_VERSION, metadata.namespace, "workflowevents", metadata.name)
        async with self._deleting:
            if not self._allowed():
                return
            try:
                await self._cluster.call("DELETE", path, {"preconditions": {"uid": metadata.uid}})
            except ApiError as error:
                if error.code not in (404, 409):
                    log.warning("an old event was not deleted", name=metadata.name, error=str(error))
                    self._alarms.wake(metadata.uid, self._clock() + DELETED_AGAIN)


def _waits(sight: Sight | None) -> int:
    return 0 if sight is None or sight.processed else 1
