"""What the installation decides for all workflows."""

from dataclasses import dataclass

DEFAULT_WORKER_IMAGE = "localhost/adze/worker:1"


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings of the installation that end up in Pods."""

    worker_image: str = DEFAULT_WORKER_IMAGE
