"""The objects that a fresh cluster needs before the first Pod: the cluster's DNS service and CoreDNS's rights."""

from __future__ import annotations

from typing import Any

from .components import DNS_PORT
from .layout import DNS_SERVICE_IP, Layout

RBAC = "rbac.authorization.k8s.io"


def objects(layout: Layout) -> list[tuple[str, dict[str, Any]]]:
    """Pairs of the collection's path and the object to create in it.

    CoreDNS runs beside the other components and not in a Pod, so its Service has no selector.
    """
    system = "/namespaces/kube-system"
    return [
        (f"/apis/{RBAC}/v1/clusterroles", _role()),
        (f"/apis/{RBAC}/v1/clusterrolebindings", _binding()),
        (f"/api/v1{system}/services", _service()),
        (f"/apis/discovery.k8s.io/v1{system}/endpointslices", _endpoints(layout)),
    ]


def _role() -> dict[str, Any]:
    watch = ["list", "watch"]
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "system:coredns"},
        "rules": [
            {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": watch},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": watch},
        ],
    }


def _binding() -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "system:coredns"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "system:coredns"},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "system:coredns"}],
    }


def _service() -> dict[str, Any]:
    ports = [{"name": f"dns-{kind.lower()}", "protocol": kind, "port": DNS_PORT} for kind in ("UDP", "TCP")]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns"},
        "spec": {"clusterIP": DNS_SERVICE_IP, "ports": ports},
    }


def _endpoints(layout: Layout) -> dict[str, Any]:
    ports = [{"name": f"dns-{kind.lower()}", "protocol": kind, "port": DNS_PORT} for kind in ("UDP", "TCP")]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kube-dns-node", "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [layout.node_ip], "conditions": {"ready": True}}],
        "ports": ports,
    }
