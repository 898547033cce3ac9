"""The command line and the configuration files of each component of the node."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from .layout import API_PORT, CLUSTER_DOMAIN, DNS_SERVICE_IP, POD_CIDR, SERVICE_CIDR, Layout

PAUSE_IMAGE = "localhost/adze/pause:1"
AUDIT_POLICY = Path(__file__).parent / "audit-policy.yaml"
CNI_PLUGINS = "/usr/lib/cni"
ETCD_URL = "http://127.0.0.1:2379"
PROXY_HEALTH_PORT = 10256
DNS_PORT = 53

# What can start with nothing else there, and what needs the API server, in the order of starting.
FIRST = ("etcd", "containerd", "kube-apiserver")
THEN = ("kube-controller-manager", "kube-scheduler", "kubelet")
# kube-proxy waits up to 30 s in large steps for the Node object, so it starts once that is there.
LAST = ("kube-proxy", "coredns")
NAMES = FIRST + THEN + LAST


def commands(layout: Layout, binary: Path) -> dict[str, list[str]]:
    """Each component's command line, by its name."""
    return {
        "etcd": _etcd(layout, binary),
        "containerd": ["containerd", "--config", str(layout.conf / "containerd.toml")],
        "kube-apiserver": _apiserver(layout, binary),
        "kube-controller-manager": _controllers(layout, binary),
        "kube-scheduler": [str(binary), "kube-scheduler", f"--config={layout.conf}/scheduler.yaml"],
        "kubelet": [
            str(binary),
            "kubelet",
            f"--kubeconfig={layout.kubeconfig('kubelet')}",
            f"--config={layout.conf}/kubelet.yaml",
            f"--hostname-override={layout.node_name}",
            f"--node-ip={layout.node_ip}",
        ],
        "kube-proxy": [str(binary), "kube-proxy", f"--config={layout.conf}/proxy.yaml"],
        "coredns": [str(binary), "coredns", "-conf", str(layout.conf / "Corefile"), "-dns.port", str(DNS_PORT)],
    }


def write_configs(layout: Layout) -> None:
    """Write every configuration file that the command lines name."""
    layout.conf.mkdir()
    (layout.conf / "cni").mkdir()
    files: dict[str, Callable[[Layout], Any]] = {
        "kubelet.yaml": _kubelet_config,
        "proxy.yaml": _proxy_config,
        "scheduler.yaml": _scheduler_config,
    }
    for name, make in files.items():
        (layout.conf / name).write_text(yaml.safe_dump(make(layout)))
    (layout.conf / "cni" / "10-adze.conflist").write_text(json.dumps(_cni_config()))
    shutil.copy(AUDIT_POLICY, layout.conf / "audit-policy.yaml")
    (layout.conf / "containerd.toml").write_text(_containerd_config(layout))
    (layout.conf / "Corefile").write_text(_corefile(layout))
    # Pods that take the node's resolver get none: nothing outside the cluster can be reached.
    (layout.conf / "resolv.conf").write_text("")


def _etcd(layout: Layout, binary: Path) -> list[str]:
    peer = "http://127.0.0.1:2380"
    return [
        str(binary),
        "etcd",
        f"--data-dir={layout.root}/etcd",
        f"--listen-client-urls={ETCD_URL}",
        f"--advertise-client-urls={ETCD_URL}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
        # Survives the death of any process; only a crash of the machine itself may lose writes.
        "--unsafe-no-fsync",
    ]


def _apiserver(layout: Layout, binary: Path) -> list[str]:
    pki = layout.pki
    return [
        str(binary),
        "kube-apiserver",
        f"--etcd-servers={ETCD_URL}",
        f"--secure-port={API_PORT}",
        f"--advertise-address={layout.node_ip}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--service-account-key-file={pki}/tokens.pub",
        f"--service-account-signing-key-file={pki}/tokens.key",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--kubelet-client-certificate={pki}/kubelet-client.crt",
        f"--kubelet-client-key={pki}/kubelet-client.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki}/ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki}/front-proxy.crt",
        f"--proxy-client-key-file={pki}/front-proxy.key",
        f"--cert-dir={layout.root}/certs",
        f"--audit-policy-file={layout.conf}/audit-policy.yaml",
        f"--audit-log-path={layout.audit_log}",
        # A batch of its own thread, so that writing the log does not hold up requests.
        "--audit-log-mode=batch",
        "--audit-log-batch-max-wait=200ms",
        # Readers follow the file by offset, so it must not be rotated (megabytes).
        "--audit-log-maxsize=4096",
    ]


def _controllers(layout: Layout, binary: Path) -> list[str]:
    pki = layout.pki
    return [
        str(binary),
        "kube-controller-manager",
        f"--kubeconfig={layout.kubeconfig('controllers')}",
        # One instance: an election would only delay its restart by the length of a lease.
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/tokens.key",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        f"--cluster-cidr={POD_CIDR}",
        f"--cert-dir={layout.root}/certs-controllers",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]


def _kubelet_config(layout: Layout) -> dict[str, Any]:
    pki = layout.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "tlsCertFile": f"{pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{pki}/kubelet.key",
        "clusterDomain": CLUSTER_DOMAIN,
        "clusterDNS": [DNS_SERVICE_IP],
        "resolvConf": f"{layout.conf}/resolv.conf",
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        # The machine may forbid the usual negative scores.
        "oomScoreAdj": 0,
        "enableControllerAttachDetach": False,
        "maxPods": 500,
        "serializeImagePulls": False,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "eventRecordQPS": 0,
        # A full disk of the host is no reason to evict test Pods or to drop images that no registry can give again.
        "evictionHard": {"memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
    }


def _proxy_config(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": POD_CIDR,
        "hostnameOverride": layout.node_name,
        "clientConnection": {"kubeconfig": str(layout.kubeconfig("proxy"))},
        # The connection table's size belongs to the host and cannot be set from a network namespace.
        "conntrack": {"maxPerCore": 0},
        "healthzBindAddress": f"0.0.0.0:{PROXY_HEALTH_PORT}",
        "metricsBindAddress": "127.0.0.1:10249",
    }


def _scheduler_config(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {"kubeconfig": str(layout.kubeconfig("scheduler")), "qps": 500, "burst": 1000},
    }


def _cni_config() -> dict[str, Any]:
    """Each Pod on its own link (ptp): replies always pass the node, so that service addresses are undone there."""
    addresses = {"type": "host-local", "ranges": [[{"subnet": POD_CIDR}]], "routes": [{"dst": "0.0.0.0/0"}]}
    return {
        "cniVersion": "1.0.0",
        "name": "adze",
        "plugins": [
            {"type": "ptp", "ipMasq": True, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _containerd_config(layout: Layout) -> str:
    # restrict_oom_score_adj: where negative scores are forbidden, runc dies while it sets one.
    return f"""version = 2
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{layout.containerd_socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{layout.conf}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def _corefile(layout: Layout) -> str:
    # Names of other zones are refused at once: nothing outside the cluster is asked.
    return f"""{CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
    errors
    cache 5
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {layout.kubeconfig("coredns")}
        ttl 5
    }}
}}
"""
