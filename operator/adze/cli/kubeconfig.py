"""From a kubeconfig to connections, as kubectl does it: the official client reads it, runs plugins, finds proxies."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adze import __version__
from adze.cli.exits import Forbidden, Unreachable, did_you_mean

if TYPE_CHECKING:
    from kubernetes.client import Configuration
    from urllib3 import HTTPHeaderDict, PoolManager

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECTIONS = 64


class Complaints(logging.Handler):
    """What the official client logs instead of raising: above all, what went wrong with a login plugin."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.heard.append(record.getMessage())


@dataclass(frozen=True, slots=True)
class Access:
    """The way to a cluster: a pool of connections (proxy and TLS are its concern), and who asks."""

    pool: "PoolManager"
    configuration: "Configuration"
    identity: "HTTPHeaderDict"
    namespace: str
    context: str

    @property
    def server(self) -> str:
        """Its URL."""
        return self.configuration.host.rstrip("/")

    def headers(self) -> "HTTPHeaderDict":
        """User agent, credentials (refreshed if they have expired) and whom the user acts as."""
        headers = self.identity.copy()
        if bearer := self.configuration.auth_settings().get("BearerToken"):
            headers[bearer["key"]] = bearer["value"] or ""
        return headers


def login(kubeconfig: str | None, context: str | None) -> Access:
    """The cluster of a kubeconfig's context. Unreachable if there is none, Forbidden if there is no way to log in."""
    try:
        from kubernetes.client import ApiClient, Configuration
        from kubernetes.config import ConfigException, load_incluster_config
    except ImportError:
        raise Unreachable(
            "the official Kubernetes client is missing: python3 -m pip install 'adze-workflows[cluster]'"
        ) from None
    from urllib3 import HTTPHeaderDict
    from yaml import YAMLError

    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings tell of what is tried again
    configuration = Configuration()
    configuration.keep_alive = True
    configuration.connection_pool_maxsize = CONNECTIONS
    identity = HTTPHeaderDict({"User-Agent": f"adze/{__version__}"})
    paths = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    try:
        if _exists(paths) or kubeconfig or not SERVICE_ACCOUNT.exists():
            context, namespace, user = _load(paths, context, configuration)
            identity.extend(_impersonation(user))
        else:
            load_incluster_config(configuration)
            context, namespace = "in-cluster", (SERVICE_ACCOUNT / "namespace").read_text().strip()
    except (ConfigException, YAMLError, OSError, TypeError, AttributeError, ValueError) as error:
        raise Unreachable(f"{paths} is no usable kubeconfig: {error}") from None
    return Access(ApiClient(configuration).rest_client.pool_manager, configuration, identity, namespace, context)


def _exists(paths: str) -> bool:
    return any(Path(path).expanduser().exists() for path in paths.split(os.pathsep) if path)


def _load(paths: str, context: str | None, configuration: "Configuration") -> tuple[str, str, dict[str, Any]]:
    """Fill in the configuration; the context's name, its namespace and its user."""
    from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

    if not _exists(paths):
        raise Unreachable(f"there is no kubeconfig {paths}: set KUBECONFIG or give --kubeconfig")
    merger = KubeConfigMerger(paths)
    if context is None:
        # As in kubectl the first file counts that names one; the official client takes the last.
        context = next((name for file in merger.config_files.values() if (name := file.get("current-context"))), None)
    if not context:
        raise Unreachable(f"kubeconfig {paths} has no current context: kubectl config use-context, or --context")
    contexts = [found["name"] for file in merger.config_files.values() for found in file.get("contexts") or ()]
    if context not in contexts:
        raise Unreachable(f"there is no context {context!r} in kubeconfig {paths}{did_you_mean(context, contexts)}")
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    try:
        loader = KubeConfigLoader(
            merger.config, active_context=context, config_base_path=None, config_persister=merger.save_changes
        )
        loader.load_and_set(configuration)
    finally:
        logging.getLogger().removeHandler(complaints)
    if complaints.heard:
        raise Forbidden(f"can't log in with context {context!r}: {complaints.heard[0]}")
    place = loader.current_context["context"]
    users = [user for file in merger.config_files.values() for user in file.get("users") or ()]
    user = next((user.get("user") for user in users if user["name"] == place.get("user")), None)
    return context, place.get("namespace") or "default", user or {}


def _impersonation(user: dict[str, Any]) -> list[tuple[str, str]]:
    """The headers for a user who acts as another, which the official client doesn't know of."""
    named = {"Impersonate-User": user.get("as"), "Impersonate-Uid": user.get("as-uid")}
    return [
        *((header, value) for header, value in named.items() if value),
        *(("Impersonate-Group", group) for group in user.get("as-groups") or ()),
        *(
            (f"Impersonate-Extra-{key}", value)
            for key, values in (user.get("as-user-extra") or {}).items()
            for value in values
        ),
    ]
