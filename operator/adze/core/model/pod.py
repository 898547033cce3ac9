"""What a step may add to its Pod: an allow-list, as these fields are all that there are.

It asks for no more than the Pod Security profile `baseline` lets a Pod have (kubernetes.io/docs/concepts/security/
pod-security-standards), and mounts only the kinds of volume that `restricted` knows.
"""

from enum import StrEnum
from typing import Annotated, Any

from adze.core.model.base import FREE, NAMED, Image, PullPolicy, Record, doc

Free = dict[str, Any]
Key = Annotated[str, doc("Name.", pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
Word = Annotated[str, doc("A name.", min_length=1, max_length=253)]
Path = Annotated[str, doc("A path.", min_length=1, max_length=1024)]
Words = dict[str, Annotated[str, doc("A text.", max_length=65536)]]
Text = Annotated[str, doc("Taken as it is, without ${…}.", max_length=32768)]


class Capability(StrEnum):
    """Capabilities that the profile `baseline` lets a container have."""

    AUDIT_WRITE = "AUDIT_WRITE"
    CHOWN = "CHOWN"
    DAC_OVERRIDE = "DAC_OVERRIDE"
    FOWNER = "FOWNER"
    FSETID = "FSETID"
    KILL = "KILL"
    MKNOD = "MKNOD"
    NET_BIND_SERVICE = "NET_BIND_SERVICE"
    SETFCAP = "SETFCAP"
    SETGID = "SETGID"
    SETPCAP = "SETPCAP"
    SETUID = "SETUID"
    SYS_CHROOT = "SYS_CHROOT"


class Capabilities(Record, frozen=True, kw_only=True):
    """Capabilities beyond none; all others stay dropped."""

    add: Annotated[tuple[Capability, ...], doc("Those to have.", max_length=13)] = ()


class ProfileType(StrEnum):
    """Where a seccomp or AppArmor profile comes from; Unconfined is none of it."""

    RUNTIME_DEFAULT = "RuntimeDefault"
    LOCALHOST = "Localhost"


class Profile(Record, frozen=True, kw_only=True):
    """A seccomp or AppArmor profile."""

    type: Annotated[ProfileType, doc("RuntimeDefault or Localhost.")]
    localhost_profile: Annotated[str, doc("Its name on the node.", max_length=1024)] | None = None


class Identity(Record, frozen=True, kw_only=True):
    """Users and profiles of a Pod's or a container's processes."""

    run_as_user: Annotated[int, doc("User id.", ge=0)] | None = None
    run_as_group: Annotated[int, doc("Group id.", ge=0)] | None = None
    run_as_non_root: Annotated[bool, doc("Refuse to run as root; `restricted` namespaces want it.")] | None = None
    seccomp_profile: Annotated[Profile, doc("Default: RuntimeDefault.")] | None = None
    app_armor_profile: Annotated[Profile, doc("As in a Pod.")] | None = None


class SecurityContext(Identity, frozen=True, kw_only=True):
    """Security context of a container."""

    allow_privilege_escalation: Annotated[bool, doc("Default: false.")] | None = None
    read_only_root_filesystem: Annotated[bool, doc("As in a Pod.")] | None = None
    capabilities: Annotated[Capabilities, doc("Default: none.")] | None = None


class PodSecurityContext(Identity, frozen=True, kw_only=True):
    """Security context of the Pod."""

    fs_group: Annotated[int, doc("Group of its volumes.", ge=0)] | None = None
    fs_group_change_policy: Annotated[str, doc("Always or OnRootMismatch.", max_length=16)] | None = None
    supplemental_groups: Annotated[tuple[int, ...], doc("Further groups.", max_length=32)] | None = None


class VolumeMount(Record, frozen=True, kw_only=True):
    """A volume in a container. Merged by mountPath."""

    name: Annotated[Word, doc("Of the volume.")]
    mount_path: Annotated[Path, doc("Where; not /adze.")]
    sub_path: Annotated[str, doc("As in a Pod.", max_length=1024)] | None = None
    sub_path_expr: Annotated[str, doc("As in a Pod.", max_length=1024)] | None = None
    read_only: Annotated[bool, doc("As in a Pod.")] | None = None


class Port(Record, frozen=True, kw_only=True):
    """A port that a container listens on; ports of the node can't be had. Merged by containerPort."""

    container_port: Annotated[int, doc("Its number.", ge=1, le=65535)]
    name: Annotated[str, doc("Its name.", max_length=15)] | None = None
    protocol: Annotated[str, doc("TCP, UDP or SCTP.", max_length=4)] | None = None


class Container(Record, frozen=True, kw_only=True):
    """A container: `main` is the step's own, any other a sidecar. Merged by name."""

    name: Annotated[Key, doc("`main`, or a sidecar's.")]
    image: Annotated[Image, doc("Of a sidecar.")] | None = None
    image_pull_policy: Annotated[PullPolicy, doc("Of a sidecar.")] | None = None
    command: Annotated[tuple[Text, ...], doc("Of a sidecar.", max_length=64)] | None = None
    args: Annotated[tuple[Text, ...], doc("Of a sidecar.", max_length=256)] | None = None
    env: (
        Annotated[
            tuple[Annotated[Free, doc("As in a Pod.", **FREE)], ...], doc("Of a sidecar; no ${…}.", max_length=128)
        ]
        | None
    ) = None
    env_from: (
        Annotated[tuple[Annotated[Free, doc("As in a Pod.", **FREE)], ...], doc("Of a sidecar.", max_length=64)] | None
    ) = None
    resources: Annotated[Free, doc("Of a sidecar.", **FREE)] | None = None
    restart_policy: (
        Annotated[str, doc("Always makes an init container a sidecar.", pattern="^Always$", max_length=6)] | None
    ) = None
    startup_probe: Annotated[Free, doc("As in a Pod.", **FREE)] | None = None
    readiness_probe: Annotated[Free, doc("As in a Pod.", **FREE)] | None = None
    liveness_probe: Annotated[Free, doc("As in a Pod.", **FREE)] | None = None
    lifecycle: Annotated[Free, doc("As in a Pod.", **FREE)] | None = None
    working_dir: Annotated[Path, doc("As in a Pod.")] | None = None
    volume_mounts: Annotated[tuple[VolumeMount, ...], doc("Volumes in the container.", max_length=64)] = ()
    ports: Annotated[tuple[Port, ...], doc("Ports that it listens on.", max_length=32)] = ()
    security_context: Annotated[SecurityContext, doc("Its security context.")] | None = None


class Volume(Record, frozen=True, kw_only=True):
    """A volume of one of the kinds that `restricted` knows: no hostPath. Merged by name."""

    name: Annotated[Key, doc("Not adze.")]
    config_map: Annotated[Free, doc("As in a Pod.", **FREE)] | None = None
    csi: Annotated[Free, doc("As in a Pod.", **FREE)] | None = None
    downward_api: Annotated[Free, doc("As in a Pod.", **FREE)] | None = None
    empty_dir: Annotated[Free, doc("As in a Pod.", **FREE)] | None = None
    ephemeral: Annotated[Free, doc("As in a Pod.", **FREE)] | None = None
    persistent_volume_claim: Annotated[Free, doc("As in a Pod.", **FREE)] | None = None
    projected: Annotated[Free, doc("As in a Pod.", **FREE)] | None = None
    secret: Annotated[Free, doc("As in a Pod.", **FREE)] | None = None


class Reference(Record, frozen=True, kw_only=True):
    """An object by name."""

    name: Annotated[Word, doc("Its name.")]


class HostAlias(Record, frozen=True, kw_only=True):
    """An address in /etc/hosts. Merged by ip."""

    ip: Annotated[str, doc("The address.", max_length=45)]
    hostnames: Annotated[tuple[Word, ...], doc("Its names.", max_length=32)] = ()


class PodFields(Record, frozen=True, kw_only=True):
    """The fields of a Pod's spec that a step may set."""

    containers: Annotated[tuple[Container, ...], doc("`main` and sidecars.", **NAMED, max_length=8)] = ()
    init_containers: Annotated[
        tuple[Container, ...], doc("Containers that run before `main`.", **NAMED, max_length=8)
    ] = ()
    volumes: Annotated[tuple[Volume, ...], doc("Volumes.", **NAMED, max_length=32)] = ()
    security_context: Annotated[PodSecurityContext, doc("Security context of the Pod.")] | None = None
    service_account_name: Annotated[Word, doc("Only one that the installation allows.")] | None = None
    automount_service_account_token: Annotated[bool, doc("Default: false.")] | None = None
    image_pull_secrets: Annotated[tuple[Reference, ...], doc("As in a Pod.", max_length=16)] = ()
    node_selector: Annotated[Words, doc("As in a Pod.", max_length=64)] | None = None
    affinity: Annotated[Free, doc("As in a Pod.", **FREE)] | None = None
    tolerations: (
        Annotated[tuple[Annotated[Free, doc("As in a Pod.", **FREE)], ...], doc("As in a Pod.", max_length=32)] | None
    ) = None
    topology_spread_constraints: (
        Annotated[tuple[Annotated[Free, doc("As in a Pod.", **FREE)], ...], doc("As in a Pod.", max_length=16)] | None
    ) = None
    priority_class_name: Annotated[Word, doc("As in a Pod.")] | None = None
    runtime_class_name: Annotated[Word, doc("As in a Pod.")] | None = None
    scheduler_name: Annotated[Word, doc("As in a Pod.")] | None = None
    termination_grace_period_seconds: Annotated[int, doc("As in a Pod.", ge=1, le=86400)] | None = None
    host_aliases: Annotated[tuple[HostAlias, ...], doc("As in a Pod.", max_length=32)] = ()
    dns_policy: Annotated[str, doc("As in a Pod.", pattern="^(Default|ClusterFirst|None)$", max_length=12)] | None = (
        None
    )
    dns_config: Annotated[Free, doc("As in a Pod.", **FREE)] | None = None


class PodLabels(Record, frozen=True, kw_only=True):
    """What a step may write on its Pod; nothing under adze.dev/."""

    labels: Annotated[Words, doc("Further labels.", max_length=64)] | None = None
    annotations: Annotated[Words, doc("Further annotations.", max_length=64)] | None = None


class PodOverlay(Record, frozen=True, kw_only=True):
    """Laid over the Pod of each attempt by strategic merge. Taken as it is: no ${…}."""

    metadata: Annotated[PodLabels, doc("Labels and annotations.")] | None = None
    spec: Annotated[PodFields, doc("Fields of the Pod's spec; those that aren't here can't be set.")] | None = None


class JobPodFields(PodFields, frozen=True, kw_only=True):
    """The fields of the spec of a Job's Pods: those that a step may set, and when containers are restarted."""

    restart_policy: (
        Annotated[str, doc("Never (default) or OnFailure.", pattern="^(Never|OnFailure)$", max_length=9)] | None
    ) = None


class JobPod(Record, frozen=True, kw_only=True):
    """What the Pods of a Job are made of."""

    metadata: Annotated[PodLabels, doc("Labels and annotations.")] | None = None
    spec: Annotated[JobPodFields, doc("Fields of the Pods' spec; ${…} in command, args and env.")]


class JobFields(Record, frozen=True, kw_only=True):
    """The fields of a Job's spec that a step may set."""

    parallelism: Annotated[int, doc("As in a Job.", ge=0, le=100000)] | None = None
    completions: Annotated[int, doc("As in a Job.", ge=0, le=100000)] | None = None
    completion_mode: (
        Annotated[str, doc("NonIndexed or Indexed.", pattern="^(NonIndexed|Indexed)$", max_length=10)] | None
    ) = None
    backoff_limit: Annotated[int, doc("As in a Job: Pods that may fail within the attempt.", ge=0)] | None = None
    backoff_limit_per_index: Annotated[int, doc("As in a Job.", ge=0)] | None = None
    max_failed_indexes: Annotated[int, doc("As in a Job.", ge=0)] | None = None
    pod_failure_policy: Annotated[Free, doc("As in a Job.", **FREE)] | None = None
    success_policy: Annotated[Free, doc("As in a Job.", **FREE)] | None = None
    pod_replacement_policy: Annotated[str, doc("As in a Job.", max_length=32)] | None = None
    template: Annotated[
        Free, doc("Its Pods: metadata, and in spec the fields of a step's pod.spec; checked with the workflow.", **FREE)
    ]


class JobTemplate(Record, frozen=True, kw_only=True):
    """A batch/v1 Job: one attempt of the step, however many Pods it takes."""

    metadata: Annotated[PodLabels, doc("Labels and annotations, such as Kueue's queue.")] | None = None
    spec: Annotated[JobFields, doc("Fields of the Job's spec; those that aren't here can't be set.")]
