"""A step's `pod` over its Pod: strategic merge, and what it must leave alone.

The fields of `model.pod` are the allow-list; here is what only their values tell. Merging follows Kubernetes: maps
are merged, lists with a merge key entry by entry, everything else is replaced (k8s.io/api core/v1, patchMergeKey).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from adze.core import names
from adze.core.model import PodOverlay, Step
from adze.core.model.pod import PodFields, PodLabels
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


def problems(overlay: PodOverlay | None) -> Iterator[tuple[str, str]]:
    """Field below `pod` and what is wrong with it."""
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
            yield from ((f"{place}.{field}", why) for field, why in _container(lists, container))


def _container(lists: str, container: Any) -> Iterator[tuple[str, str]]:
    plain = msgspec.to_builtins(container)
    if container.name != names.MAIN:
        if container.image is None:
            yield "image", f"a container beside {names.MAIN} needs an image"
        if lists == "containers" and container.restart_policy:
            yield "restartPolicy", "is for initContainers only"
    elif lists == "initContainers":
        yield "name", f"{names.MAIN} is the step's own container"
    else:
        for field in sorted(STEP_FIELDS & plain.keys()):
            yield field, "is set on the step itself"
        for one in container.volume_mounts:
            path = one.mount_path.rstrip("/")
            if path == names.DIRECTORY or path.startswith(f"{names.DIRECTORY}/"):
                yield f"volumeMounts[{one.mount_path}]", f"{names.DIRECTORY} is adze's own"


def ruling(steps: Sequence[Step], policy: Policy) -> str | None:
    """What this installation doesn't allow of these steps, with the field; None if it allows all."""
    found = ((step.name, forbidden(step.pod, policy)) for step in steps)
    return "; ".join(f"spec.steps[{name}].pod.{no[0]}: {no[1]}" for name, no in found if no) or None


def forbidden(overlay: PodOverlay | None, policy: Policy) -> tuple[str, str] | None:
    """Field below `pod` that this installation doesn't allow, and why; None if it allows all."""
    account = overlay and overlay.spec and overlay.spec.service_account_name
    if not account or {account, "*"} & set(policy.service_accounts):
        return None
    allowed = ", ".join(policy.service_accounts) or "none"
    return "spec.serviceAccountName", f"{account!r} is not allowed here; allowed: {allowed}"
