"""Every name, label, annotation and finalizer that adze writes. Names are deterministic: a repeat is harmless."""

import hashlib
from datetime import datetime

GROUP = "adze.dev"
MANAGED_BY = "app.kubernetes.io/managed-by"
RUN = f"{GROUP}/run"
RUN_UID = f"{GROUP}/run-uid"
WORKFLOW = f"{GROUP}/workflow"
STEP = f"{GROUP}/step"
ATTEMPT = f"{GROUP}/attempt"
ITEM = f"{GROUP}/item"
"""Index of the item, on Pods of a forEach step."""
RELEASED = f"{GROUP}/released"
"""Marks a Pod that has ended and was let go: nothing of it matters any more."""
SLOTS = f"{GROUP}/group"
"""On a Lease: the key whose slot it is."""
HOLDER = f"{GROUP}/holder"
SLOT_KEY = f"{GROUP}/key"
GIVING_BACK = f"{GROUP}/giving-back"
"""Annotations of a slot's Lease: what of the run holds it, the key in full, and that it's about to go."""

TRIGGER = f"{GROUP}/trigger"
"""Label of a run that was started by something: cron, event or step."""
EVENT = f"{GROUP}/event"
"""Label of a run that an event has started: name of the WorkflowEvent."""
SCHEDULE = f"{GROUP}/schedule"
TIME_ZONE = f"{GROUP}/time-zone"
SCHEDULED_TIME = f"{GROUP}/scheduled-time"
"""Annotations of a run that a schedule has started: the schedule, its time zone, the tick."""

LEASE = f"{GROUP}/lease"
"""Label of our Leases: what they are for."""
CACHE = f"{GROUP}/cache"
"""Label of the ConfigMaps of the cache: name of the step."""
KEY = "idempotency-key"
IDEMPOTENCY_KEY = f"{GROUP}/{KEY}"
"""Annotation of the Lease of an idempotency key: the key."""
ALLOWANCE = "rate"
RATE = f"{GROUP}/{ALLOWANCE}"
"""Annotation of the Lease of an allowance: what has been taken of it, and until when it's closed."""
EVENT_SOURCE = f"{GROUP}/event-source"
EVENT_ID = f"{GROUP}/event-id"
EVENT_TYPE = f"{GROUP}/event-type"
EVENT_UID = f"{GROUP}/event-uid"
"""Annotations of such a run: the event's source, id and type, and the UID of the WorkflowEvent."""

FINALIZER = f"{GROUP}/outcome"
"""Holds a Pod, Job or child run until its outcome is in the run's status."""
GATE = f"{GROUP}/claim"
"""Holds a Pod from the scheduler, a Job or a child run from its start, until the run is known to stand behind it."""

QUEUE = "kueue.x-k8s.io/queue-name"
"""The label by which Kueue takes charge of a Job."""

ANCESTORS = f"{GROUP}/ancestors"
"""The workflows of the runs above a child run, outermost first, by comma."""

CONTEXT = f"{GROUP}/context"
SCRIPT = f"{GROUP}/script"
"""Annotations that become files in the step's container through the downward API."""

PAGE = "outputs.json"
"""Key of a page's content in its ConfigMap: outputs by index, or a large output."""
REFERENCE = f"{GROUP}/output"
"""The only member of what a step writes in place of a large output."""
AUDIENCE = GROUP
"""Whom the token of such a step is for."""

MAIN = "main"
"""The container whose end is the attempt's end."""
VOLUME = "adze"
DIRECTORY = "/adze"
"""The volume with the step's files, and where the container finds it."""


def digest(*parts: object, length: int = 10) -> str:
    """A short stable hash of the parts, fit for a Kubernetes name."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def is_own(key: str) -> bool:
    """Whether a label or annotation is adze's to write."""
    return key.startswith(f"{GROUP}/") or key == MANAGED_BY


def pod(run: str, run_uid: str, step: str, attempt: int, item: int | None = None) -> str:
    """Name of the Pod of one attempt: readable in front, unique by its tail, at most 63 characters.

    The run's UID is part of it, so that a new run of the same name never meets an old one's Pods.
    """
    if item is None:
        readable, parts = f"{run[:30]}-{step[:16]}-{attempt}", (run_uid, step, attempt)
    else:
        readable, parts = f"{run[:25]}-{step[:14]}-{item}-{attempt}", (run_uid, part(step, item), attempt)
    return f"{readable.replace('.', '-')}-{digest(*parts)}"


def page(run: str, run_uid: str, step: str, outputs: str) -> str:
    """Name of a ConfigMap with outputs: it follows from them, so that a page never changes under its name."""
    return f"{run[:30].replace('.', '-')}-{step[:16]}-{digest(run_uid, step, outputs)}"


def output(pod: str) -> str:
    """Name of the ConfigMap with the large output of the attempt whose Pod that is."""
    return f"{pod}-output"


def part(step: str, item: int) -> str:
    """Name of one item of a step."""
    return f"{step}[{item}]"


def step_of(part: str) -> str:
    """The step that a part is, or is an item of."""
    return part.partition("[")[0]


def index(part: str) -> int | None:
    """The item's index in the name of a step's part; None for the step itself."""
    return int(part[part.index("[") + 1 : -1]) if part.endswith("]") else None


def tick_run(workflow: str, schedule: str, time_zone: str, tick: datetime) -> str:
    """Name of the run of a tick: the same whoever starts it, and however often. At most 63 characters.

    The Workflow's UID is no part of it: one that is deleted and made again has the run of a tick already.
    """
    tail = digest(workflow, schedule, time_zone, length=6)
    return f"{workflow[:40].rstrip('.-')}-{tick:%Y%m%d-%H%M%S}-{tail}"


def key_lease(workflow: str | None, key: str | None) -> str:
    """Name of the Lease of an idempotency key. Runs without a Workflow share the keys of their namespace."""
    return f"adze-key-{digest(workflow or '', key, length=32)}"


def moment(time: datetime) -> str:
    """A UTC time in whole seconds, as Kubernetes writes it."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def event(source: str, id_: str) -> str:
    """Name of the WorkflowEvent that the gateway makes of an event: the same whenever it comes."""
    return f"event-{digest(source, id_, length=32)}"


def event_run(workflow: str, source: str, id_: str) -> str:
    """Name of the run of `workflow` that an event starts: the same whenever and as whatever object the event comes.

    The Workflow's UID is no part of it: one that is deleted and made again has the run of an event already.
    """
    return f"{workflow[:40].rstrip('.-')}-{digest(workflow, source, id_, length=20)}"


def label(value: str) -> str:
    """`value` as a label value: at most 63 characters, shortened with a hash when longer."""
    return value if len(value) <= 63 else f"{value[:52]}-{digest(value)}"
