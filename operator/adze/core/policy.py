"""What the installation decides for all workflows."""

from dataclasses import dataclass

DEFAULT_WORKER_IMAGE = "localhost/adze/worker:1"


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings of the installation that end up in Pods."""

    worker_image: str = DEFAULT_WORKER_IMAGE
    service_accounts: tuple[str, ...] = ()
    """Service accounts that a step may name; `*` stands for any."""
