"""What must have happened in a long run of episodes: a simulator that never gets there proves nothing about it."""

from collections import Counter

GOALS = (
    *("ambiguous write", "ambiguous create then crash", "late write arrives", "slow answer", "crash in a pass"),
    *("frozen in a pass", "stale list after a crash", "stale list by a running replica", "watch event lost"),
    *("conflict on WriteStatus", "conflict on OpenGate", "conflict on DeleteRun", "adopted after AlreadyExists"),
    *("gate refused by the read", "gate opened after the claim was withdrawn", "gate opened after the run was deleted"),
    *("gated Pod made for a closed attempt", "gated Pod made for an ended run", "gated Pod made for a dead run"),
    *("a LIST after a withdrawal finds a Pod", "started after the run was deleted"),
    *("quota refusal", "lasting refusal", "name taken by a foreign Pod", "image pull waits", "refused by the node"),
    *("evicted", "node lost", "out of memory", "container ended before its Pod", "deleted before it started"),
    *("Pod deleted by a user", "finalizer stripped", "cancelled", "suspended", "run's deadline passed"),
    *("run deleted", "run deleted, Pods orphaned", "run made again under its name", "clock jumped"),
    *("Workflow applied after its run", "Workflow edited", "retried", "retried after a loss", "step skipped"),
    *("units taken", "units taken anew", "waited for units", "key closed", "conflict on ReplaceLease"),
    *("limit changed", "waited for a place"),
    *("onFailure step claimed", "finally step claimed"),
    *(
        "rerun asked for",
        "rerun refused",
        "entry reused",
        "rerun begun",
        "step kept",
        "items kept",
        "pages copied",
    ),
    *("item succeeded", "item failed", "item cancelled", "forEach of nothing", "outputs in a page"),
    *("large output recorded", "large output of an item", "large output lost"),
    *(f"forEach step ended {phase}" for phase in ("Succeeded", "Failed", "Cancelled")),
    *(f"run ended {phase}" for phase in ("Succeeded", "Failed", "Cancelled")),
    *(
        f"attempt ended: {reason}"
        for reason in (
            *("success", "ExitCode", "OOMKilled", "OutputInvalid", "Timeout", "StartTimeout", "InvalidImageName"),
            *("Cancelled", "DeadlineExceeded", "PodDeleted", "PodRejected", "NameCollision", "PodLost", "OutOfcpu"),
            *("EvictionByEvictionAPI", "TerminationByKubelet", "DeletionByTaintManager"),
        )
    ),
)


def gaps(counted: Counter[str]) -> list[str]:
    """The goals that were never reached."""
    return [goal for goal in GOALS if not counted[goal]]
