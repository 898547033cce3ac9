"""What a step lays over its Pod, and what it must leave alone."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adze.core import crd, kinds, manifest, overlay, planner
from adze.core import revision as revisions
from adze.core.calls import WriteStatus
from adze.core.model import Attempt, Step, StepStatus
from adze.core.observed import Observed
from adze.core.policy import Policy
from adze.core.values import Values
from tests.builders import NOW, POLICY, Drive, bare_step, run, step, workflow
from tests.core.dialogue import reconcile
from tests.core.test_revision_problems import problems

NAMED = st.lists(
    st.builds(lambda name, x: {"name": name, "x": x}, st.sampled_from("pqr"), st.integers()),
    unique_by=lambda e: e["name"],
)
JSON = st.recursive(
    st.none() | st.integers() | st.lists(st.integers(), max_size=3),
    lambda inner: st.fixed_dictionaries({}, optional={"a": inner, "b": inner, "env": NAMED}),
    max_leaves=8,
)


def pod_of(one: Step, policy: Policy = POLICY, **defaults: Any) -> dict[str, Any]:
    spec = workflow(one, **({"defaults": defaults} if defaults else {}))
    owner = run(spec)
    values = Values(owner, {}, {"a": StepStatus(name="a")})
    node = revisions.compile_workflow(spec).nodes["a"]
    return manifest.build(owner, node, Attempt(number=1, pod="p"), values, policy)


def laid(pod: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return pod_of(step("a", pod={"spec": pod}, **fields))["spec"]


def test_maps_are_merged_and_lists_by_their_key() -> None:
    base = {"x": {"a": 1, "b": 2}, "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w"}], "args": ["1", "2"]}
    over = {"x": {"b": 3}, "volumes": [{"name": "u"}, {"name": "v", "emptyDir": {"medium": "Memory"}}], "args": ["3"]}
    assert overlay.merge(base, over) == {
        "x": {"a": 1, "b": 3},
        "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}, {"name": "w"}, {"name": "u"}],
        "args": ["3"],
    }


@given(st.dictionaries(st.sampled_from("abc"), JSON), st.dictionaries(st.sampled_from("abc"), JSON))
def test_merging_keeps_what_the_overlay_says_and_what_it_doesn_t(base: dict[str, Any], over: dict[str, Any]) -> None:
    merged = overlay.merge(base, over)
    assert set(merged) == set(base) | set(over)
    assert overlay.merge(base, {}) == base
    assert overlay.merge(merged, over) == merged, "a second time changes nothing"
    assert all(merged[name] == value for name, value in base.items() if name not in over)


def test_volumes_and_mounts_come_beside_adze_s_own() -> None:
    main = {"name": "main", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    spec = laid({"containers": [main], "volumes": [{"name": "data", "emptyDir": {}}]})
    assert [volume["name"] for volume in spec["volumes"]] == ["adze", "data"]
    (container,) = spec["containers"]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/adze", "/data"]
    assert container["image"] == step("a").image


def test_a_sidecar_has_as_few_rights_as_the_step() -> None:
    own = {"securityContext": {"runAsUser": 7, "capabilities": {"add": ["CHOWN"]}}}
    spec = laid({"containers": [{"name": "proxy", "image": "envoy", **own}]})
    main, proxy = spec["containers"]
    assert (main["name"], proxy["name"]) == ("main", "proxy")
    assert proxy["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]},
        "runAsUser": 7,
    }


def test_a_user_of_the_pod_keeps_its_seccomp_profile() -> None:
    spec = laid({"securityContext": {"runAsNonRoot": True, "runAsUser": 1000}})
    assert spec["securityContext"] == {
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsNonRoot": True,
        "runAsUser": 1000,
    }


def test_a_step_s_overlay_lies_over_the_default_one() -> None:
    default = {"metadata": {"labels": {"team": "a"}}, "spec": {"nodeSelector": {"disk": "ssd", "zone": "1"}}}
    own = {"metadata": {"labels": {"tier": "b"}}, "spec": {"nodeSelector": {"zone": "2"}}}
    pod = pod_of(step("a", pod=own), pod=default)
    assert pod["spec"]["nodeSelector"] == {"disk": "ssd", "zone": "2"}
    assert pod["metadata"]["labels"].items() >= {"team": "a", "tier": "b", "adze.dev/step": "a"}.items()
    assert pod_of(bare_step("a"), image="i", pod=default)["spec"]["nodeSelector"] == {"disk": "ssd", "zone": "1"}


@pytest.mark.parametrize(
    ("pod", "wanted"),
    [
        ({"metadata": {"labels": {"adze.dev/run": "x"}}}, "pod.metadata.labels[adze.dev/run]: is adze's own"),
        ({"metadata": {"labels": {"app.kubernetes.io/managed-by": "x"}}}, "pod.metadata.labels[app.kubernetes.io/man"),
        ({"metadata": {"annotations": {"adze.dev/context": "x"}}}, "pod.metadata.annotations[adze.dev/context]: is"),
        ({"spec": {"volumes": [{"name": "adze"}]}}, "pod.spec.volumes[adze]: is adze's own"),
        (
            {"spec": {"containers": [{"name": "main", "image": "x"}]}},
            "pod.spec.containers[main].image: is set on the step itself",
        ),
        (
            {"spec": {"containers": [{"name": "main", "volumeMounts": [{"name": "v", "mountPath": "/adze/"}]}]}},
            "pod.spec.containers[main].volumeMounts[/adze/]: /adze is adze's own",
        ),
        ({"spec": {"containers": [{"name": "side"}]}}, "pod.spec.containers[side].image: a container needs an image"),
        (
            {"spec": {"containers": [{"name": "side", "image": "i", "restartPolicy": "Always"}]}},
            "pod.spec.containers[side].restartPolicy: is for initContainers only",
        ),
        ({"spec": {"initContainers": [{"name": "main"}]}}, "pod.spec.initContainers[main].name: main is the step's"),
    ],
)
def test_what_is_adze_s_is_refused_with_its_field(pod: dict[str, Any], wanted: str) -> None:
    (found,) = problems(workflow(step("a", pod=pod)))
    assert found.startswith(f"spec.steps[a].{wanted}")


FORBIDDEN = [
    *({"spec": {field: "x"}} for field in ("hostNetwork", "hostPID", "hostIPC", "hostUsers", "nodeName", "hostname")),
    *({"spec": {field: "x"}} for field in ("restartPolicy", "schedulingGates", "subdomain", "activeDeadlineSeconds")),
    {"metadata": {"finalizers": ["x"]}},
    {"metadata": {"ownerReferences": []}},
    {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}},
    {"spec": {"securityContext": {"sysctls": []}}},
    *(
        {"spec": {kind: [{"name": "x", **fields}]}}
        for kind in ("containers", "initContainers")
        for fields in (
            {"securityContext": {"privileged": True}},
            {"securityContext": {"procMount": "Unmasked"}},
            {"securityContext": {"windowsOptions": {"hostProcess": True}}},
            {"securityContext": {"capabilities": {"drop": []}}},
            {"ports": [{"containerPort": 80, "hostPort": 80}]},
            {"volumeDevices": []},
            {"terminationMessagePath": "/x"},
        )
    ),
]


@pytest.mark.parametrize("pod", FORBIDDEN, ids=str)
def test_what_is_not_on_the_list_is_not_even_read(pod: dict[str, Any]) -> None:
    """The schema refuses it, and nothing that gets past a schema reaches a Pod."""
    definition = crd.definitions()["workflows"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema = definition["properties"]["spec"]["properties"]["defaults"]["properties"]["pod"]
    unknown = list(_unknown(schema, pod))
    assert len(unknown) == 1
    assert unknown[0] not in msgspec.json.encode(step("a", pod=pod).pod).decode()


def _unknown(schema: Any, value: Any) -> Iterator[str]:
    """Names of fields that a structural schema doesn't know."""
    if isinstance(value, list):
        for member in value:
            yield from _unknown(schema["items"], member)
    elif isinstance(value, dict) and "x-kubernetes-preserve-unknown-fields" not in schema:
        for name, member in value.items():
            if name in schema["properties"]:
                yield from _unknown(schema["properties"][name], member)
            else:
                yield name


@pytest.mark.parametrize(
    ("context", "field"),
    [
        ({"capabilities": {"add": ["SYS_ADMIN"]}}, "capabilities.add"),
        ({"seccompProfile": {"type": "Unconfined"}}, "seccompProfile.type"),
        ({"appArmorProfile": {"type": "Unconfined"}}, "appArmorProfile.type"),
    ],
)
def test_no_more_rights_than_baseline_gives(context: dict[str, Any], field: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=field.replace(".", r"\.")):
        step("a", pod={"spec": {"containers": [{"name": "main", "securityContext": context}]}})


@pytest.mark.parametrize(("allowed", "works"), [((), False), (("other",), False), (("builder",), True), (("*",), True)])
def test_a_service_account_only_as_the_installation_allows(allowed: tuple[str, ...], works: bool) -> None:
    one = step("a", pod={"spec": {"serviceAccountName": "builder"}})
    policy = Policy(service_accounts=allowed)
    if works:
        assert pod_of(one, policy)["spec"]["serviceAccountName"] == "builder"
        assert kinds.forbidden(one, policy) == []
        return
    with pytest.raises(kinds.Impossible, match=r"pod\.spec\.serviceAccountName: 'builder' is not allowed here"):
        pod_of(one, policy)
    assert [field for field, _ in kinds.forbidden(one, policy)] == ["pod.spec.serviceAccountName"]


def test_a_step_with_a_forbidden_account_fails_before_it_has_a_pod() -> None:
    drive = Drive(workflow(step("a", pod={"spec": {"serviceAccountName": "admin"}}, retries=3))).until_quiet()
    assert (drive.step("a").phase, drive.step("a").reason) == ("Failed", "Forbidden")
    assert drive.created == []


def test_rules_that_change_after_the_claim_end_the_attempt() -> None:
    new = run(workflow(step("a", pod={"spec": {"serviceAccountName": "builder"}}, retries=3)))
    begun = msgspec.structs.replace(new, status=planner.begin(new, None, NOW).status)
    frozen = revisions.of_run(begun.status.revision or "", begun.status.workflow_spec or {})
    plan = planner.plan(begun, frozen, Observed(), NOW, Policy(service_accounts=("builder",)))
    assert plan.status is not None
    talk = reconcile(msgspec.structs.replace(begun, status=plan.status))
    assert talk.kinds == ["ListPods"], "a Pod may be there that was made under the old rules"
    talk.answer({})
    (status,) = talk.call(WriteStatus).status.steps
    assert (status.phase, status.reason, len(status.attempts)) == ("Failed", "Forbidden", 1)
