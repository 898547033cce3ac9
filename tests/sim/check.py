"""The predicates of reference/reliability.md section 3, checked at every revision in time that doesn't grow.

The ledger learns only from what the API server commits, never from what a replica believes.
"""

from collections import Counter
from datetime import timedelta

from adze.core import backoff, pods
from adze.core import revision as revisions
from adze.core.model import Attempt, ItemStatus, Phase, Run, StepStatus
from adze.core.names import ATTEMPT, ITEM, RUN_UID, STEP, part
from adze.core.pods import Pod
from adze.core.revision import Node, Stage
from adze.core.rules import retry
from tests.sim import cached, items, large, reruns
from tests.sim.account import Account, Claim
from tests.sim.api import Api
from tests.sim.rates import RateLedger
from tests.sim.slots import SlotLedger
from tests.sim.violation import Violation

INFRASTRUCTURE_BUDGET = 2
"""What the laboratory sets the budget of lost attempts to."""

WITHDRAWN = frozenset({"Cancelled", "DeadlineExceeded", "Timeout", "StartTimeout", "InvalidImageName", "Superseded"})
"""Reasons of attempts that the operator ended, whatever their Pod did. The core's own set doesn't count here."""
UNSEEN = frozenset({"PodRejected", "NameCollision"})
"""Reasons of attempts that failed since their Pod could not be made."""


def may_run(pod: Pod) -> bool:
    """Whether the step's container may run, now or later."""
    if pod.gated or pod.ended or pod.main.terminated:
        return False
    return bool(pod.spec.node_name) or not pod.deleting


def _begun(pod: Pod) -> bool:
    state = pod.main
    return state.running is not None or (state.terminated is not None and state.terminated.started_at is not None)


def check_refusals(api: Api, before: Run, after: Run, since: int) -> None:
    """S7: a pass records no attempt as refused whose Pod stood when the pass began: another's create had succeeded."""
    was_open = {attempt.pod for step in before.status.steps if (attempt := step.open_attempt)}
    refused = [attempt.pod for step in after.status.steps for attempt in step.attempts if attempt.reason in UNSEEN]
    for name in was_open.intersection(refused):
        pod = api.pod(name)
        if isinstance(pod, Pod) and pod.owned_by(after.metadata.uid) and api.born[pod.metadata.uid] <= since:
            raise Violation("S7", f"{name} was recorded as refused and stood already")


def _facts(attempt: Attempt) -> tuple[object, ...]:
    """What of a closed attempt never changes. Its message may be shortened to make room."""
    return attempt.number, attempt.exit_code, attempt.reason, attempt.finish_time, attempt.infrastructure


class Checker:
    """Hears of every revision. `stripped` says that finalizers may be taken away, which the promises exclude."""

    def __init__(self, goals: Counter[str], *, stripped: bool = False) -> None:
        self.goals = goals
        self.stripped = stripped
        self.api: Api | None = None
        self.accounts: dict[str, Account] = {}
        self._created: dict[str, int] = {}
        self.slots = SlotLedger(self)
        self.rates = RateLedger(self)

    @property
    def _now(self) -> int:
        assert self.api is not None
        return self.api.revision

    # Runs

    def run_changed(self, old: Run | None, new: Run | None) -> None:
        """A run was created, changed or removed."""
        if new is None:
            assert old is not None
            account = self.accounts[old.metadata.uid]
            account.dead = self._now
        elif old is None:
            self.accounts[new.metadata.uid] = Account(new)
        else:
            account = self.accounts[new.metadata.uid]
            account.run = new
            self.slots.run_changed(old, new)
            if new.status is not old.status:
                self._status(account, old, new)

    def _status(self, account: Account, old: Run, new: Run) -> None:
        if old.status.phase.final:
            raise Violation("S9", f"{new.metadata.name} had ended and was written again")
        if account.revision is None and new.status.workflow_spec is not None:
            account.revision = revisions.of_run(new.status.revision or "", new.status.workflow_spec)
            if new.spec.rerun_of:
                account.steps = reruns.began(self, new)
        steps = {status.name: status for status in new.status.steps}
        if missing := account.steps.keys() - steps.keys():
            raise Violation("S8", f"steps {sorted(missing)} left the status")
        for name, status in steps.items():
            before = account.steps.get(name)
            if before is not status:
                self._step(account, new, before, status)
        account.steps = steps
        if new.status.phase.final:
            self.goals["rerun refused"] += new.status.reason == "RerunRefused"
            account.ended = self._now
            self._end(account)

    def _end(self, account: Account) -> None:
        status = account.run.status
        self.goals[f"run ended {status.phase.value}"] += 1
        self.goals["run's deadline passed"] += status.reason == "DeadlineExceeded"
        if still := [name for name, step in account.steps.items() if not step.phase.final]:
            raise Violation("S9", f"{account.run.metadata.name} ended while {still} had not")
        if (live := [uid for uids in account.live.values() for uid in uids]) and not self.stripped:
            raise Violation("S10", f"{account.run.metadata.name} ended while {live} may still run")
        for step in account.steps.values():
            large.recorded(self, step)

    def _step(self, account: Account, run: Run, before: StepStatus | None, after: StepStatus) -> None:
        if before is not None and before.phase.final:
            raise Violation("S8", f"step {after.name} was {before.phase.value} and became {after.phase.value}")
        if after.items:
            items.changed(self, account, run, before, after)
        self.part(account, run, after)
        bare = not after.attempts or after.attempts[-1].reason is not None
        if after.reason == "Cached":
            cached.reused(self, run, after)
        elif after.phase is Phase.SUCCEEDED and bare and not after.items:
            raise Violation("S7", f"step {after.name} succeeded without an attempt that did")
        self.goals["step skipped"] += after.phase is Phase.SKIPPED

    def part(self, account: Account, run: Run, after: ItemStatus) -> None:
        """The attempts of a step, or of an item that has an entry."""
        self.rates.waited(after.reason)
        tries = account.tries.setdefault(after.name, [])
        for attempt in after.attempts:
            claim = account.claims.get(attempt.pod)
            if claim is None:
                self._claimed(account, run, after, attempt, tries)
            elif claim.attempt is attempt:
                continue
            elif claim.closed is not None:
                if _facts(claim.attempt) != _facts(attempt):
                    raise Violation("S7", f"closed attempt {claim.attempt} became {attempt}")
                continue
            elif claim.attempt.number != attempt.number:
                raise Violation("S3", f"open attempt {claim.attempt} became {attempt}")
            if attempt.finish_time is not None:
                self._closed(account, after, attempt)
        # Old attempts may leave the status, but never one whose outcome isn't known.
        if (
            tries
            and tries[-1].closed is None
            and (not after.attempts or after.attempts[-1].pod != tries[-1].attempt.pod)
        ):
            raise Violation("S3", f"step {after.name} lost its open attempt")

    def _claimed(self, account: Account, run: Run, step: ItemStatus, attempt: Attempt, tries: list[Claim]) -> None:
        earlier = [claim.attempt for claim in tries]
        if attempt.number != len(tries) + 1 or any(claim.closed is None for claim in tries):
            raise Violation("S3", f"{step.name} claimed attempt {attempt.number} after {len(tries)}")
        node = self.node(account, step.name)
        if (run.spec.cancel or run.status.superseded_by) and node.stage is not Stage.FINALLY:
            raise Violation("S10", f"{step.name} was claimed while the run was cancelled")
        if run.spec.suspend and not run.spec.cancel and not run.status.superseded_by:
            raise Violation("S10", f"{step.name} was claimed while the run was suspended")
        lost = sum(a.infrastructure for a in earlier)
        if len(earlier) - lost > (node.step.retries or 0) or lost > INFRASTRUCTURE_BUDGET:
            raise Violation("S3", f"{step.name} has no attempt {attempt.number}: {len(earlier)} were used up")
        self._waited(node, earlier)
        self._parents(account, node, {status.name: status for status in run.status.steps}, "S5")
        self.rates.claimed(run, node.step.rate_limit, f"{step.name}#{attempt.number}")
        self.goals["retried"] += bool(earlier)
        self.goals["retried after a loss"] += bool(earlier) and earlier[-1].infrastructure
        self.goals[f"{node.stage.value} step claimed"] += 1
        account.claims[attempt.pod] = claim = Claim(step.name, attempt, self._now)
        tries.append(claim)

    def _waited(self, node: Node, earlier: list[Attempt]) -> None:
        """S20: between two attempts lies the backoff, to the second that Kubernetes' times have."""
        assert self.api is not None
        finish = earlier[-1].finish_time if earlier else None
        if finish is None:
            return
        last = earlier[-1]
        kind = retry.INFRASTRUCTURE_BACKOFF if last.infrastructure else node.backoff
        count = sum(a.infrastructure == last.infrastructure for a in earlier)
        wait = backoff.delay(kind, count, last.pod)
        if self.api.now - finish < wait - timedelta(seconds=1):
            raise Violation("S20", f"{node.name} waited {self.api.now - finish} and not {wait}")

    def _parents(self, account: Account, node: Node, steps: dict[str, StepStatus], code: str) -> None:
        phases = [steps[parent].phase for parent in node.step.parents]
        if any(phase not in (Phase.SUCCEEDED, Phase.SKIPPED) for phase in phases) or (
            phases and Phase.SUCCEEDED not in phases
        ):
            raise Violation(code, f"{node.name} came before its parents: {[phase.value for phase in phases]}")
        assert account.revision is not None
        graph = account.revision.stage(Stage.GRAPH)
        if node.stage is not Stage.GRAPH and not all(steps[other.name].phase.final for other in graph):
            raise Violation(code, f"{node.name} ({node.stage.value}) came before the end of the graph")

    def _closed(self, account: Account, step: ItemStatus, attempt: Attempt) -> None:
        claim = account.claims.get(attempt.pod)
        if claim is None:
            raise Violation("S4", f"{attempt.pod} was closed and never claimed")
        claim.attempt, claim.closed = attempt, self._now
        self.goals[f"attempt ended: {attempt.reason or 'success'}"] += 1
        if attempt.reason in WITHDRAWN or self.stripped:
            return
        if attempt.reason in UNSEEN:
            assert self.api is not None
            if attempt.pod not in self.api.refused:
                raise Violation("S7", f"{attempt.pod} was recorded as {attempt.reason} and nobody had refused it")
            # Refused to one replica and granted to another after the LIST: safe, as the Pod is listed and deleted.
            self.goals["refused here, started there"] += bool(claim.opened)
            return
        recorded = (attempt.exit_code, attempt.infrastructure)
        true = [truth for truth in claim.outcomes if (truth.exit_code, truth.infrastructure) == recorded]
        if attempt.reason is None:
            found = large.recorded(self, step)
            said = [truth for truth in true if truth.reason is None]
            true = [truth for truth in said if large.meant(self, attempt.pod, truth.output) == found]
        elif attempt.reason != "OutputInvalid" and not large.refused(self, claim):
            true = [truth for truth in true if truth.reason == attempt.reason]
        if not true:
            raise Violation("S7", f"{attempt.pod} was recorded as {attempt.reason} {recorded}, not as it was")

    @staticmethod
    def node(account: Account, step: str) -> Node:
        """The node of a step, or of an item."""
        assert account.revision is not None
        return account.revision.node(step)

    # Pods

    def pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """A Pod was created, changed or removed."""
        pod = new or old
        assert pod is not None
        account = self.accounts.get(pod.metadata.labels.get(RUN_UID, ""))
        if account is None:
            return
        labels, uid = pod.metadata.labels, pod.metadata.uid
        step = part(labels[STEP], int(labels[ITEM])) if ITEM in labels else labels[STEP]
        claim = account.claims.get(pod.name)
        if old is None:
            self._created[uid] = self._now
            claim = self._made(account, claim, pod)
        assert claim is not None
        if new is not None and not new.gated and (old is None or old.gated):
            self._opened(account, claim, new)
        if old is not None and old.held and (new is None or not new.held):
            self._released(account, claim, pod)
        if new is not None and _begun(new) and uid not in claim.started:
            self._begun(account, claim, new)
        if new is not None and (new.ended or new.deleting or new.main.terminated):
            outcome = pods.outcome(new)
            if outcome and outcome not in claim.outcomes:
                claim.outcomes.append(outcome)
        live = account.live.setdefault(step, set())
        if new is not None and may_run(new):
            live.add(uid)
            if len(live) > 1 and not self.stripped:
                raise Violation("S2", f"step {step} of {account.run.metadata.name} has live Pods {sorted(live)}")
        else:
            live.discard(uid)

    def _made(self, account: Account, claim: Claim | None, pod: Pod) -> Claim:
        if claim is None:
            raise Violation(
                "S4", f"Pod {pod.name} was created before attempt {pod.metadata.labels[ATTEMPT]} was claimed"
            )
        if account.steps[claim.step.partition("[")[0]].phase is Phase.SKIPPED:
            raise Violation("S5", f"skipped step {claim.step} has a Pod")
        self.goals["gated Pod made for a closed attempt"] += claim.closed is not None
        self.goals["gated Pod made for an ended run"] += account.ended is not None
        self.goals["gated Pod made for a dead run"] += account.dead is not None
        return claim

    def _opened(self, account: Account, claim: Claim, pod: Pod) -> None:
        uid = pod.metadata.uid
        claim.opened.add(uid)
        made = self._created[uid]
        for what, moment in (("closed", claim.closed), ("ended", account.ended), ("dead", account.dead)):
            if moment is not None and moment < made:
                raise Violation(
                    "S24", f"the gate of {pod.name} was opened, though it was {what} before the Pod was made"
                )
        if account.ended is not None and not self.stripped:
            raise Violation("S24", f"the gate of {pod.name} was opened after the end of its run")
        run = account.run
        if account.revision:
            self.slots.opened(run, account.revision.spec.concurrency, "")
        entries = self.node(account, claim.step).step.concurrency
        self.slots.opened(run, entries, f"{claim.step}#{claim.attempt.number}")
        self.goals["gate opened after the claim was withdrawn"] += claim.closed is not None
        self.goals["gate opened after the run was deleted"] += account.dead is not None

    def _released(self, account: Account, claim: Claim, pod: Pod) -> None:
        if account.alive and claim.closed is None and not self.stripped:
            raise Violation("S6", f"Pod {pod.name} was let go before its outcome was recorded")

    def _begun(self, account: Account, claim: Claim, pod: Pod) -> None:
        claim.started.add(pod.metadata.uid)
        if len(claim.started) > 1 and not self.stripped:
            raise Violation("S1", f"attempt {pod.name} has started in {sorted(claim.started)}")
        if account.ended is not None and not self.stripped:
            raise Violation("S10", f"{pod.name} started after the end of its run")
        if account.dead is not None:
            # A run without a finalizer can go between the read and the start; then owner GC stops its Pods.
            self.goals["started after the run was deleted"] += 1
            return
        self._parents(account, self.node(account, claim.step), account.steps, "S5")

    # After the faults

    def stuck(self) -> Violation | None:
        """L1 and L5: what hasn't come to its end."""
        assert self.api is not None
        for run in self.api.runs.values():
            if not run.status.phase.final:
                return Violation("L1", f"{run.metadata.name} is {run.status.phase.value} ({run.status.reason})")
        if self.api.slots:
            return Violation("L2", f"slots are left: {sorted(self.api.slots)}")
        for pod in self.api.pods.values():
            if RUN_UID not in pod.metadata.labels:
                continue
            if pod.gated:
                return Violation("L5", f"gated Pod {pod.name} is left")
            if pod.held and (pod.deleting or pod.ended):
                return Violation("L5", f"Pod {pod.name} keeps our finalizer")
            if not pod.ended:
                return Violation("L5", f"Pod {pod.name} still runs")
        return None
