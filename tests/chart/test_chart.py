"""What the chart renders, read as Kubernetes would read it. Needs Helm, no cluster."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "adze"
CRDS = sorted((ROOT / "crds").glob("*.yaml"))
DIGEST = "sha256:" + "0123456789abcdef" * 4

Rules = set[tuple[str, str, tuple[str, ...]]]

OPERATOR: Rules = {
    ("adze.dev", "workflows", ("get", "list", "watch")),
    ("adze.dev", "workflowruns", ("delete", "get", "list", "watch")),
    ("adze.dev", "workflows/status", ("patch",)),
    ("adze.dev", "workflowruns/status", ("patch",)),
    ("", "pods", ("create", "delete", "get", "list", "patch", "watch")),
    ("", "events", ("create",)),
}
LEASES: Rules = {("coordination.k8s.io", "leases", ("create", "get", "update"))}
RELEASE: Rules = {("", "pods", ("get", "list", "patch"))}
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
    ("adze.dev", "workflows/status", ("get",)),
    ("adze.dev", "workflowruns/status", ("get",)),
}
EDIT: Rules = {
    ("adze.dev", resource, ("create", "delete", "deletecollection", "patch", "update"))
    for resource in ("workflows", "workflowruns")
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
        "metrics": {"service": {"annotations": {"a": "b"}}, "serviceMonitor": {"enabled": True, "labels": {"x": "y"}}},
        "networkPolicy": {"enabled": True, "ingressFrom": [{"namespaceSelector": {}}]},
    },
    "least": {
        "crds": {"install": False},
        "rbac": {"create": False, "aggregate": False},
        "serviceAccount": {"create": False},
        "uninstall": {"releasePods": False},
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


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def variant(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return render(request.param, "--api-versions", "monitoring.coreos.com/v1")


# Rights


def test_rights_for_the_whole_cluster() -> None:
    assert roles(render()) == {
        ("ClusterRole", "", "adze"): OPERATOR,
        ("Role", "adze-system", "adze-leases"): LEASES,
        ("ClusterRole", "", "adze-view"): VIEW,
        ("ClusterRole", "", "adze-edit"): EDIT,
        ("ClusterRole", "", "adze-release"): RELEASE,
        ("Role", "adze-system", "adze-release-deployment"): RELEASE_DEPLOYMENT,
        ("Role", "adze-system", "adze-test"): TEST,
    }


def test_rights_in_named_namespaces() -> None:
    things = render(VARIANTS["namespaced"])
    assert roles(things) == {
        ("Role", "a", "adze"): OPERATOR,
        ("Role", "b", "adze"): OPERATOR,
        ("Role", "adze-system", "adze-leases"): LEASES,
        ("Role", "a", "adze-release"): RELEASE,
        ("Role", "b", "adze-release"): RELEASE,
        ("Role", "adze-system", "adze-release-deployment"): RELEASE_DEPLOYMENT,
        ("Role", "a", "adze-test"): TEST,
    }
    assert not of_kind(things, "ClusterRole", "ClusterRoleBinding")


def test_no_right_is_wider_than_it_looks(variant: list[dict[str, Any]]) -> None:
    for role in of_kind(variant, "Role", "ClusterRole"):
        for group, resource, verbs in rules(role):
            assert "*" not in (group, resource, *verbs)
            assert not resource.startswith("secrets")
        assert not any("nonResourceURLs" in rule for rule in role["rules"])


def test_the_uninstall_hook_touches_one_deployment() -> None:
    (role,) = (r for r in of_kind(render(), "Role") if r["metadata"]["name"] == "adze-release-deployment")
    assert {tuple(rule.get("resourceNames", ())) for rule in role["rules"] if rule["apiGroups"] == ["apps"]} == {
        ("adze",)
    }


def test_every_binding_joins_a_role_and_an_account_of_the_chart() -> None:
    for values in (VARIANTS["default"], VARIANTS["namespaced"]):
        things = render(values)
        known = set(roles(things))
        accounts = {account["metadata"]["name"] for account in of_kind(things, "ServiceAccount")}
        bindings = of_kind(things, "RoleBinding", "ClusterRoleBinding")
        bound = {
            (binding["roleRef"]["kind"], binding["metadata"].get("namespace", ""), binding["roleRef"]["name"])
            for binding in bindings
        }
        aggregated = {("ClusterRole", "", "adze-view"), ("ClusterRole", "", "adze-edit")}
        assert bound == known - aggregated
        for binding in bindings:
            (subject,) = binding["subjects"]
            assert subject["namespace"] == "adze-system"
            assert subject["name"] in accounts


def test_aggregation_reaches_the_built_in_roles() -> None:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    found = {}
    for role in of_kind(render(), "ClusterRole"):
        labels = role["metadata"]["labels"]
        found[role["metadata"]["name"]] = {label.removeprefix(prefix) for label in labels if prefix in label}
    assert found["adze-view"] == {"view", "edit", "admin"}
    assert found["adze-edit"] == {"edit", "admin"}
    assert found["adze"] == found["adze-release"] == set()


def test_without_rbac_nothing_is_granted() -> None:
    assert not roles(render(VARIANTS["least"]))


# Pods


def test_pods_satisfy_pod_security_restricted(variant: list[dict[str, Any]]) -> None:
    for spec in pod_specs(variant).values():
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 65532
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert container["resources"]["limits"].keys() == {"memory"}
        for volume in spec.get("volumes", []):
            assert volume["emptyDir"]["sizeLimit"]


def test_the_operator_is_configured_by_environment() -> None:
    found = environment(render())
    assert found == {
        "ADZE_NAMESPACES": "",
        "ADZE_WORKER_IMAGE": "localhost/adze/worker:1",
        "ADZE_LOG_LEVEL": "info",
        "ADZE_LOG_FORMAT": "json",
        "ADZE_PORT": "8080",
        "POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "POD_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
    }
    assert environment(render(VARIANTS["namespaced"]))["ADZE_NAMESPACES"] == "a,b"
    assert environment(render(VARIANTS["everything"]))["EXTRA"] == "1"


def test_probes_ask_the_port_that_the_operator_serves() -> None:
    (container,) = pod_specs(render())["Deployment"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "localhost/adze/operator:0.1.0"),
        ({"repository": "r/x", "tag": "v9"}, "r/x:v9"),
        ({"repository": "r/x", "tag": "v9", "digest": DIGEST}, f"r/x@{DIGEST}"),
    ],
)
def test_the_digest_wins(image: dict[str, str], expected: str) -> None:
    specs = pod_specs(render({"image": image}))
    assert specs.keys() == {"Deployment", "Job", "Pod"}
    assert {spec["containers"][0]["image"] for spec in specs.values()} == {expected}


def test_selectors_find_the_operator_and_nothing_else() -> None:
    things = render(VARIANTS["everything"], "--api-versions", "monitoring.coreos.com/v1")
    deployment = only(things, "Deployment")
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector == {"app.kubernetes.io/name": "adze", "app.kubernetes.io/instance": "adze"}
    assert only(things, "Service")["spec"]["selector"] == selector
    for kind in ("PodDisruptionBudget", "ServiceMonitor"):
        assert only(things, kind)["spec"]["selector"] == {"matchLabels": selector}
    assert only(things, "NetworkPolicy")["spec"]["podSelector"] == {"matchLabels": selector}
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()
    assert labels["team"] == "flow"
    for hook in (only(things, "Pod"), only(things, "Job")["spec"]["template"]):
        assert not selector.items() <= hook["metadata"]["labels"].items()


def test_placement() -> None:
    specs = pod_specs(render(VARIANTS["everything"]))
    for spec in specs.values():
        assert spec["imagePullSecrets"] == [{"name": "pull"}]
        assert spec["nodeSelector"] == {"disk": "fast"}
        assert spec["tolerations"] == VARIANTS["everything"]["tolerations"]
    operator = specs["Deployment"]
    assert operator["priorityClassName"] == "high"
    assert operator["affinity"] == VARIANTS["everything"]["affinity"]
    assert operator["topologySpreadConstraints"] == VARIANTS["everything"]["topologySpreadConstraints"]


# Objects that come and go with a value


def test_a_budget_only_for_more_than_one_replica() -> None:
    assert not of_kind(render(), "PodDisruptionBudget")
    assert only(render({"replicas": 2}), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_a_service_monitor_only_where_the_cluster_knows_it() -> None:
    values = {"metrics": {"serviceMonitor": {"enabled": True}}}
    assert not of_kind(render(values), "ServiceMonitor")
    assert not of_kind(render({}, "--api-versions", "monitoring.coreos.com/v1"), "ServiceMonitor")
    assert of_kind(render(values, "--api-versions", "monitoring.coreos.com/v1"), "ServiceMonitor")


def test_the_least_chart() -> None:
    things = render(VARIANTS["least"])
    assert [thing["kind"] for thing in things if "helm.sh/hook" not in thing["metadata"].get("annotations", {})] == [
        "Deployment"
    ]
    assert pod_specs(things)["Deployment"]["serviceAccountName"] == "default"


def test_every_object_says_whose_it_is(variant: list[dict[str, Any]]) -> None:
    for thing in variant:
        assert {
            "app.kubernetes.io/name",
            "app.kubernetes.io/instance",
            "app.kubernetes.io/version",
            "app.kubernetes.io/managed-by",
            "helm.sh/chart",
        } <= thing["metadata"]["labels"].keys()


def test_no_two_objects_share_a_name(variant: list[dict[str, Any]]) -> None:
    keys = [(t["kind"], t["metadata"].get("namespace", ""), t["metadata"]["name"]) for t in variant]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("release", ["a", "adze", "adze-2", "r" * 53])
def test_names_stay_within_the_limits(release: str) -> None:
    for thing in render(release=release):
        short = thing["kind"] in ("Job", "Pod", "Service", "Deployment")
        assert len(thing["metadata"]["name"]) <= (63 if short else 253)
        for value in thing["metadata"]["labels"].values():
            assert len(value) <= 63


# CRDs


def test_crd_copies_are_the_generated_ones() -> None:
    copies = sorted((CHART / "files" / "crds").glob("*.yaml"))
    assert [path.name for path in copies] == [path.name for path in CRDS]
    for copy, original in zip(copies, CRDS, strict=True):
        assert copy.read_text() == original.read_text(), f"{copy.name} is stale: make generate"


def test_crds_are_installed_and_kept() -> None:
    found = {crd["metadata"]["name"]: crd for crd in of_kind(render(), "CustomResourceDefinition")}
    originals = [yaml.load(path.read_text(), Loader=yaml.CSafeLoader) for path in CRDS]
    assert found.keys() == {original["metadata"]["name"] for original in originals}
    for original in originals:
        crd = found[original["metadata"]["name"]]
        assert crd["spec"] == original["spec"]
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


# Hooks


def test_the_uninstall_hook_releases_the_pods() -> None:
    things = render(VARIANTS["namespaced"])
    hooks = [thing for thing in things if thing["metadata"].get("annotations", {}).get("helm.sh/hook") == "pre-delete"]
    assert {thing["kind"] for thing in hooks} == {"ServiceAccount", "Role", "RoleBinding", "Job"}
    assert all("hook-succeeded" in t["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for t in hooks)
    (container,) = pod_specs(hooks)["Job"]["containers"]
    assert container["args"] == ["release", "--deployment", "adze", "--namespace", "adze-system"]
    assert {"name": "ADZE_NAMESPACES", "value": "a,b"} in container["env"]


def test_the_test_hook_runs_where_the_operator_looks() -> None:
    for values, expected in (({}, "adze-system"), (VARIANTS["namespaced"], "a")):
        (container,) = pod_specs(render(values))["Pod"]["containers"]
        assert container["env"] == [{"name": "ADZE_TEST_NAMESPACE", "value": expected}]
        script = container["args"][0]
        compile(script, "test.py", "exec")
        # Kubernetes would take it for one of the container's variables.
        assert "$(" not in script


# Values


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replica": 2}, ["replica"]),
        ({"image": {"tags": "x"}}, ["image", "tags"]),
        ({"replicas": "two"}, ["replicas", "integer"]),
        ({"replicas": -1}, ["replicas"]),
        ({"watch": {"namespaces": "a,b"}}, ["watch/namespaces", "array"]),
        ({"watch": {"namespaces": ["A_b"]}}, ["watch/namespaces/0"]),
        ({"image": {"digest": "latest"}}, ["image/digest"]),
        ({"log": {"level": "loud"}}, ["log/level", "debug"]),
        ({"crds": {"install": "yes"}}, ["crds/install", "boolean"]),
        ({"extraEnv": [{"value": "x"}]}, ["extraEnv/0", "name"]),
        ({"tolerations": [{"effects": "x"}]}, ["tolerations/0", "effects"]),
        ({"metrics": {"serviceMonitor": {"every": "1m"}}}, ["metrics/serviceMonitor", "every"]),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_the_schema_refuses_and_names_the_value(values: dict[str, Any], words: list[str]) -> None:
    message = refusal(values)
    assert all(word in message.replace(".", "/") for word in words), message


def objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, member in schema.get("properties", {}).items():
        yield from objects(member, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from objects(schema[keyword], f"{path}[]")


def test_the_schema_describes_every_value_and_leaves_nothing_open() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    # Kubernetes checks these itself, and a parent chart's values are not ours.
    passed_on = {
        ".global",
        ".extraEnv[].valueFrom",
        ".affinity.nodeAffinity",
        ".affinity.podAffinity",
        ".affinity.podAntiAffinity",
        ".topologySpreadConstraints[].labelSelector",
        ".networkPolicy.ingressFrom[].podSelector",
        ".networkPolicy.ingressFrom[].namespaceSelector",
        ".networkPolicy.ingressFrom[].ipBlock",
    }
    found = dict(objects(schema))
    assert all(member.get("description") for member in found.values())
    assert {path for path, member in found.items() if member["type"] == "object" and _is_open(member)} == passed_on


def _is_open(member: dict[str, Any]) -> bool:
    """Whether it takes anything: it neither lists its members nor says what each of them is."""
    rest = member.get("additionalProperties", True)
    return rest is not False and not isinstance(rest, dict)


def test_every_default_is_in_the_schema_and_every_value_has_a_default() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        optional = {"global", "initialDelaySeconds"}
        if not values and path == ".affinity":
            return
        assert schema["properties"].keys() - optional == values.keys(), path
        for name, value in values.items():
            if isinstance(value, dict) and "properties" in schema["properties"][name]:
                compare(schema["properties"][name], value, f"{path}.{name}")

    compare(schema, values, "")


def test_lint() -> None:
    for values in VARIANTS.values():
        answer = run("lint", "--strict", str(CHART), values=values)
        assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_chart_fits_the_distribution() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'version = "{chart["appVersion"]}"' in (ROOT / "pyproject.toml").read_text()
    assert f'image.version="{chart["appVersion"]}"' in (ROOT / "operator" / "Containerfile").read_text()
