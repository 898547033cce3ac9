"""Rights that are taken away and given back."""

from __future__ import annotations

import asyncio
from typing import Any

from adze.core.model import GROUP
from adze.shell.cluster import resource

from . import shapes
from .arena import Arena, Result, proxied
from .lab import Lab
from .proxy import Proxy

RBAC = "rbac.authorization.k8s.io/v1"
USER = "adze-operator-under-test"


def _rule(groups: str, resources: list[str], *verbs: str) -> dict[str, Any]:
    return {"apiGroups": [groups], "resources": resources, "verbs": list(verbs)}


def _rules(*, create: bool) -> list[dict[str, Any]]:
    """What the chart gives the operator in a namespace."""
    pods = ["get", "list", "watch", "patch", "delete", *(["create"] if create else [])]
    return [
        _rule(GROUP, ["workflowruns"], "get", "list", "watch", "create", "patch", "delete"),
        _rule(GROUP, ["workflowevents"], "get", "list", "watch", "delete"),
        _rule(GROUP, ["workflowwebhooks"], "get", "list", "watch"),
        _rule(GROUP, [f"{kind}/status" for kind in ("workflows", "workflowruns", "workflowevents")], "patch"),
        _rule(GROUP, ["workflows"], "get", "list", "watch"),
        _rule("", ["pods"], *pods),
        _rule("", ["configmaps"], "get", "create"),
        _rule("batch", ["jobs"], "get", "list", "watch", "create", "patch", "delete"),
        _rule("", ["events"], "create"),
        _rule("coordination.k8s.io", ["leases"], "get", "list", "watch", "create", "update", "patch", "delete"),
    ]


async def rights(lab: Lab, seed: int, seconds: float = 10) -> Result:
    """The right to create Pods goes, then every right; both come back. The operator says so, stays, and goes on."""
    async with Arena(lab, "rights", seed) as arena, Proxy(lab.credentials, seed) as proxy:
        proxy.user = USER
        roles = resource(RBAC, arena.namespace, "roles")
        bindings = resource(RBAC, arena.namespace, "rolebindings")
        binding = {
            "metadata": {"name": "adze"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "adze"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
        }
        await lab.call("POST", roles, {"metadata": {"name": "adze"}, "rules": _rules(create=False)})
        await lab.call("POST", bindings, binding)
        await arena.operate(via=proxied(arena, [proxy]))
        arena.faults["no right to create Pods"] += 1
        await arena.create([shapes.diamond(f"r{number}", pause=1) for number in range(4)])
        await asyncio.sleep(seconds)
        said = sorted({str(run.status.reason) for run in arena.recorder.runs.values()})
        arena.notes.append(f"without the right the runs said {', '.join(said)}")
        await lab.patch(f"{roles}/adze", {"rules": _rules(create=True)})
        await arena.see("a Pod", lambda: bool(arena.recorder.pods), 90)
        await lab.call("DELETE", f"{bindings}/adze")
        arena.faults["no rights at all"] += 1
        proxy.cut()
        await arena.create([shapes.diamond(f"s{number}") for number in range(2)])
        await asyncio.sleep(seconds)
        await lab.call("POST", bindings, binding)
        arena.over()
        return await arena.result(120)
