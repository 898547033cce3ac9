"""Every name, label, annotation and finalizer that adze writes. Names are deterministic: a repeat is harmless."""

import hashlib

GROUP = "adze.dev"
MANAGED_BY = "app.kubernetes.io/managed-by"
RUN = f"{GROUP}/run"
RUN_UID = f"{GROUP}/run-uid"
WORKFLOW = f"{GROUP}/workflow"
STEP = f"{GROUP}/step"
ATTEMPT = f"{GROUP}/attempt"

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


def pod(run: str, run_uid: str, step: str, attempt: int) -> str:
    """Name of the Pod of one attempt: readable in front, unique by its tail, at most 63 characters.

    The run's UID is part of it, so that a new run of the same name never meets an old one's Pods.
    """
    readable = f"{run[:30]}-{step[:16]}-{attempt}".replace(".", "-")
    return f"{readable}-{digest(run_uid, step, attempt)}"


def label(value: str) -> str:
    """`value` as a label value: at most 63 characters, shortened with a hash when longer."""
    return value if len(value) <= 63 else f"{value[:52]}-{digest(value)}"
