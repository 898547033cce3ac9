"""The approval step: somebody decides, and the API server vouches for who it was.

A decision is an entry in the run's `spec.approvals`. Its `by` is compared with the requester's user name by the
chart's ValidatingAdmissionPolicy, since an operator can't know who wrote a field (docs/adr/0019-approvals.md).
"""

from typing import Any

from adze.core.kinds.base import Done, View, Waiting, Waits
from adze.core.model import Approval, Decision, Step


def _texts(step: Step) -> dict[str, Any]:
    assert step.approval is not None
    return {"approval": {"message": step.approval.message}}


def _look(view: View) -> Waiting | Done:
    """The first decision of somebody who may decide counts."""
    assert view.step.approval is not None
    approvers = view.step.approval.approvers
    decisions = [one for one in view.run.spec.approvals if one.step == view.step.name]
    valid = next((one for one in decisions if not approvers or one.by in approvers), None)
    if valid is None:
        return Waiting("WaitingForApproval", _request(str(view.texts["approval"]["message"]), approvers, decisions))
    note = f": {valid.message}" if valid.message else ""
    if valid.decision is Decision.DENIED:
        return Done("Denied", f"denied by {valid.by}{note}")
    return Done(message=f"approved by {valid.by}{note}", output={"by": valid.by, "message": valid.message})


def _request(message: str, approvers: tuple[str, ...], decisions: list[Approval]) -> str:
    who = f" Approvers: {', '.join(approvers)}." if approvers else ""
    others = ", ".join(one.by for one in decisions)
    return f"{message}{who}" + (f" Doesn't count: {others}." if others else "")


KIND = Waits(_look, _texts)
