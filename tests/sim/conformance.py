"""What adze leans on in an API server, as cases that the real one and the simulator's must both pass.

`test_conformance.py` beside this asks the simulator's API, `tests/e2e/test_api_conformance.py` a real API server. A
case speaks to a `Backend`: the protocol's calls through the driver of each side, and what users and the cluster do.
"""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

import msgspec

from adze.core.calls import DeletePod, DeleteRun, Failure, ListPods, OpenGate, ReadPod, Release, WriteStatus
from adze.core.hands import quorum_read
from adze.core.model import Phase, Run, RunStatus, StepStatus
from adze.core.pods import Pod
from tests.sim.backend import HOLD, Backend, attempt_pod, fails, number, same

Case = Callable[[Backend], Awaitable[None]]
replace = msgspec.structs.replace


async def _pod(k: Backend, run: Run, name: str) -> Pod:
    pod = await k.do(attempt_pod(run, name))
    assert isinstance(pod, Pod), pod
    return pod


async def _read(k: Backend, run: Run) -> Any:
    return await k.do(quorum_read(run))


async def _read_pod(k: Backend, pod: Pod) -> Any:
    return await k.do(ReadPod(pod.metadata.namespace, pod.name))


async def _remade(k: Backend, run: Run, name: str) -> tuple[Pod, Pod]:
    """A Pod that is gone, and the one that bears its name now."""
    old = await _pod(k, run, name)
    await k.do(Release(old))
    await k.do(DeletePod(old))
    return old, await _pod(k, run, name)


# Creates


async def a_name_is_given_once(k: Backend) -> None:
    run = await k.run("r")
    first = await _pod(k, run, "p")
    same((first.gated, first.held, first.deleting, first.owned_by(run.metadata.uid)), (True, True, False, True))
    fails(await k.do(attempt_pod(run, "p")), Failure.EXISTS)
    same(await _read_pod(k, first), first)


async def a_pod_of_somebody_else_keeps_its_name(k: Backend) -> None:
    run = await k.run("r")
    foreign = await k.foreign_pod("p")
    fails(await k.do(attempt_pod(run, "p")), Failure.EXISTS)
    same((await _read_pod(k, foreign)).owned_by(run.metadata.uid), False)


async def a_name_is_free_once_its_pod_is_gone(k: Backend) -> None:
    run = await k.run("r")
    old, new = await _remade(k, run, "p")
    assert new.metadata.uid != old.metadata.uid


async def an_exhausted_quota_refuses_for_now(k: Backend) -> None:
    run = await k.run("r")
    await k.refuse("QuotaExceeded")
    answer = await k.do(attempt_pod(run, "p"))
    fails(answer, Failure.LATER)
    same(answer.reason, "QuotaExceeded")


async def a_policy_refuses_for_good(k: Backend) -> None:
    run = await k.run("r")
    await k.refuse("PodRejected")
    answer = await k.do(attempt_pod(run, "p"))
    fails(answer, Failure.REFUSED)
    same(answer.reason, "PodRejected")


async def a_quota_is_asked_before_the_name(k: Backend) -> None:
    run = await k.run("r")
    await _pod(k, run, "p")
    await k.refuse("QuotaExceeded")
    fails(await k.do(attempt_pod(run, "p")), Failure.LATER)


async def a_policy_is_asked_before_the_name(k: Backend) -> None:
    run = await k.run("r")
    await _pod(k, run, "p")
    await k.refuse("PodRejected")
    fails(await k.do(attempt_pod(run, "p")), Failure.REFUSED)


# Compare-and-swap of the status


async def a_status_is_swapped_on_its_version(k: Backend) -> None:
    run = await k.run("r")
    first = await k.do(WriteStatus(run, RunStatus(phase=Phase.RUNNING, message="first")))
    assert number(first) > number(run)
    fails(await k.do(WriteStatus(run, RunStatus(phase=Phase.RUNNING, message="second"))), Failure.CONFLICT)
    same(await _read(k, run), first)


async def what_is_written_is_what_is_read(k: Backend) -> None:
    run = await k.run("r")
    output = {"none": None, "deep": {"none": None, "list": [None, {"none": None}]}, "number": 1.5, "empty": {}}
    steps = (StepStatus(name="a", phase=Phase.SUCCEEDED, output=output, reason="Cached"), StepStatus(name="b"))
    first = await k.do(WriteStatus(run, RunStatus(phase=Phase.RUNNING, message="going", steps=steps)))
    same(await _read(k, run), first)
    second = await k.do(WriteStatus(first, RunStatus(phase=Phase.SUCCEEDED, output=output, steps=steps)))
    same(await _read(k, run), second)
    same((second.status.message, second.status.output), (None, output))


async def a_known_run_is_read_again(k: Backend) -> None:
    run = await k.run("r")
    same(await k.do(quorum_read(run, run)), run)
    await k.change(run, suspend=True)
    same((await k.do(quorum_read(run, run))).spec.suspend, True)
    await k.delete_run(run)
    fails(await k.do(quorum_read(run, run)), Failure.NOT_FOUND)
    assert (await k.run("r")).metadata.uid == (await k.do(quorum_read(run, run))).metadata.uid != run.metadata.uid


async def a_status_of_another_run_under_the_name_is_not_written(k: Backend) -> None:
    old = await k.run("r")
    await k.delete_run(old)
    await k.run("r")
    fails(await k.do(WriteStatus(old, RunStatus(message="late"))), Failure.CONFLICT)
    same((await _read(k, old)).status.message, None)


async def a_status_of_no_run_is_not_written(k: Backend) -> None:
    run = await k.run("r")
    await k.delete_run(run)
    fails(await k.do(WriteStatus(run, RunStatus(message="late"))), Failure.NOT_FOUND)
    fails(await _read(k, run), Failure.NOT_FOUND)


async def the_same_status_makes_no_version(k: Backend) -> None:
    run = await k.run("r")
    written = await k.do(WriteStatus(run, RunStatus(message="news")))
    same(await k.do(WriteStatus(written, written.status)), written)


async def spec_and_status_are_written_apart(k: Backend) -> None:
    run = await k.run("r")
    same(run.metadata.generation, 1)
    await k.change(run, suspend=True)
    changed = await _read(k, run)
    same((changed.metadata.generation, changed.spec.suspend, changed.status), (2, True, RunStatus()))
    fails(await k.do(WriteStatus(run, RunStatus(message="of the old spec"))), Failure.CONFLICT)
    written = await k.do(WriteStatus(changed, RunStatus(message="news")))
    same((written.metadata.generation, written.spec, written.status.message), (2, changed.spec, "news"))


async def without_a_version_the_last_writer_wins_field_by_field(k: Backend) -> None:
    run = await k.run("r")
    await k.do(WriteStatus(run, RunStatus(message="theirs", reason="Theirs")))
    written = await k.write_blindly(run, RunStatus(message="mine", progress="1/1"))
    same((written.status.message, written.status.reason, written.status.progress), ("mine", "Theirs", "1/1"))


# Gates


async def a_gate_is_opened_on_its_version(k: Backend) -> None:
    run = await k.run("r")
    pod = await _pod(k, run, "p")
    touched = await k.touch(pod)
    assert number(touched) > number(pod)
    fails(await k.do(OpenGate(pod)), Failure.CONFLICT)
    opened = await k.do(OpenGate(touched))
    same((opened.gated, [gate.name for gate in opened.spec.scheduling_gates]), (False, [HOLD]))
    fails(await k.do(OpenGate(touched)), Failure.CONFLICT)
    same(await k.do(OpenGate(opened)), opened, "a gate that isn't there")


async def a_gate_of_another_pod_under_the_name_stays(k: Backend) -> None:
    run = await k.run("r")
    old, new = await _remade(k, run, "p")
    fails(await k.do(OpenGate(old)), Failure.CONFLICT)
    same(await _read_pod(k, new), new)


async def no_gate_without_a_pod(k: Backend) -> None:
    run = await k.run("r")
    pod = await _pod(k, run, "p")
    await k.do(Release(pod))
    await k.do(DeletePod(pod))
    fails(await k.do(OpenGate(pod)), Failure.NOT_FOUND)


# Finalizers and deletion


async def a_finalizer_goes_whatever_the_version(k: Backend) -> None:
    run = await k.run("r")
    pod = await _pod(k, run, "p")
    await k.touch(pod)
    released = await k.do(Release(pod))
    same((released.held, released.gated), (False, True))
    same(await k.do(Release(released)), released, "a finalizer that isn't there")


async def a_finalizer_of_another_pod_under_the_name_stays(k: Backend) -> None:
    run = await k.run("r")
    old, new = await _remade(k, run, "p")
    fails(await k.do(Release(old)), Failure.CONFLICT)
    fails(await k.do(DeletePod(old)), Failure.CONFLICT)
    same(await _read_pod(k, new), new)


async def nothing_is_released_or_deleted_twice(k: Backend) -> None:
    run = await k.run("r")
    pod = await _pod(k, run, "p")
    await k.do(Release(pod))
    same(await k.do(DeletePod(pod)), None)
    fails(await _read_pod(k, pod), Failure.NOT_FOUND)
    fails(await k.do(Release(pod)), Failure.NOT_FOUND)
    fails(await k.do(DeletePod(pod)), Failure.NOT_FOUND)


async def a_finalizer_holds_a_deleted_pod(k: Backend) -> None:
    run = await k.run("r")
    pod = await _pod(k, run, "p")
    same(await k.do(DeletePod(pod)), None)
    held = await _read_pod(k, pod)
    same((held.deleting, held.held, held.metadata.uid), (True, True, pod.metadata.uid))
    assert number(held) > number(pod)
    fails(await k.do(attempt_pod(run, "p")), Failure.EXISTS)
    same(await k.do(DeletePod(pod)), None, "a second delete")
    same(number(await _read_pod(k, pod)), number(held), "version after a second delete")
    assert isinstance(await k.do(Release(pod)), Pod)
    fails(await _read_pod(k, pod), Failure.NOT_FOUND)


async def a_pod_on_a_node_goes_when_its_containers_have_ended(k: Backend) -> None:
    run = await k.run("r")
    pod = await k.place(await k.do(attempt_pod(run, "p", gates=())))
    same(await k.do(DeletePod(pod)), None)
    dying = await _read_pod(k, pod)
    same((dying.deleting, dying.held), (True, True))
    dead = await k.kill(pod)
    same((dead.ended, dead.held, dead.deleting), (True, True, True))
    assert isinstance(await k.do(Release(pod)), Pod)

    async def gone() -> None:
        fails(await _read_pod(k, pod), Failure.NOT_FOUND)

    await k.eventually(gone)


async def a_pod_without_finalizer_waits_for_its_kubelet_too(k: Backend) -> None:
    run = await k.run("r")
    pod = await k.place(await k.do(attempt_pod(run, "p", gates=())))
    await k.do(Release(pod))
    same(await k.do(DeletePod(pod)), None)
    same((await _read_pod(k, pod)).deleting, True)


async def force_takes_a_pod_that_no_finalizer_holds(k: Backend) -> None:
    run = await k.run("r")
    pod = await _pod(k, run, "p")
    await k.remove_pod(pod)
    same((await _read_pod(k, pod)).held, True)
    await k.do(Release(pod))
    fails(await _read_pod(k, pod), Failure.NOT_FOUND)


async def a_run_is_deleted_on_uid_and_version(k: Backend) -> None:
    run = await k.run("r")
    written = await k.do(WriteStatus(run, RunStatus(message="news")))
    fails(await k.do(DeleteRun(run)), Failure.CONFLICT)
    other = replace(written, metadata=replace(written.metadata, uid="0b5f6d0e-0000-4000-8000-000000000000"))
    fails(await k.do(DeleteRun(other)), Failure.CONFLICT)
    same(await k.do(DeleteRun(written)), None)
    fails(await _read(k, run), Failure.NOT_FOUND)
    fails(await k.do(DeleteRun(written)), Failure.NOT_FOUND)


async def a_run_on_its_way_out_can_still_be_written(k: Backend) -> None:
    run = await k.run("r")
    await k.delete_run(run, lingering=True)
    dying = await _read(k, run)
    assert dying.metadata.deletion_timestamp is not None
    fails(await k.do(WriteStatus(run, RunStatus(message="of the old version"))), Failure.CONFLICT)
    same((await k.do(WriteStatus(dying, RunStatus(message="last words")))).status.message, "last words")
    await k.end_run(run)
    fails(await _read(k, run), Failure.NOT_FOUND)


# Garbage collection by owner


async def pods_follow_their_run(k: Backend) -> None:
    run, other = await k.run("r"), await k.run("other")
    pod, left = await _pod(k, run, "p"), await _pod(k, other, "left")
    await k.delete_run(run)

    async def collected() -> None:
        same((await _read_pod(k, pod)).deleting, True)

    await k.eventually(collected)
    same((await _read_pod(k, pod)).held, True)
    same(await _read_pod(k, left), left)


async def orphans_have_no_owner_and_stay(k: Backend) -> None:
    run = await k.run("r")
    pod = await _pod(k, run, "p")
    await k.orphan_run(run)

    async def gone() -> None:
        fails(await _read(k, run), Failure.NOT_FOUND)

    await k.eventually(gone)
    left = await _read_pod(k, pod)
    same((left.deleting, left.metadata.owner_references, left.owned_by(run.metadata.uid)), (False, (), False))
    same(left.metadata.labels, pod.metadata.labels)


# Lists and watches


async def a_list_shows_the_pods_of_one_run(k: Backend) -> None:
    run, other = await k.run("r"), await k.run("other")
    same(await k.do(ListPods(run)), {})
    mine = await _pod(k, run, "mine")
    dying = await _pod(k, run, "dying")
    await _pod(k, other, "theirs")
    await k.foreign_pod("foreign")
    await k.do(DeletePod(dying))
    listed = await k.do(ListPods(run))
    same(sorted(listed), ["dying", "mine"])
    same((listed["mine"], listed["dying"].deleting), (mine, True))


async def versions_grow_across_kinds(k: Backend) -> None:
    run = await k.run("r")
    pod = await _pod(k, run, "p")
    written = await k.do(WriteStatus(run, RunStatus(message="news")))
    touched = await k.touch(pod)
    versions = [number(item) for item in (run, pod, written, touched)]
    same(versions, sorted(set(versions)))


async def a_watch_tells_each_change_of_a_run_once_and_in_order(k: Backend) -> None:
    run = await k.run("r")
    written = await k.do(WriteStatus(run, RunStatus(message="news")))
    await k.do(WriteStatus(written, written.status))
    await k.change(run, suspend=True)
    changed = await _read(k, run)
    other = await k.run("other")
    await k.do(DeleteRun(changed))
    *known, (what, name, version) = await k.changes("runs", run)
    wanted = [("MODIFIED", written), ("MODIFIED", changed), ("ADDED", other)]
    same(known, [(kind, item.metadata.name, item.metadata.resource_version) for kind, item in wanted])
    same((what, name), ("DELETED", "r"))
    assert int(version) > number(other), "a deletion has a version of its own"


async def a_watch_tells_each_change_of_a_pod_once_and_in_order(k: Backend) -> None:
    run = await k.run("r")
    first = await _pod(k, run, "first")
    pod = await _pod(k, run, "p")
    await k.foreign_pod("foreign")
    opened = await k.do(OpenGate(pod))
    await k.do(DeletePod(opened))
    await k.do(Release(opened))
    seen = await k.changes("pods", first)
    same(
        [(what, name) for what, name, _ in seen], [(what, "p") for what in ("ADDED", "MODIFIED", "MODIFIED", "DELETED")]
    )
    versions = [int(version) for _, _, version in seen]
    same(versions, sorted(set(versions)))


CASES: tuple[Case, ...] = tuple(
    case for name, case in [*globals().items()] if iscoroutinefunction(case) and not name.startswith("_")
)
