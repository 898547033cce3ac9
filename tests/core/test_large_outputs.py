"""Large outputs: the step writes a reference, the planner looks at what it refers to (docs/adr/0029)."""

from typing import Any

import msgspec
import pytest

from adze.core import fanout, manifest, outputs
from adze.core import revision as revisions
from adze.core.calls import CreatePage, DropPage, ReadPage, ReadRun, WriteStatus
from adze.core.model import RerunOf, RunSpec
from adze.core.policy import Policy
from adze.core.revision import InvalidWorkflow, compile_workflow
from adze.core.values import Values, gathered
from tests.builders import Drive, failed, named, run, step, succeeded, workflow
from tests.core import test_cache
from tests.core.dialogue import NOT_FOUND, UNKNOWN, Dialogue, reconcile

POLICY = Policy(outputs_url="http://outputs.example/v1/outputs")
BIG = {"text": "x" * 10_000, "urls": ["a", "b"]}


@pytest.fixture(autouse=True)
def enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that takes large outputs."""
    monkeypatch.setattr("tests.builders.POLICY", POLICY)
    monkeypatch.setattr("tests.core.dialogue.POLICY", POLICY)


def large(name: str = "a", **fields: Any) -> Any:
    return step(name, large_output=True, **fields)


def reference(output: Any) -> dict[str, Any]:
    return outputs.refer(msgspec.json.encode(output))


def hand_over(drive: Drive, part: str, output: Any, found: Any = ...) -> Drive:
    """A step hands over an output; `found` is what is in the page then."""
    drive.pages[f"{drive.attempt(part).pod}-output"] = output if found is ... else found
    return drive.succeed(part, output=reference(output))


def drive(*steps: Any, **fields: Any) -> Drive:
    return Drive(workflow(large(), *steps, **fields)).until_quiet()


def test_the_status_says_where_the_output_is() -> None:
    one = hand_over(drive(), "a", BIG)
    page = one.step("a").output_page
    assert page is not None
    assert (page.name, page.bytes) == (f"{one.attempt('a').pod}-output", len(msgspec.json.encode(BIG)))
    assert (one.step("a").output, one.phase, one.run.status.output) == (None, "Succeeded", None)
    assert one.status_size < 2000


def test_expressions_read_it() -> None:
    one = drive(
        step("b", parents=["a"], args=["${size(steps.a.output.text)}"], when="size(steps.a.output.urls) == 2"),
        step("c", parents=["a"], when="steps.a.output.urls[0] == 'z'"),
        step("d", parents=["a"], for_each="steps.a.output.urls"),
        output={"urls": "${steps.a.output.urls}"},
    )
    hand_over(one, "a", BIG)
    assert one.live == {"b", "d[0]", "d[1]"}
    assert one.step("c").phase == "Skipped"
    one.succeed("b", "d[0]", "d[1]")
    assert one.run.status.output == {"urls": ["a", "b"]}


def test_small_outputs_stay_as_they_are_and_join_the_runs_output() -> None:
    one = drive().succeed("a", output={"n": 1})
    assert (one.step("a").output, one.step("a").output_page, one.run.status.output) == ({"n": 1}, None, {"n": 1})


def test_without_large_output_a_reference_is_data() -> None:
    one = Drive(workflow(step("a"))).until_quiet().succeed("a", output=reference(BIG))
    assert one.step("a").output == reference(BIG)


@pytest.mark.parametrize(
    ("found", "reason", "message"),
    [
        (None, "OutputLost", "was deleted or replaced"),
        (msgspec.UNSET, "OutputInvalid", "adze.dev/output"),
    ],
)
def test_what_is_not_there_fails_the_attempt(found: Any, reason: str, message: str) -> None:
    one = drive()
    if found is None:
        hand_over(one, "a", BIG, None)
    else:
        one.succeed("a", output={"adze.dev/output": {"sha256": "../secret", "bytes": 5}})
    assert (one.step("a").phase, one.step("a").reason) == ("Failed", reason)
    assert message in (one.step("a").message or "")


def test_a_failed_attempt_is_retried_and_its_page_is_not_looked_at() -> None:
    one = (
        Drive(workflow(large(retries=1))).until_quiet().fail("a", message=msgspec.json.encode(reference(BIG)).decode())
    )
    assert one.step("a").reason == "Backoff"
    one.until_wake()
    hand_over(one, "a", BIG)
    page = one.step("a").output_page
    assert page is not None
    assert page.name == f"{one.attempt('a').pod}-output"
    assert one.attempt("a").number == 2


def test_the_schema_is_held_against_it() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    one = hand_over(Drive(workflow(large(output=schema))).until_quiet(), "a", BIG)
    assert (one.step("a").reason, "'n' is a required property" in (one.step("a").message or "").replace('"', "'")) == (
        "OutputInvalid",
        True,
    )


def test_defaults_of_the_schema_make_a_page_of_the_runs_own() -> None:
    schema = {"properties": {"n": {"type": "integer", "default": 7}}}
    one = Drive(workflow(large(output=schema), step("b", parents=["a"], args=["${steps.a.output.n}"]))).until_quiet()
    hand_over(one, "a", BIG)
    page = one.step("a").output_page
    assert page is not None
    assert one.pages == {page.name: BIG | {"n": 7}}
    assert page.sha256 == outputs.digest(msgspec.json.encode(one.pages[page.name]))
    assert one.live == {"b"}


def test_the_large_outputs_of_a_run_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "TOGETHER", 15_000)
    one = drive(large("b"))
    hand_over(hand_over(one, "a", BIG), "b", BIG)
    assert one.phases == {"a": "Succeeded", "b": "Failed"}
    assert one.step("b").reason == "OutputTooLarge"


def test_children_find_it_as_a_file() -> None:
    one = drive(step("b", parents=["a"]))
    hand_over(one, "a", BIG)
    pod = manifests(one)["b"]
    assert one.step("a").output_page is not None
    sources = pod["spec"]["volumes"][0]["projected"]["sources"]
    assert [source["configMap"] for source in sources[1:]] == [
        {"name": one.step("a").output_page.name, "items": [{"key": "outputs.json", "path": "outputs/a.json"}]}
    ]
    context = msgspec.json.decode(pod["metadata"]["annotations"]["adze.dev/context"])
    assert context["steps"]["a"] == {"outputFile": "/adze/outputs/a.json", "phase": "Succeeded"}


def manifests(one: Drive) -> dict[str, Any]:
    """The Pods of the open attempts, as another process would make them."""
    frozen = revisions.of_run(one.run.status.revision or "", one.run.status.workflow_spec or {})
    made = {}
    for name in one.live:
        values = Values(one.run, {}, {s.name: s for s in one.run.status.steps}, frozen.lists, one.pages)
        made[name] = manifest.build(one.run, frozen.node(name), one.attempt(name), values, POLICY)
    return made


def test_the_pod_has_a_token_for_the_operator_and_no_other() -> None:
    pod = manifests(drive())["a"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    sources = pod["spec"]["volumes"][0]["projected"]["sources"]
    assert sources[1] == {"serviceAccountToken": {"audience": "adze.dev", "expirationSeconds": 3600, "path": "token"}}
    env = {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}
    assert env["ADZE_OUTPUTS_URL"] == POLICY.outputs_url
    assert env["ADZE_OUTPUTS_TOKEN"] == "/adze/token"
    plain = manifests(Drive(workflow(step("a"))).until_quiet())["a"]
    assert "downwardAPI" in plain["spec"]["volumes"][0]
    assert not any("OUTPUTS" in one["name"] for one in plain["spec"]["containers"][0]["env"])


def test_an_installation_without_a_receiver_refuses_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.builders.POLICY", Policy())
    one = drive()
    assert (one.step("a").phase, one.step("a").reason) == ("Failed", "Forbidden")
    assert "outputs.enabled=false" in (one.step("a").message or "")


@pytest.mark.parametrize("kind", [{"sleep": {"duration": "1s"}}, {"workflow": {"name": "w"}}])
def test_only_steps_in_pods_may_have_it(kind: dict[str, Any]) -> None:
    with pytest.raises(InvalidWorkflow, match=r"largeOutput: a step with \w+ can't have it"):
        compile_workflow(workflow(large(**kind)))


# Items


def test_items_outputs_become_part_of_their_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "INLINE_LIMIT", 12_000)
    spec = workflow(large(for_each="input.list"))
    one = Drive(spec, input={"list": [1, 2]}).until_quiet()
    hand_over(one, "a[0]", BIG)
    hand_over(one, "a[1]", {"n": 1})
    assert one.phase == "Succeeded"
    assert one.step("a").output_page is None
    assert gathered(one.items("a"), one.pages) == [BIG, {"n": 1}]
    assert set(one.pages) == set(one.items("a").pages), "the items' own pages are gone"


def test_an_item_has_less_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "PAGE_LIMIT", 9_000)
    one = Drive(workflow(large(for_each="input.list")), input={"list": [1]}).until_quiet()
    hand_over(one, "a[0]", BIG)
    assert one.items("a").failures[0].reason == "OutputTooLarge"


# The protocol


def ended(output: Any = BIG) -> tuple[Drive, Dialogue]:
    """A pass in which a step has ended that handed its output over."""
    one = drive(step("b", parents=["a"]))
    pods = dict(one.pods)
    name = one.attempt("a").pod
    pods[name] = succeeded(pods[name], reference(output))
    return one, reconcile(one.run, pods=named(pods.values()))


def test_the_page_is_read_before_the_outcome_is_written() -> None:
    one, dialogue = ended()
    call = dialogue.call(ReadPage)
    assert call == ReadPage("shop", f"{one.attempt('a').pod}-output", outputs.digest(msgspec.json.encode(BIG)))
    dialogue.answer(BIG)
    assert dialogue.call(WriteStatus).status.steps[0].output_page.name == call.name


def test_the_page_of_a_failed_attempt_is_dropped_once_that_is_written() -> None:
    one = Drive(workflow(large(retries=1))).until_quiet()
    pods = dict(one.pods)
    name = one.attempt("a").pod
    pods[name] = failed(pods[name], message=msgspec.json.encode(reference(BIG)).decode())
    dialogue = reconcile(one.run, pods=named(pods.values()))
    assert dialogue.kinds == ["WriteStatus"]
    dialogue.accept()
    while dialogue.kinds and "DropPage" not in dialogue.kinds:
        dialogue.nothing()
    assert dialogue.call(DropPage) == DropPage("shop", f"{name}-output")


def test_a_page_that_can_not_be_read_now_decides_nothing() -> None:
    dialogue = ended()[1].answer(UNKNOWN)
    assert dialogue.heard == ["ReadPage"]
    assert dialogue.result is not None
    assert dialogue.result.again


def test_a_page_that_is_gone_is_an_outcome() -> None:
    status = ended()[1].answer(NOT_FOUND).call(WriteStatus).status.steps[0]
    assert (status.phase, status.reason) == ("Failed", "OutputLost")


@pytest.mark.parametrize(
    ("text", "sha256", "found"),
    [
        ('{"a": 1}', None, {"a": 1}),
        ('{"a": 1}', outputs.digest(b'{"a": 1}'), {"a": 1}),
        ('{"a": 2}', outputs.digest(b'{"a": 1}'), None),
        ("[1]", None, None),
        ("", None, None),
    ],
)
def test_a_page_holds_what_was_written_or_nothing(text: str, sha256: str | None, found: Any) -> None:
    assert outputs.read(text, sha256) == found


def test_a_rerun_has_its_own_copy() -> None:
    one = drive(step("b", parents=["a"]))
    hand_over(one, "a", BIG).fail("b")
    again = run("hello", name="hello-2", uid="new-uid")
    again = msgspec.structs.replace(again, spec=RunSpec(rerun_of=RerunOf(run="hello-1", from_="Failed")))
    dialogue = reconcile(again)
    dialogue.call(ReadRun)
    dialogue.answer(one.run)
    source = one.step("a").output_page
    assert source is not None
    assert dialogue.call(ReadPage) == ReadPage("shop", source.name, source.sha256)
    dialogue.answer(BIG)
    copy = dialogue.call(CreatePage).manifest
    assert copy["metadata"]["ownerReferences"][0]["uid"] == "new-uid"
    dialogue.nothing()
    page = dialogue.call(WriteStatus).status.steps[0].output_page
    assert (page.name, page.sha256) == (copy["metadata"]["name"], outputs.digest(copy["data"]["outputs.json"].encode()))


@pytest.mark.parametrize(("size", "cached"), [(10_000, 1), (70_000, 0)])
def test_only_small_ones_are_cached(size: int, cached: int) -> None:
    one = test_cache.Drive(workflow(large(cache={"key": "k"}))).until_quiet()
    output = {"text": "x" * size}
    hand_over(one, "a", output)
    entries = [entry for entry in one.entries.values() if entry]
    assert len(entries) == cached
    assert all(msgspec.json.decode(entry.data.output) == output for entry in entries)
