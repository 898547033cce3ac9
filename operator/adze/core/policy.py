"""What the installation decides for all workflows."""

from dataclasses import dataclass

DEFAULT_WORKER_IMAGE = "localhost/adze/worker:1"


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings of the installation that decide about all runs."""

    worker_image: str = DEFAULT_WORKER_IMAGE
    service_accounts: tuple[str, ...] = ()
    """Service accounts that a step may name; `*` stands for any."""
    parallelism: int = 0
    namespace_parallelism: int = 0
    """Steps that run at a time, of all and of each namespace; 0 is any number."""
    outputs_url: str = ""
    """Where steps hand large outputs over; empty: nowhere."""

    @property
    def capped(self) -> bool:
        """Whether steps need a place to run."""
        return bool(self.parallelism or self.namespace_parallelism)
