"""The chart rendered by Helm, and what of it the tests look at."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "adze"
CRDS = sorted((ROOT / "crds").glob("*.yaml"))
DIGEST = "sha256:" + "0123456789abcdef" * 4

Rules = set[tuple[str, str, tuple[str, ...]]]

OPERATOR: Rules = {
    ("adze.dev", "workflows", ("get", "list", "watch")),
    ("adze.dev", "workflowruns", ("create", "delete", "get", "list", "patch", "watch")),
    ("adze.dev", "workflowevents", ("delete", "get", "list", "watch")),
    ("adze.dev", "workflows/status", ("patch",)),
    ("adze.dev", "workflowruns/status", ("patch",)),
    ("adze.dev", "workflowwebhooks", ("get", "list", "watch")),
    ("adze.dev", "workflowevents/status", ("patch",)),
    ("adze.dev", "workflowwebhooks/status", ("patch",)),
    ("", "pods", ("create", "delete", "get", "list", "patch", "watch")),
    ("", "configmaps", ("create", "delete", "get", "list")),
    ("batch", "jobs", ("create", "delete", "get", "list", "patch", "watch")),
    ("", "events", ("create",)),
    ("coordination.k8s.io", "leases", ("create", "delete", "get", "list", "patch", "update", "watch")),
}
GATEWAY: Rules = OPERATOR - {("adze.dev", "workflowevents", ("delete", "get", "list", "watch"))} | {
    ("adze.dev", "workflowevents", ("create", "delete", "get", "list", "watch"))
}
WEBHOOKS: Rules = GATEWAY | {("", "secrets", ("get",))}
LEASES: Rules = {("coordination.k8s.io", "leases", ("create", "get", "update"))}
RELEASE: Rules = {
    (group, resource, ("get", "list", "patch"))
    for group, resource in (("", "pods"), ("batch", "jobs"), ("adze.dev", "workflowruns"))
}
APPROVE: Rules = {("adze.dev", "workflowruns", ("approve", "get", "list", "patch", "watch"))}
RELEASE_DEPLOYMENT: Rules = {
    ("apps", "deployments", ("get", "patch")),
    ("apps", "deployments/scale", ("get", "patch")),
    ("", "pods", ("get", "list")),
}
TEST: Rules = {
    ("adze.dev", "workflowruns", ("create", "delete", "get")),
    ("", "pods", ("list",)),
    ("", "events", ("list",)),
}
VIEW: Rules = {
    ("adze.dev", "workflows", ("get", "list", "watch")),
    ("adze.dev", "workflowruns", ("get", "list", "watch")),
    ("adze.dev", "workflowevents", ("get", "list", "watch")),
    ("adze.dev", "workflowwebhooks", ("get", "list", "watch")),
    ("adze.dev", "workflows/status", ("get",)),
    ("adze.dev", "workflowruns/status", ("get",)),
    ("adze.dev", "workflowevents/status", ("get",)),
    ("adze.dev", "workflowwebhooks/status", ("get",)),
}
EDIT: Rules = {
    ("adze.dev", resource, ("create", "delete", "deletecollection", "patch", "update"))
    for resource in ("workflows", "workflowruns", "workflowevents", "workflowwebhooks")
}

# Sets of values that between them take every branch of the templates.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "namespaced": {"watch": {"namespaces": ["a", "b"]}},
    "everything": {
        "replicas": 3,
        "strategy": {"type": "Recreate"},
        "image": {"digest": DIGEST},
        "imagePullSecrets": [{"name": "pull"}],
        "serviceAccount": {"annotations": {"cloud/role": "adze"}},
        "podAnnotations": {"note": "yes"},
        "podLabels": {"team": "flow", "app.kubernetes.io/instance": "not-this"},
        "priorityClassName": "high",
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
        "extraEnv": [{"name": "EXTRA", "value": "1"}],
        "gateway": {
            "enabled": True,
            "service": {"type": "NodePort", "port": 8443, "annotations": {"a": "b"}},
            "ingress": {
                "enabled": True,
                "className": "nginx",
                "annotations": {"a": "b"},
                "host": "events.example",
                "tlsSecretName": "tls",
            },
            "webhooks": {"enabled": True, "secretNames": ["github"]},
        },
        "metrics": {"service": {"annotations": {"a": "b"}}, "serviceMonitor": {"enabled": True, "labels": {"x": "y"}}},
        "networkPolicy": {
            "enabled": True,
            "ingressFrom": [{"namespaceSelector": {}}],
            "gatewayFrom": [{"podSelector": {}}],
            "outputsFrom": [{"namespaceSelector": {}}],
        },
    },
    "least": {
        "crds": {"install": False},
        "rbac": {"create": False, "aggregate": False},
        "serviceAccount": {"create": False},
        "uninstall": {"releasePods": False},
        "admissionPolicies": {"enabled": False},
        "outputs": {"enabled": False},
        "metrics": {"service": {"enabled": False}},
    },
}


@functools.cache
def helm() -> str:
    """Helm from PATH, else the one that the test cluster brings."""
    found = shutil.which("helm")
    if found:
        return found
    answer = subprocess.run([sys.executable, "-m", "tests.cluster", "tools"], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return str(Path(answer.stdout.splitlines()[-1]) / "helm")


def run(*arguments: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    command = [helm(), *arguments, "--values", "-"]
    return subprocess.run(command, input=json.dumps(values or {}), capture_output=True, text=True)


@functools.cache
def _rendered(values: str, release: str, arguments: tuple[str, ...]) -> str:
    place = ["template", release, str(CHART), "--namespace", "adze-system", "--kube-version", "1.35.0"]
    answer = run(*place, *arguments, values=json.loads(values))
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def render(values: dict[str, Any] | None = None, *arguments: str, release: str = "adze") -> list[dict[str, Any]]:
    text = _rendered(json.dumps(values or {}), release, arguments)
    return [thing for thing in yaml.load_all(text, Loader=yaml.CSafeLoader) if thing]


def refusal(values: dict[str, Any]) -> str:
    answer = run("template", "adze", str(CHART), values=values)
    assert answer.returncode != 0, f"accepted: {values}"
    return answer.stderr


def of_kind(things: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [thing for thing in things if thing["kind"] in kinds]


def only(things: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (thing,) = of_kind(things, kind)
    return thing


def rules(role: dict[str, Any]) -> Rules:
    return {
        (group, resource, tuple(sorted(rule["verbs"])))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def roles(things: list[dict[str, Any]]) -> dict[tuple[str, str, str], Rules]:
    return {
        (role["kind"], role["metadata"].get("namespace", ""), role["metadata"]["name"]): rules(role)
        for role in of_kind(things, "Role", "ClusterRole")
    }


def pod_specs(things: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    specs = {}
    for thing in of_kind(things, "Deployment", "Job", "Pod"):
        spec = thing["spec"] if thing["kind"] == "Pod" else thing["spec"]["template"]["spec"]
        specs[thing["kind"]] = spec
    return specs


def environment(things: list[dict[str, Any]]) -> dict[str, Any]:
    (container,) = pod_specs(things)["Deployment"]["containers"]
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in container["env"]}
