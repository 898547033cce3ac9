"""A step's `pod` over its Pod: strategic merge, and what it must leave alone.

The fields of `model.pod` are the allow-list; here is what only their values tell. Merging follows Kubernetes: maps
are merged, lists with a merge key entry by entry, everything else is replaced (k8s.io/api core/v1, patchMergeKey).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from adze.core import names
from adze.core.model import PodOverlay
from adze.core.model.pod import Container, JobPod, PodFields, PodLabels
from adze.core.policy import Policy

MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "topologySpreadConstraints": "topologyKey",
    "hostAliases": "ip",
}
"""The key by which entries of a list are the same; a list that isn't here is replaced as a whole."""
FEW_RIGHTS = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""Security context of each container, as long as its overlay asks for no more."""
STEP_FIELDS = frozenset({"image", "imagePullPolicy", "command", "args", "env", "envFrom", "resources", "restartPolicy"})
"""Fields of the container `main` that the step itself sets."""


def merge(base: Any, over: Any, field: str = "") -> Any:
    """`over` laid over `base`; `field` is the name of the field that holds them."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        added = {name: merge(base[name], value, name) if name in base else value for name, value in over.items()}
        return {**base, **added}
    key = MERGE_KEYS.get(field)
    if key and isinstance(base, Sequence) and isinstance(over, Sequence):
        news = {entry[key]: entry for entry in over}
        known = {entry[key] for entry in base}
        merged = [merge(entry, news.get(entry[key], {})) for entry in base]
        return [*merged, *(entry for name, entry in news.items() if name not in known)]
    return over


def both(default: PodOverlay | None, own: PodOverlay | None) -> PodOverlay | None:
    """The workflow's default overlay with a step's own laid over it."""
    if default is None or own is None:
        return own or default
    return msgspec.convert(merge(_plain(default), _plain(own)), PodOverlay)


def apply(manifest: dict[str, Any], overlay: PodOverlay | None) -> dict[str, Any]:
    """A Pod's manifest with the overlay laid over it."""
    if overlay is None:
        return manifest
    plain = _plain(overlay)
    for container in _sidecars(plain.get("spec", {})):
        container["securityContext"] = merge(FEW_RIGHTS, container.get("securityContext", {}))
    merged: dict[str, Any] = merge(manifest, plain)
    return merged


def _plain(overlay: PodOverlay) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(overlay))
    return plain


def _sidecars(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    containers = (*spec.get("containers", ()), *spec.get("initContainers", ()))
    return [container for container in containers if container["name"] != names.MAIN]


def problems(overlay: PodOverlay | JobPod | None, main: str | None = names.MAIN) -> Iterator[tuple[str, str]]:
    """Field below `pod` and what is wrong with it. `main` is the container that the step itself describes."""
    if overlay is None:
        return
    metadata, spec = overlay.metadata or PodLabels(), overlay.spec or PodFields()
    for kind, entries in (("labels", metadata.labels), ("annotations", metadata.annotations)):
        for name in entries or ():
            if names.is_own(name):
                yield f"metadata.{kind}[{name}]", "is adze's own"
    for volume in spec.volumes:
        if volume.name == names.VOLUME:
            yield f"spec.volumes[{volume.name}]", "is adze's own"
    for lists, containers in (("containers", spec.containers), ("initContainers", spec.init_containers)):
        for container in containers:
            place = f"spec.{lists}[{container.name}]"
            yield from ((f"{place}.{field}", why) for field, why in _container(lists, container, main))


def _container(lists: str, container: Container, main: str | None) -> Iterator[tuple[str, str]]:
    if container.name != main:
        if container.image is None:
            yield "image", "a container needs an image"
        if lists == "containers" and container.restart_policy:
            yield "restartPolicy", "is for initContainers only"
    elif lists == "initContainers":
        yield "name", f"{main} is the step's own container"
        return
    else:
        for field in sorted(STEP_FIELDS & msgspec.to_builtins(container).keys()):
            yield field, "is set on the step itself"
    for mount in container.volume_mounts if container.name == main or main is None else ():
        path = mount.mount_path.rstrip("/")
        if path == names.DIRECTORY or path.startswith(f"{names.DIRECTORY}/"):
            yield f"volumeMounts[{mount.mount_path}]", f"{names.DIRECTORY} is adze's own"


def forbidden(overlay: PodOverlay | JobPod | None, policy: Policy) -> Iterator[tuple[str, str]]:
    """Fields below the overlay that this installation doesn't allow, and why."""
    account = overlay and overlay.spec and overlay.spec.service_account_name
    if account and not {account, "*"} & set(policy.service_accounts):
        allowed = ", ".join(policy.service_accounts) or "none"
        yield "spec.serviceAccountName", f"{account!r} is not allowed here; allowed: {allowed}"
