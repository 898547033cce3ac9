"""The node's certificate authority, its certificates, and the kubeconfig files that carry them."""

from __future__ import annotations

import base64

import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .layout import API_SERVICE_IP, CLUSTER_DOMAIN, Layout

# kubeconfig name -> (common name, group): the user that the API server sees.
CLIENTS: dict[str, tuple[str, str | None]] = {
    "admin": ("admin", "system:masters"),
    "controllers": ("system:kube-controller-manager", None),
    "scheduler": ("system:kube-scheduler", None),
    "proxy": ("system:kube-proxy", None),
    "coredns": ("system:coredns", None),
}


def write(layout: Layout) -> None:
    """Make a fresh authority with every certificate and kubeconfig of the node below ``layout.root``."""
    layout.pki.mkdir(parents=True)
    authority = trustme.CA(organization_name="adze test cluster")
    authority.cert_pem.write_to_path(str(layout.pki / "ca.crt"))
    authority.private_key_pem.write_to_path(str(layout.pki / "ca.key"))
    api_names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    api_names += [f"kubernetes.default.svc.{CLUSTER_DOMAIN}", "localhost"]
    api_names += [layout.node_ip, API_SERVICE_IP, "127.0.0.1"]
    _issue(layout, authority, "apiserver", "kube-apiserver", None, api_names)
    _issue(layout, authority, "kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
    _issue(layout, authority, "front-proxy", "front-proxy-client", None)
    node_user = f"system:node:{layout.node_name}"
    _issue(layout, authority, "kubelet", node_user, "system:nodes", [layout.node_ip, layout.node_name])
    for name, (user, group) in CLIENTS.items():
        _issue(layout, authority, name, user, group)
    for name in ("kubelet", *CLIENTS):
        _write_kubeconfig(layout, name)
    _write_token_keys(layout)


def _issue(
    layout: Layout, authority: trustme.CA, name: str, user: str, group: str | None, hosts: list[str] | None = None
) -> None:
    certificate = authority.issue_cert(*(hosts or [f"{name}.adze.test"]), common_name=user, organization_name=group)
    certificate.private_key_pem.write_to_path(str(layout.pki / f"{name}.key"))
    chain = b"".join(part.bytes() for part in certificate.cert_chain_pems)
    (layout.pki / f"{name}.crt").write_bytes(chain)


def _write_kubeconfig(layout: Layout, name: str) -> None:
    def data(file: str) -> str:
        return base64.b64encode((layout.pki / file).read_bytes()).decode()

    cluster = {"server": layout.api_url, "certificate-authority-data": data("ca.crt")}
    user = {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": layout.name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": layout.name, "context": {"cluster": layout.name, "user": name}}],
        "current-context": layout.name,
    }
    layout.kubeconfig(name).touch(mode=0o600)
    layout.kubeconfig(name).write_text(yaml.safe_dump(config))


def _write_token_keys(layout: Layout) -> None:
    """The key pair that signs service account tokens; elliptic, since an RSA key takes long to find."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (layout.pki / "tokens.key").write_bytes(private)
    (layout.pki / "tokens.pub").write_bytes(public)
