"""A kubeconfig is read as kubectl reads it, and what is wrong with it is one line."""

import base64
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from adze.cli import exits, main
from adze.cli.kubeconfig import login
from tests.cli.api import CLUSTER, Answer, Api
from tests.cli.test_cluster import OnApi, listed, run

RUNS = rf"{CLUSTER}/workflowruns\?.*"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the person who runs the tests."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def config(path: Path, name: str, **more: Any) -> Path:
    """A kubeconfig with one context, which isn't the current one."""
    document = {
        "clusters": [{"name": name, "cluster": {"server": f"http://{name}.invalid"}}],
        "users": [{"name": name, "user": {"token": f"token-of-{name}"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    path.write_text(yaml.safe_dump({**document, **more}))
    return path


def test_several_files_are_one_and_the_first_current_context_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = [
        config(tmp_path / "a", "a"),
        tmp_path / "missing",
        config(tmp_path / "b", "b", **{"current-context": "b"}),
        config(tmp_path / "c", "c", **{"current-context": "c"}),
    ]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, paths)))
    access = login(None, None)
    assert (access.server, access.context, access.namespace) == ("http://b.invalid", "b", "default")
    assert access.headers()["Authorization"] == "Bearer token-of-b"
    assert login(None, "a").server == "http://a.invalid"


def test_the_usual_place_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    config(tmp_path / ".kube" / "config", "usual", **{"current-context": "usual"})
    assert login(None, None).context == "usual"


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no file": (lambda path: None, "there is no kubeconfig"),
    "not YAML": (lambda path: path.write_text("a: ["), "is no usable kubeconfig"),
    "a text": (lambda path: path.write_text("hello"), "is no usable kubeconfig"),
    "empty": (lambda path: path.write_text(""), "is no usable kubeconfig"),
    "no context": (lambda path: config(path, "a"), "has no current context"),
    "another context": (
        lambda path: config(path, "staging", **{"current-context": "stagin"}),
        "there is no context 'stagin' in kubeconfig",
    ),
    "no cluster": (
        lambda path: config(path, "a", clusters=[], **{"current-context": "a"}),
        "is no usable kubeconfig: Invalid kube-config file. Expected object with name a",
    ),
}


@pytest.mark.parametrize(("write", "message"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_is_one_line(tmp_path: Path, write: Callable[[Path], Any], message: str) -> None:
    path = tmp_path / "k"
    write(path)
    with pytest.raises(exits.Unreachable) as caught:
        login(str(path), None)
    assert message in caught.value.message
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def plugin(tmp_path: Path, code: str) -> dict[str, Any]:
    """A user who logs in by a program."""
    script = tmp_path / "plugin.py"
    script.write_text(code)
    version = "client.authentication.k8s.io/v1"
    return {
        "exec": {"apiVersion": version, "command": sys.executable, "args": [str(script)], "interactiveMode": "Never"}
    }


def test_a_login_plugin_gives_the_token(api: Api, on_api: OnApi, tmp_path: Path) -> None:
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "from-the-plugin"},
    }
    path = api.kubeconfig(tmp_path / "k", plugin(tmp_path, f"print({json.dumps(json.dumps(credential))})"))
    assert login(path, None).headers()["Authorization"] == "Bearer from-the-plugin"


def test_a_login_plugin_that_fails_is_told_with_its_words(api: Api, tmp_path: Path) -> None:
    path = api.kubeconfig(tmp_path / "k", plugin(tmp_path, "raise SystemExit('please run: cloud login')"))
    with pytest.raises(exits.Forbidden, match=r"can't log in with context 'here': .*please run: cloud login"):
        login(path, None)


def test_a_password_is_sent(api: Api, tmp_path: Path) -> None:
    path = api.kubeconfig(tmp_path / "k", {"username": "ada", "password": "secret"})
    assert login(path, None).headers()["Authorization"] == f"Basic {base64.b64encode(b'ada:secret').decode()}"


def test_a_user_may_act_as_another(api: Api, tmp_path: Path) -> None:
    path = api.kubeconfig(tmp_path / "k", {"as": "jane", "as-groups": ["dev", "ops"], "as-user-extra": {"why": ["x"]}})
    headers = login(path, None).headers()
    assert headers["Impersonate-User"] == "jane"
    assert headers.getlist("Impersonate-Group") == ["dev", "ops"]
    assert headers["Impersonate-Extra-why"] == "x"


def test_a_proxy_is_gone_through(api: Api, tmp_path: Path) -> None:
    api.on("GET", rf"http://cluster\.invalid{CLUSTER}.*|{RUNS}", listed(run("order-1")))
    proxy = api.server
    api.server = "http://cluster.invalid"
    path = api.kubeconfig(tmp_path / "k", **{"proxy-url": proxy})
    done = CliRunner().invoke(main, ["get", "runs", "-o", "name", "--kubeconfig", path])
    assert done.stdout == "workflowrun.adze.dev/order-1\n", done.stderr
    assert api.asked[0][3]["Host"] == "cluster.invalid"


def test_the_namespace_is_that_of_the_context_or_of_the_option(api: Api, on_api: OnApi) -> None:
    api.on("GET", ".*", Answer(listed().body))
    on_api("get", "runs", "-o", "name")
    on_api("get", "runs", "-o", "name", "-n", "other")
    on_api("get", "runs", "-o", "name", "-A")
    prefix = "/apis/adze.dev/v1alpha1"
    places = [path.removeprefix(prefix) for _, path, _, _, _ in api.asked]
    assert places == ["/namespaces/shop/workflowruns", "/namespaces/other/workflowruns", "/workflowruns"]


def test_what_to_install_is_said_where_the_official_client_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)
    with pytest.raises(exits.Unreachable, match=r"pip install 'adze-workflows\[cluster\]'"):
        login(None, None)
