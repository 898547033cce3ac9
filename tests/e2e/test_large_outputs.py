"""Large outputs on the real cluster: handed over by any image, read by expressions and as files, kept and lost."""

import json
from typing import Any

import pytest

from tests.e2e.kube import Kube, Object, run, shell, steps
from tests.installation import NAMESPACE, RELEASE

SEND = (
    'wget -q -O "$ADZE_OUTPUT" --header "Authorization: Bearer $(cat "$ADZE_OUTPUTS_TOKEN")"'
    ' --post-file=big.json "$ADZE_OUTPUTS_URL"'
)
"""What the documentation gives to images without adze in them."""
FILL = (
    "mkdir -p /tmp && cd /tmp && { "
    """printf '{"text": "'; head -c %d /dev/zero | tr '\\0' x; printf '"}'; } > big.json"""
)


def sends(name: str, size: int, more: str = "", **fields: Any) -> Object:
    """A step that hands over {"text": "xxx…"} by wget."""
    return {"name": name, "largeOutput": True, **shell(f"{FILL % size} && {SEND}{more}", **fields)}


def pages(kube: Kube, name: str) -> list[Object]:
    """The ConfigMaps of a run."""
    return kube.list("configmaps", f"adze.dev/run={name}")


def test_any_image_hands_over_almost_a_megabyte_and_children_read_it(kube: Kube) -> None:
    check = """
file=$(sed 's/.*"outputFile":"\\([^"]*\\)".*/\\1/' "$ADZE_CONTEXT")
test "$file" = /adze/outputs/big.json || { echo "$file"; exit 2; }
test $(wc -c < "$file") = 900012 || exit 3
printf '{"size": %s}' "$SIZE" > "$ADZE_OUTPUT"
"""
    child: Object = {"name": "child", "parents": ["big"], "when": "size(steps.big.output.text) > 5", **shell(check)}
    child["env"] = [{"name": "SIZE", "value": "${size(steps.big.output.text)}"}]
    kube.apply(run("r", sends("big", 900_000), child))
    status = kube.ended("r", timeout=120)
    assert status["phase"] == "Succeeded", kube.kubectl("logs", "-l", "adze.dev/run=r").stdout
    assert status["output"] == {"size": 900_000}, "the large one is no part of the run's output"
    big = steps(status)["big"]
    (page,) = pages(kube, "r")
    assert "output" not in big
    assert (big["outputPage"]["name"], big["outputPage"]["bytes"]) == (page["metadata"]["name"], 900_012)
    assert big["outputPage"]["name"] == f"{big['attempts'][0]['pod']}-output"
    assert (page["immutable"], len(page["data"]["outputs.json"])) == (True, 900_012)
    assert len(json.dumps(status["steps"])) < 2000
    kube.must("delete", "workflowrun", "r")
    kube.gone("configmap", page["metadata"]["name"])


def test_a_token_is_good_for_one_pod_while_it_runs_and_for_nothing_else(kube: Kube) -> None:
    command = f"""
{FILL % 10}
try() {{ wget -q -S -O /tmp/said --header "Authorization: Bearer $1" --post-file=$2 "$ADZE_OUTPUTS_URL" 2>&1; }}
token=$(cat "$ADZE_OUTPUTS_TOKEN")
try nonsense big.json | grep -q ' 401 ' || exit 11
try "$token" /etc/hostname | grep -q ' 400 ' || exit 12
try "$token" big.json | grep -q ' 200 ' || exit 13
cp /tmp/said first
try "$token" big.json | grep -q ' 200 ' || exit 14
cmp first /tmp/said || exit 15
echo '{{}}' > other.json
try "$token" other.json | grep -q ' 409 ' || exit 16
head -c 1000100 /dev/zero | tr '\\0' x > huge.json
try "$token" huge.json | grep -q ' 413 ' || exit 17
cp first "$ADZE_OUTPUT"
"""
    kube.apply(run("r", {"name": "a", "largeOutput": True, **shell(command)}))
    status = kube.ended("r", timeout=120)
    assert status["phase"] == "Succeeded", status["message"]
    assert steps(status)["a"]["outputPage"]["bytes"] == 22


def test_the_api_server_does_not_take_the_token_and_any_user_can_read_it(kube: Kube) -> None:
    source = """
import json, os, ssl, urllib.error, urllib.request
token = open(os.environ["ADZE_OUTPUTS_TOKEN"]).read()
found = {"uid": os.getuid(), "length": len(token) > 100}
for name, bearer in (("token", token), ("none", "")):
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    request = urllib.request.Request("https://kubernetes.default.svc/api/v1/namespaces", headers=headers)
    try:
        urllib.request.urlopen(request, timeout=20, context=ssl._create_unverified_context())
    except urllib.error.HTTPError as error:
        found[name] = error.code
json.dump(found, open(os.environ["ADZE_OUTPUT"], "w"))
"""
    kube.apply(run("r", {"name": "a", "largeOutput": True, "script": {"source": source}}))
    status = kube.ended("r", timeout=120)
    # Nobody is somebody to the API server, who may do nothing; a bad token isn't even that.
    assert status.get("output") == {"uid": 65532, "length": True, "token": 401, "none": 403}, status


def test_the_worker_image_has_the_sdk_and_the_command(kube: Kube) -> None:
    first = {
        "name": "first",
        "largeOutput": True,
        "script": {"source": "from adze.sdk import output\noutput({'n': list(range(3000))})"},
    }
    shell_script = """
set -e
python3 -c 'import json; from adze.sdk import context
print(json.dumps({"n": context()["steps"]["first"]["output"]["n"][::-1]}))' | adze output
"""
    second = {
        "name": "second",
        "parents": ["first"],
        "largeOutput": True,
        "script": {"source": shell_script, "command": ["sh"]},
    }
    small = {"name": "small", "script": {"source": "echo '{\"n\": 1}' > f; adze output f", "command": ["sh"]}}
    large = {"name": "large", "script": {"source": "from adze.sdk import output\noutput({'text': 'x' * 5000})"}}
    output = {"last": "${steps.second.output.n[2999]}", "first": "${steps.second.output.n[0]}"}
    kube.apply(run("r", first, second, small, large, output=output))
    status = kube.ended("r", timeout=120)
    found = steps(status)
    assert {name: step["phase"] for name, step in found.items()} == {
        **{"first": "Succeeded", "second": "Succeeded", "small": "Succeeded"},
        "large": "Failed",
    }, status
    assert found["small"]["output"] == {"n": 1}
    assert "set largeOutput: true on step large" in found["large"]["message"]
    assert status["output"] == {"last": 0, "first": 2999}


def test_steps_without_it_have_no_token(kube: Kube) -> None:
    kube.apply(run("r", {"name": "a", **shell('test ! -e /adze/token && test -z "$ADZE_OUTPUTS_URL"')}))
    assert kube.ended("r")["phase"] == "Succeeded"


def test_an_output_that_is_not_there_fails_the_attempt(kube: Kube) -> None:
    forged = {"adze.dev/output": {"sha256": "0" * 64, "bytes": 5}}
    kube.apply(run("r", {"name": "a", "largeOutput": True, **shell(f"echo '{json.dumps(forged)}' > $ADZE_OUTPUT")}))
    status = kube.ended("r")
    assert (status["phase"], steps(status)["a"]["reason"]) == ("Failed", "OutputLost")


def test_a_killed_operator_is_waited_for_and_a_rerun_keeps_the_output(kube: Kube) -> None:
    source = """
import time
from pathlib import Path
from adze.sdk import output
time.sleep(5)
output({"text": "x" * 5000})
"""
    step = {"name": "big", "largeOutput": True, "script": {"source": source}}
    last = {"name": "last", "parents": ["big"], "runIf": "Always", **shell("test $RUN = again")}
    last["env"] = [{"name": "RUN", "value": "${run.name}"}]
    last["when"] = "size(steps.big.output.text) == 5000"
    kube.apply(run("r", step, last))
    kube.step("r", "big", lambda step: step["phase"] == "Running")
    killed = kube.adze.kubectl(
        *("--namespace", NAMESPACE, "delete", "pod", "-l", f"app.kubernetes.io/instance={RELEASE}"),
        *("--grace-period=0", "--force"),
    )
    assert killed.returncode == 0, killed.stderr
    status = kube.ended("r", timeout=180)
    assert [step["phase"] for step in status["steps"]] == ["Succeeded", "Failed"], status
    again: Object = {
        "apiVersion": "adze.dev/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"name": "again"},
        "spec": {"rerunOf": {"run": "r", "from": "Failed"}},
    }
    kube.apply(again)
    kube.step("again", "last", lambda step: bool(step.get("attempts")))
    kube.must("delete", "workflowrun", "r")
    status = kube.ended("again")
    assert status["phase"] == "Succeeded", status
    kept = steps(status)["big"]
    assert (kept["reason"], [page["metadata"]["name"] for page in pages(kube, "again")]) == (
        "Kept",
        [kept["outputPage"]["name"]],
    )


def test_items_hand_over_large_outputs_too(kube: Kube) -> None:
    each = {**sends("each", 50_000), "forEach": "input.numbers"}
    kube.apply(
        run(
            "r",
            each,
            output={"sizes": "${steps.each.output.map(o, size(o.text))}"},
            spec={"input": {"numbers": [1, 2]}},
        )
    )
    status = kube.ended("r", timeout=120)
    assert (status["phase"], status.get("output")) == ("Succeeded", {"sizes": [50_000, 50_000]})
    for pod in kube.list("pods", "adze.dev/run=r"):
        kube.gone("configmap", f"{pod['metadata']['name']}-output")
    assert {page["metadata"]["name"] for page in pages(kube, "r")} == set(steps(status)["each"]["items"]["pages"])


def test_a_failed_attempt_leaves_no_page(kube: Kube) -> None:
    step = sends("a", 5000, more="; test $ADZE_ATTEMPT = 2", retries=1, backoff={"base": "1s"})
    kube.apply(run("r", step))
    status = kube.ended("r", timeout=120)
    first, second = steps(status)["a"]["attempts"]
    assert (status["phase"], first["reason"]) == ("Succeeded", "ExitCode")
    kube.gone("configmap", f"{first['pod']}-output")
    assert [page["metadata"]["name"] for page in pages(kube, "r")] == [f"{second['pod']}-output"]


@pytest.mark.parametrize("kind", [{"sleep": {"duration": "1s"}}, {"workflow": {"name": "other"}}])
def test_only_steps_in_pods_may_have_it(kube: Kube, kind: Object) -> None:
    assert "largeOutput is for container and script steps" in kube.refused(
        run("r", {"name": "a", "largeOutput": True, **kind})
    )


def test_it_may_be_switched_off(kube: Kube) -> None:
    """As the chart's outputs.enabled=false does."""
    operator = (*("--namespace", NAMESPACE), "deployment/" + RELEASE)

    def switch(value: str) -> None:
        for words in (["set", "env", *operator, value], ["rollout", "status", *operator, "--timeout=120s"]):
            done = kube.adze.kubectl(*words, timeout=150)
            assert done.returncode == 0, done.stderr

    url = kube.adze.kubectl(
        "get", *operator, "-o", "jsonpath={.spec.template.spec.containers[0].env[?(@.name=='ADZE_OUTPUTS_URL')].value}"
    ).stdout
    assert url
    switch("ADZE_OUTPUTS_URL-")
    try:
        kube.apply(run("r", sends("a", 10)))
        step = steps(kube.ended("r"))["a"]
        assert (step["phase"], step["reason"]) == ("Failed", "Forbidden")
        assert "outputs.enabled=false" in step["message"]
    finally:
        switch(f"ADZE_OUTPUTS_URL={url}")
