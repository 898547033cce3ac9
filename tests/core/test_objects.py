"""Steps that are carried out by Jobs and child runs: what is made, how its end is read, and in which order."""

from typing import Any

import msgspec
import pytest

from adze.core import manifest, protocol
from adze.core import revision as revisions
from adze.core.calls import CreatePod, DeletePod, ListPods, OpenGate, ReadPod, ReadRun, Release, WriteStatus
from adze.core.children import Child
from adze.core.expressions import ExpressionError
from adze.core.jobs import Job
from adze.core.kinds import Impossible
from adze.core.model import Attempt, Phase, Run, StepStatus
from adze.core.model.base import Annotations
from adze.core.observed import Observed
from adze.core.policy import Policy
from adze.core.values import Values
from tests.builders import NOW, POLICY, UID, asking, run, seconds, step, workflow
from tests.core.dialogue import EXISTS, Dialogue, after, claimed, pod_name, reconcile
from tests.core.test_revision_problems import problems

WORK = {"name": "work", "image": "i", "command": ["go", "${input.n}"], "env": [{"name": "N", "value": "${input.n}"}]}


def job(name: str = "a", template: Any = None, metadata: Any = None, **spec: Any) -> Any:
    pods = template or {"spec": {"containers": [WORK]}}
    return step(name, job={"spec": {**spec, "template": pods}, **({"metadata": metadata} if metadata else {})})


def call(name: str = "a", of: str = "child", retries: int = 0, **given: Any) -> Any:
    return step(name, workflow={"name": of, "input": given}, retries=retries)


def build(one: Any, owner: Run | None = None, policy: Policy = POLICY, **given: Any) -> dict[str, Any]:
    spec = workflow(one)
    node = revisions.compile_workflow(spec).nodes[one.name]
    attempt = Attempt(number=2, **{"job" if one.job else "run": "name"})
    owner = owner or run("top", input=given)
    return manifest.build(owner, node, attempt, Values(owner, given, {"a": StepStatus(name="a")}), policy)


def test_a_job_is_made_suspended_held_and_gated() -> None:
    made = build(job(completions=3, metadata={"labels": {"team": "x"}}), n=7)
    assert (made["apiVersion"], made["kind"], made["spec"]["suspend"]) == ("batch/v1", "Job", True)
    assert made["spec"]["completions"] == 3
    assert made["metadata"]["finalizers"] == ["adze.dev/outcome"]
    assert made["metadata"]["annotations"] == {"adze.dev/claim": ""}
    assert made["metadata"]["labels"].items() >= {"team": "x", "adze.dev/run-uid": UID, "adze.dev/attempt": "2"}.items()
    seen = msgspec.convert(made, Job)
    assert (seen.gated, seen.held, seen.ended, seen.started, seen.owned_by(UID)) == (True, True, False, None, True)


def test_a_job_s_containers_see_what_every_step_sees() -> None:
    template = build(job(), n="$(HOME)")["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert container["command"] == ["go", "$$(HOME)"], "data is no reference for the kubelet"
    env = {one["name"]: one["value"] for one in container["env"]}
    assert env.items() >= {"N": "$$(HOME)", "ADZE_STEP": "a", "ADZE_ATTEMPT": "2"}.items()
    assert "ADZE_OUTPUT" not in env
    assert container["volumeMounts"] == [{"name": "adze", "mountPath": "/adze", "readOnly": True}]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert template["spec"]["restartPolicy"] == "Never"
    assert template["spec"]["automountServiceAccountToken"] is False
    assert msgspec.json.decode(template["metadata"]["annotations"]["adze.dev/context"])["input"] == {"n": "$(HOME)"}


def test_a_job_s_pods_are_no_attempts() -> None:
    labels = build(job(), n=1)["spec"]["template"]["metadata"]["labels"]
    assert "adze.dev/run-uid" not in labels
    assert labels["adze.dev/step"] == "a"


def test_a_queue_hears_of_a_job_only_with_the_gate_off() -> None:
    made = build(job(metadata={"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}), n=1)
    assert made["metadata"]["annotations"] == {"adze.dev/claim": "gpus"}
    assert "kueue.x-k8s.io/queue-name" not in made["metadata"]["labels"]


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ({"spec": {"containers": [WORK], "hostNetwork": True}}, "spec.hostNetwork: can't be set"),
        (
            {"spec": {"containers": [WORK], "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}},
            "spec.volumes[0].hos",
        ),
        ({"spec": {"containers": [{**WORK, "securityContext": {"privileged": True}}]}}, "spec.containers[0].securityC"),
        ({"spec": {"initContainers": [{**WORK, "ports": [{"containerPort": 1, "hostPort": 1}]}]}}, "spec.initContaine"),
        ({"spec": {"containers": [WORK], "volumes": [{"name": "adze"}]}}, "spec.volumes[adze]: is adze's own"),
        ({"spec": {"containers": [{"name": "x"}]}}, "spec.containers[x].image: a container needs an image"),
        (
            {"metadata": {"labels": {"adze.dev/run-uid": "x"}}, "spec": {"containers": [WORK]}},
            "metadata.labels[adze.de",
        ),
        ({"spec": {"containers": "x"}}, "spec.containers: Expected `array`"),
        ({"spec": {"restartPolicy": "Always"}}, "spec.restartPolicy: "),
        ({}, ": Object missing required field `spec`"),
    ],
)
def test_a_job_asks_for_no_more_than_a_step_may(template: Any, wanted: str) -> None:
    one = msgspec.structs.replace(
        job(), job=msgspec.structs.replace(job().job, spec=msgspec.structs.replace(job().job.spec, template=template))
    )
    (found, *_) = problems(workflow(one))
    assert found.startswith(f"spec.steps[a].job.spec.template.{wanted}")


def test_a_job_s_service_account_is_the_installation_s_affair() -> None:
    one = job(template={"spec": {"containers": [WORK], "serviceAccountName": "admin"}})
    with pytest.raises(Impossible, match=r"job\.spec\.template\.spec\.serviceAccountName: 'admin' is not allowed"):
        build(one, n=1)
    assert build(one, policy=Policy(service_accounts=("admin",)), n=1)


def test_a_mistake_in_a_job_s_texts_is_found_with_the_workflow() -> None:
    bad = {**WORK, "command": ["${steps.b.output.x}"]}
    (found,) = problems(workflow(job(template={"spec": {"containers": [bad]}})))
    assert found.startswith("spec.steps[a].job.containers.work.command[0]:1:")


def seen_job(*, suspend: bool = False, start: bool = False, **fields: Any) -> Job:
    status = {"startTime": "2026-03-01T12:00:00Z"} if start else {}
    metadata = {"name": "j", "namespace": "n", "finalizers": ["adze.dev/outcome"], **fields.pop("metadata", {})}
    return msgspec.convert({"metadata": metadata, "spec": {"suspend": suspend}, "status": {**status, **fields}}, Job)


def test_how_a_job_s_end_is_read() -> None:
    done = seen_job(start=True, succeeded=2, conditions=[{"type": "Complete", "status": "True"}])
    outcome = done.outcome()
    assert outcome is not None
    assert (done.ended, outcome.reason, outcome.output) == (True, None, {"succeeded": 2, "failed": 0})
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too many"}
    outcome = seen_job(start=True, conditions=[failed]).outcome()
    assert outcome is not None
    assert (outcome.reason, outcome.message) == ("JobFailed", "BackoffLimitExceeded: too many")
    target = {"type": "FailureTarget", "status": "True"}
    assert seen_job(start=True, conditions=[target]).outcome() is None, "its Pods still end"


def test_a_job_that_is_deleted_has_ended_after_its_pods() -> None:
    going = {"deletionTimestamp": "2026-03-01T12:00:00Z", "finalizers": ["foregroundDeletion", "adze.dev/outcome"]}
    assert not seen_job(start=True, metadata=going).ended
    gone = seen_job(start=True, metadata={**going, "finalizers": ["adze.dev/outcome"]})
    outcome = gone.outcome()
    assert gone.ended
    assert outcome is not None
    assert outcome.reason == "JobDeleted"


def test_why_a_job_waits() -> None:
    assert seen_job(suspend=True, metadata={"annotations": {"adze.dev/claim": ""}}).waiting() is None
    assert (seen_job(suspend=True).waiting() or ("",))[0] == "Suspended"
    queued = seen_job(suspend=True, metadata={"labels": {"kueue.x-k8s.io/queue-name": "gpus"}})
    assert queued.waiting() == ("Queued", "queue gpus has not admitted the Job yet")
    assert seen_job(start=True).waiting() is None


def test_a_child_run_is_gated_and_keeps_the_types_of_its_input() -> None:
    made = build(call(n="${input.n}", text="n is ${input.n}", list=[1, "${input.n}"]), n=7)
    assert made["spec"] == {"workflow": "child", "input": {"n": 7, "text": "n is 7", "list": [1, 7]}}
    assert made["metadata"]["annotations"] == {"adze.dev/claim": "closed", "adze.dev/ancestors": "top"}
    child = msgspec.convert(made, Child)
    assert (child.gated, child.held, child.ended, child.owned_by(UID)) == (True, True, False, True)
    assert msgspec.convert(made, Run).metadata.annotations.ancestors == "top"


def below(*ancestors: str, of: str = "top") -> Run:
    base = run(of)
    metadata = msgspec.structs.replace(base.metadata, annotations=Annotations(ancestors=",".join(ancestors)))
    return msgspec.structs.replace(base, metadata=metadata)


def test_workflows_that_call_each_other_are_refused() -> None:
    with pytest.raises(Impossible, match="a -> b -> a") as refused:
        build(call(of="a"), below("a", of="b"))
    assert refused.value.reason == "WorkflowCycle"
    with pytest.raises(Impossible, match="top -> top"):
        build(call(of="top"))


def test_runs_are_nested_eight_deep_at_most() -> None:
    assert (
        build(call(of="z"), below(*"abcdef", of="g"))["metadata"]["annotations"]["adze.dev/ancestors"]
        == "a,b,c,d,e,f,g"
    )
    with pytest.raises(Impossible) as refused:
        build(call(of="z"), below(*"abcdefg", of="h"))
    assert refused.value.reason == "TooDeep"


def test_an_input_that_can_not_be_computed() -> None:
    with pytest.raises(ExpressionError):
        build(call(n="${input.none}"))


def test_a_run_behind_its_gate_does_not_begin() -> None:
    new = run(workflow(step("a")))
    gated = msgspec.structs.replace(
        new, metadata=msgspec.structs.replace(new.metadata, annotations=Annotations(gate="closed"))
    )
    talk = reconcile(gated)
    assert (talk.heard, talk.result) == ([], protocol.Pass())
    cancelled = reconcile(asking(gated, cancel=True))
    assert cancelled.call(WriteStatus).status.phase == Phase.CANCELLED


def carried(talk: Dialogue, **changes: Any) -> Any:
    """The object that a dialogue has just asked to create."""
    made = talk.call(CreatePod).manifest
    kind = {"Job": Job, "WorkflowRun": Child}[made["kind"]]
    metadata = {**made["metadata"], "uid": "u", "resourceVersion": "5", "creationTimestamp": "2026-03-01T12:00:00Z"}
    return msgspec.convert({**made, "metadata": metadata, **changes}, kind)


@pytest.mark.parametrize("one", [job(), call()], ids=["job", "run"])
def test_an_object_is_created_and_opened_like_a_pod(one: Any) -> None:
    talk = reconcile(run(workflow(one), input={"n": 1}))
    subject = after(talk.call(WriteStatus))
    attempt = subject.status.steps[0].attempts[0]
    assert (attempt.pod, attempt.carrier) == ("", talk.call(WriteStatus).status.steps[0].attempts[0].carrier)
    talk.answer(subject)
    made = carried(talk)
    assert made.name == attempt.carrier
    talk.answer(made)
    assert talk.kinds == ["ReadRun"]
    talk.answer(subject)
    assert talk.call(OpenGate).pod == made


@pytest.mark.parametrize("one", [job(), call()], ids=["job", "run"])
def test_a_gate_stays_shut_when_the_run_no_longer_stands_behind_it(one: Any) -> None:
    subject = claimed(workflow(one), input={"n": 1})
    talk = reconcile(subject)
    talk.answer(carried(talk))
    (status,) = subject.status.steps
    ended = msgspec.structs.replace(status.attempts[0], finish_time=NOW, reason="Cancelled")
    status = msgspec.structs.replace(status, phase=Phase.CANCELLED, attempts=(ended,))
    closed = msgspec.structs.replace(subject, status=msgspec.structs.replace(subject.status, steps=(status,)))
    assert isinstance(talk.calls[0], ReadRun)
    talk.answer(closed)
    assert "OpenGate" not in talk.heard


def test_a_child_that_is_there_already_is_adopted() -> None:
    subject = claimed(workflow(call()))
    talk = reconcile(subject)
    made = carried(talk)
    talk.answer(EXISTS)
    assert talk.call(ReadPod) == ReadPod(subject.metadata.namespace, made.name, "WorkflowRun")
    talk.answer(made).answer(subject)
    assert talk.call(OpenGate).pod == made


def observed(subject: Run, one: Any) -> Observed:
    return Observed(pods={pod_name(subject, "a"): one})


def running_child(subject: Run, phase: str = "Running", cancel: bool = False, **status: Any) -> Child:
    talk = reconcile(subject)
    made = carried(talk)
    talk.calls = ()
    fields = {"phase": phase, "startTime": "2026-03-01T12:00:00Z", **status}
    metadata = msgspec.structs.replace(made.metadata, annotations=Annotations())
    spec = msgspec.structs.replace(made.spec, cancel=cancel)
    return Child(metadata=metadata, spec=spec, status=msgspec.convert(fields, type(made.status)))


def test_a_child_s_output_is_recorded_before_it_is_let_go() -> None:
    subject = claimed(workflow(call()))
    child = running_child(subject, "Succeeded", output={"n": 1}, finishTime="2026-03-01T12:01:00Z")
    talk = Dialogue(protocol.reconcile(subject, observed(subject, child), NOW, POLICY))
    status = talk.call(WriteStatus).status
    assert (status.phase, status.output) == (Phase.SUCCEEDED, {"n": 1})
    assert status.steps[0].attempts[0].start_time == NOW
    talk.answer(after(talk.call(WriteStatus)))
    assert [call.pod for call in talk.calls if isinstance(call, Release)] == [child]


@pytest.mark.parametrize(
    ("phase", "reason", "wanted"), [("Failed", "StepFailed", "RunFailed"), ("Cancelled", "Cancelled", "RunCancelled")]
)
def test_a_child_that_did_not_succeed_fails_the_attempt(phase: str, reason: str, wanted: str) -> None:
    subject = claimed(workflow(call(retries=1)))
    child = running_child(subject, phase, reason=reason, message="b: ExitCode: 3")
    talk = Dialogue(protocol.reconcile(subject, observed(subject, child), NOW, POLICY))
    (status,) = talk.call(WriteStatus).status.steps
    assert (status.reason, status.attempts[0].reason) == ("Backoff", wanted)
    assert status.attempts[0].message == f"{child.name}: {reason}: b: ExitCode: 3"


def test_a_cancel_withdraws_the_claim_then_ends_the_child_then_the_run() -> None:
    subject = claimed(workflow(call()))
    child = running_child(subject)
    subject = asking(subject, cancel=True)
    talk = Dialogue(protocol.reconcile(subject, observed(subject, child), NOW, POLICY))
    first = talk.call(WriteStatus)
    assert first.status.steps[0].attempts[0].reason == "Cancelled"
    assert not first.status.phase.final
    subject = after(first)
    talk.answer(subject)
    assert [call.pod for call in talk.calls if isinstance(call, DeletePod)] == [child]
    talk.nothing()
    assert talk.result is not None, "the child's finally steps still run"
    ended = running_child(claimed(workflow(call())), "Cancelled", cancel=True)
    talk = Dialogue(protocol.reconcile(subject, observed(subject, ended), NOW + seconds(9), POLICY))
    while "ListPods" not in talk.kinds:
        assert "WriteStatus" not in talk.kinds, "only a LIST tells that nothing else runs"
        talk.nothing()
    assert talk.call(ListPods).kinds == {"Pod", "WorkflowRun"}
    talk.answer({ended.name: ended})
    assert talk.call(WriteStatus).status.phase == Phase.CANCELLED


def test_a_job_that_a_queue_holds_back_is_looked_at_again() -> None:
    subject = claimed(workflow(job(metadata={"labels": {"kueue.x-k8s.io/queue-name": "gpus"}})), input={"n": 1})
    talk = reconcile(subject)
    made = carried(talk)
    talk.answer(made).answer(subject)
    labels = {**made.metadata.labels, "kueue.x-k8s.io/queue-name": "gpus"}
    opened = seen_job(suspend=True, metadata={"name": made.name, "labels": labels})
    talk.answer(*(opened if isinstance(call, OpenGate) else None for call in talk.calls))
    assert talk.result is not None
    assert talk.result.again, "no event will come to tell of it"
