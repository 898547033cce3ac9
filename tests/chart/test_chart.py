"""What the chart renders, read as Kubernetes would read it. Needs Helm, no cluster."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.chart.render import (
    APPROVE,
    CHART,
    CRDS,
    DIGEST,
    EDIT,
    GATEWAY,
    LEASES,
    OPERATOR,
    RELEASE,
    RELEASE_DEPLOYMENT,
    TEST,
    VARIANTS,
    VIEW,
    WEBHOOKS,
    environment,
    of_kind,
    only,
    pod_specs,
    refusal,
    render,
    roles,
    rules,
)


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
        ("ClusterRole", "", "adze-approve"): APPROVE,
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
    assert not of_kind(things, "ClusterRole")
    (binding,) = of_kind(things, "ClusterRoleBinding")
    assert binding["metadata"]["name"] == "adze-outputs"
    assert not of_kind(render({**VARIANTS["namespaced"], "outputs": {"enabled": False}}), "ClusterRoleBinding")


def test_no_right_is_wider_than_it_looks(variant: list[dict[str, Any]]) -> None:
    for role in of_kind(variant, "Role", "ClusterRole"):
        for group, resource, verbs in rules(role):
            assert "*" not in (group, resource, *verbs)
            assert not resource.startswith("secrets") or verbs == ("get",)
        assert not any("nonResourceURLs" in rule for rule in role["rules"])


def test_the_gateway_may_do_more_and_only_where_it_is_asked_for() -> None:
    for values, expected in (({}, OPERATOR), ({"enabled": True}, GATEWAY), ({"webhooks": {"enabled": True}}, OPERATOR)):
        assert roles(render({"gateway": values}))["ClusterRole", "", "adze"] == expected
    things = render({"gateway": {"enabled": True, "webhooks": {"enabled": True, "secretNames": ["github", "stripe"]}}})
    assert roles(things)["ClusterRole", "", "adze"] == WEBHOOKS
    (secrets,) = (
        rule for role in of_kind(things, "ClusterRole") for rule in role["rules"] if "secrets" in rule["resources"]
    )
    assert secrets["resourceNames"] == ["github", "stripe"]
    assert delegators(things) == {"adze-gateway", "adze-outputs"}
    assert delegators(render()) == {"adze-outputs"}


def delegators(things: list[dict[str, Any]]) -> set[str]:
    """The bindings by which the operator may ask about tokens."""
    bindings = of_kind(things, "ClusterRoleBinding")
    return {one["metadata"]["name"] for one in bindings if one["roleRef"]["name"] == "system:auth-delegator"}


def test_large_outputs_are_taken_unless_that_is_off() -> None:
    things = render({"networkPolicy": {"enabled": True}})
    (service,) = (s for s in of_kind(things, "Service") if s["metadata"]["name"] == "adze-outputs")
    assert service["spec"]["ports"] == [{"name": "outputs", "port": 80, "targetPort": "outputs"}]
    assert environment(things)["ADZE_OUTPUTS_URL"] == "http://adze-outputs.adze-system.svc/v1/outputs"
    ports = [port for rule in only(things, "NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]]
    assert {"port": "outputs"} in ports
    things = render({"networkPolicy": {"enabled": True}, "outputs": {"enabled": False}})
    assert not delegators(things)
    assert "adze-outputs" not in {s["metadata"]["name"] for s in of_kind(things, "Service")}
    assert not {"ADZE_OUTPUTS_URL", "ADZE_OUTPUTS_PORT"} & environment(things).keys()
    ports = [port for rule in only(things, "NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]]
    assert ports == [{"port": "http"}]


def test_the_gateway_is_served_and_routed_to() -> None:
    things = render(VARIANTS["everything"])
    found = environment(things)
    assert (found["ADZE_GATEWAY_PORT"], found["ADZE_GATEWAY_WEBHOOKS"]) == ("8090", "true")
    assert {"name": "gateway", "containerPort": 8090} in pod_specs(things)["Deployment"]["containers"][0]["ports"]
    ingress = only(things, "Ingress")["spec"]
    assert ingress["tls"] == [{"secretName": "tls", "hosts": ["events.example"]}]
    (rule,) = ingress["rules"]
    (path,) = rule["http"]["paths"]
    (service,) = (s for s in of_kind(things, "Service") if s["metadata"]["name"] == path["backend"]["service"]["name"])
    assert service["spec"]["ports"] == [{"name": "gateway", "port": 8443, "targetPort": "gateway"}]
    assert {"port": "gateway"} in [
        p for rule in only(things, "NetworkPolicy")["spec"]["ingress"] for p in rule["ports"]
    ]
    assert not of_kind(render(), "Ingress")
    assert "gateway.ingress.host is missing" in refusal({"gateway": {"enabled": True, "ingress": {"enabled": True}}})


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
        aggregated = {("ClusterRole", "", f"adze-{what}") for what in ("view", "edit", "approve")}
        assert bound == known - aggregated | {("ClusterRole", "", "system:auth-delegator")}
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
    assert found["adze-approve"] == {"admin"}, "who may create runs may not thereby approve them"
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
        "ADZE_SERVICE_ACCOUNTS": "",
        "ADZE_PARALLELISM": "0",
        "ADZE_NAMESPACE_PARALLELISM": "0",
        "ADZE_LOG_LEVEL": "info",
        "ADZE_LOG_FORMAT": "json",
        "ADZE_PORT": "8080",
        "ADZE_OUTPUTS_PORT": "8091",
        "ADZE_OUTPUTS_URL": "http://adze-outputs.adze-system.svc/v1/outputs",
        "ADZE_LEASE": "adze",
        "POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "POD_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
    }
    assert environment(render(VARIANTS["namespaced"]))["ADZE_NAMESPACES"] == "a,b"
    assert environment(render(VARIANTS["everything"]))["EXTRA"] == "1"


def test_probes_ask_the_port_that_the_operator_serves() -> None:
    (container,) = pod_specs(render())["Deployment"]["containers"]
    assert {"name": "http", "containerPort": 8080} in container["ports"]
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
    assert all(service["spec"]["selector"] == selector for service in of_kind(things, "Service"))
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


# Admission


def test_policies_vouch_for_approvals_and_keep_workflows_unless_they_are_off() -> None:
    things = render()
    policies = {policy["metadata"]["name"]: policy for policy in of_kind(things, "ValidatingAdmissionPolicy")}
    bindings = of_kind(things, "ValidatingAdmissionPolicyBinding")
    assert policies.keys() == {"adze-approvals", "adze-runs"}
    assert {binding["spec"]["policyName"] for binding in bindings} == policies.keys()
    assert all(binding["spec"]["validationActions"] == ["Deny"] for binding in bindings)
    assert all(policy["spec"]["failurePolicy"] == "Fail" for policy in policies.values())
    assert not of_kind(render({"admissionPolicies": {"enabled": False}}), "ValidatingAdmissionPolicy")


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
