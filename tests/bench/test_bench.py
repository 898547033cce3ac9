"""The bench's arithmetic: what it makes of an audit log and of its measures."""

from datetime import UTC, datetime

from tests.bench import admission, scenarios, table, writes
from tests.bench.measure import Measure
from tests.cluster.audit import Event

START = 1_800_000_000.0


def event(
    verb: str, resource: str, name: str, seconds: float = 0.0, *, agent: str = "adze-operator", status: int = 200
) -> Event:
    """A write that was answered some seconds after START."""
    moment = datetime.fromtimestamp(START + seconds, UTC).isoformat().replace("+00:00", "Z")
    return Event(f"{agent}/1", "admin", verb, resource, "bench", name, status, moment, 0)


def test_writes_by_purpose() -> None:
    events = [
        event("patch", "workflowruns.adze.dev/status", "run"),
        event("patch", "workflowruns.adze.dev/status", "run", status=409),
        event("create", "pods", "a"),
        event("patch", "pods", "a", status=409),
        event("patch", "pods", "a"),
        event("patch", "pods", "a"),
        event("delete", "pods", "a"),
        event("create", "events", "run.1"),
        event("create", "pods", "b", agent="adze-bench"),
    ]
    purposes, conflicts = writes.count(events)
    assert purposes == {"status": 2, "create": 1, "gate": 2, "finalizer": 1, "delete": 1, "event": 1}
    assert conflicts == 2


def test_a_reaction_begins_with_the_patch_that_a_watch_showed() -> None:
    events = [
        event("patch", "pods/status", "a", 1.0, agent="kubelet"),
        event("patch", "pods/status", "a", 2.0, agent="kubelet"),  # told of the ended container
        event("create", "pods", "b", 2.03),
        event("patch", "pods/status", "a", 3.0, agent="kubelet"),
    ]
    edges: dict[str, tuple[str, ...]] = {"a": (), "b": ("a",)}
    (reaction,) = writes.reactions(edges, events, created={}, ended={"a": START + 2.02})
    assert round(reaction, 6) == 0.03


def test_reactions_without_an_audit_log_are_those_of_the_watch() -> None:
    edges = {"c": ("a", "b")}
    assert writes.reactions(edges, [], created={"c": 5.0}, ended={"a": 3.0, "b": 4.5}) == [0.5]


def test_an_admission_is_from_the_end_of_a_lease_to_the_next_pod_of_its_key() -> None:
    events = [
        event("delete", "leases.coordination.k8s.io", "adze-k00-0123-0", 1.0),
        event("delete", "leases.coordination.k8s.io", "adze-k01-4567-0", 1.5),
        event("create", "pods", "short-k01-02-a-1-xyz", 1.52),
        event("create", "pods", "short-k00-03-a-1-xyz", 1.6),
        event("create", "pods", "short-k00-03-b-1-xyz", 1.7),
    ]
    assert [round(gap, 6) for gap in admission.reactions(events)] == [0.02, 0.6]


def test_a_decision_among_a_thousand_runs_is_measured() -> None:
    assert "ms CPU (target: 5)" in admission.decisions(60, 5)


def test_metrics_are_summed_by_labels() -> None:
    text = '# HELP x\nx_total{method="GET",code="200"} 3.0\nx_total{method="GET",code="404"} 1\nx_total{method="PUT"} 9'
    assert writes.total(text, "x_total", method="GET") == 4
    assert writes.total(text, "y_total") is None


def test_figures_per_step_and_misses() -> None:
    (chain,) = (scenario for scenario in scenarios.ALL if scenario.name == "chain")
    adze = [Measure(12.0, cpu=0.02, purposes={"status": 11, "create": 30}, reactions=[0.01, 0.03])]
    some = table.figures(chain, adze, [Measure(10.0)], audited=True)
    assert (some["ratio"], some["writes"], some["cpu"], some["p50"], some["p99"]) == (1.2, 4.1, 2.0, 10.0, 30.0)
    assert table.misses(chain, some) == {"ratio", "writes"}
    assert "1.200!" in table.render([(chain, some)])


def test_bare_pods_are_nobodys() -> None:
    pods = scenarios.Scenario("x", scenarios.DIAMOND).pods("run", "bench")
    assert list(pods) == ["a", "b", "c", "d"]
    for pod in pods.values():
        assert not {"finalizers", "ownerReferences"} & pod["metadata"].keys()
        assert "schedulingGates" not in pod["spec"]
