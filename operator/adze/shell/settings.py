"""The operator's settings, from environment variables that the chart sets."""

from collections.abc import Mapping
from dataclasses import dataclass

from adze.core.policy import DEFAULT_WORKER_IMAGE


@dataclass(frozen=True, slots=True)
class Settings:
    """Each field is the variable ADZE_<FIELD>, but for the two that say otherwise."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to serve, comma-separated; empty serves all."""
    worker_image: str = DEFAULT_WORKER_IMAGE
    """Image of script steps that name none."""
    service_accounts: tuple[str, ...] = ()
    """Service accounts that a step's `pod` may name, comma-separated; `*` is any."""
    parallelism: int = 0
    """Steps that run at a time; 0 is any number."""
    namespace_parallelism: int = 0
    """Steps that run at a time in each namespace; 0 is any number."""
    log_level: str = "info"
    """debug, info, warning or error."""
    log_format: str = "json"
    """json, or text for people."""
    port: int = 8080
    """Port of /healthz, /readyz and /metrics."""
    gateway_port: int = 0
    """Port of the events gateway; 0 serves none."""
    gateway_webhooks: bool = False
    """Whether the gateway takes deliveries for WorkflowWebhooks: true or false. It then reads their Secrets."""
    outputs_port: int = 0
    """Port of the receiver of large outputs; 0 serves none."""
    outputs_url: str = ""
    """Where steps reach that port; empty: no step may hand over a large output."""
    lease: str = ""
    """Name of the Lease by which replicas agree on one that works; empty works without asking."""
    instance: str = "adze"
    """Name of this process in Kubernetes Events; its Pod's name, from POD_NAME."""
    own_namespace: str = "default"
    """Where the Lease lies; the Pod's namespace, from POD_NAMESPACE."""


def load(environment: Mapping[str, str]) -> Settings:
    """Read the settings; ValueError names a variable that makes no sense."""
    port = _number(environment, "ADZE_PORT", "8080")
    webhooks = environment.get("ADZE_GATEWAY_WEBHOOKS", "false").lower()
    if webhooks not in ("true", "false"):
        raise ValueError(f"ADZE_GATEWAY_WEBHOOKS must be true or false, not {webhooks!r}")
    level = environment.get("ADZE_LOG_LEVEL", "info").lower()
    if level not in ("debug", "info", "warning", "error"):
        raise ValueError(f"ADZE_LOG_LEVEL must be debug, info, warning or error, not {level!r}")
    log_format = environment.get("ADZE_LOG_FORMAT", "json")
    if log_format not in ("json", "text"):
        raise ValueError(f"ADZE_LOG_FORMAT must be json or text, not {log_format!r}")
    return Settings(
        namespaces=_names(environment, "ADZE_NAMESPACES"),
        service_accounts=_names(environment, "ADZE_SERVICE_ACCOUNTS"),
        worker_image=environment.get("ADZE_WORKER_IMAGE", DEFAULT_WORKER_IMAGE),
        parallelism=_number(environment, "ADZE_PARALLELISM", "0"),
        namespace_parallelism=_number(environment, "ADZE_NAMESPACE_PARALLELISM", "0"),
        log_level=level,
        log_format=log_format,
        port=port,
        gateway_port=_number(environment, "ADZE_GATEWAY_PORT", "0"),
        gateway_webhooks=webhooks == "true",
        outputs_port=_number(environment, "ADZE_OUTPUTS_PORT", "0"),
        outputs_url=environment.get("ADZE_OUTPUTS_URL", ""),
        lease=environment.get("ADZE_LEASE", ""),
        instance=environment.get("POD_NAME", "adze"),
        own_namespace=environment.get("POD_NAMESPACE", "default"),
    )


def _number(environment: Mapping[str, str], variable: str, default: str) -> int:
    text = environment.get(variable, default)
    if not text.isdigit():
        raise ValueError(f"{variable} must be a number, not {text!r}")
    return int(text)


def _names(environment: Mapping[str, str], variable: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in environment.get(variable, "").split(",") if name.strip())
