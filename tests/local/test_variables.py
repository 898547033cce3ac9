"""The environment of a container, as the kubelet makes it."""

import base64
from typing import Any

import pytest

from adze.local.variables import Missing, Objects, check, environment, expand

OBJECTS = Objects(
    [
        {"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"level": "7", "colour": "red"}},
        {
            "kind": "Secret",
            "metadata": {"name": "keys"},
            "data": {"token": base64.b64encode(b"s3cret").decode()},
            "stringData": {"plain": "text"},
        },
        {"kind": "Secret"},
    ]
)


def made(*env: dict[str, Any], env_from: tuple[dict[str, Any], ...] = ()) -> dict[str, str]:
    labels = {"adze.dev/step": "a"}
    container = {"env": list(env), "envFrom": list(env_from)}
    return environment(
        {"metadata": {"name": "p", "namespace": "n", "labels": labels}, "spec": {"containers": [container]}},
        OBJECTS,
        {"ADZE_OUTPUT": "/here"},
    )


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(A)", "x1y1"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(NONE)", "$(NONE)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$$$$", "$$"),
    ],
)
def test_names_are_filled_in_as_in_a_pod(text: str, filled: str) -> None:
    assert expand(text, {"A": "1"}) == filled


def test_a_variable_sees_those_before_it() -> None:
    assert made({"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "3"}) == {
        "A": "1",
        "B": "1$(C)",
        "C": "3",
    }


def test_what_lies_elsewhere_here_is_said_to_others_too() -> None:
    there = {"name": "ADZE_OUTPUT", "value": "/dev/termination-log"}
    assert made(there, {"name": "OUT", "value": "$(ADZE_OUTPUT)"}) == {"ADZE_OUTPUT": "/here", "OUT": "/here"}


def test_references_lead_to_the_files_objects() -> None:
    def source(kind: str, name: str, key: str) -> dict[str, Any]:
        return {"name": "X", "valueFrom": {kind: {"name": name, "key": key}}}

    assert made(source("configMapKeyRef", "settings", "level")) == {"X": "7"}
    assert made(source("secretKeyRef", "keys", "token")) == {"X": "s3cret"}
    assert made(source("secretKeyRef", "keys", "plain")) == {"X": "text"}
    assert made(env_from=({"configMapRef": {"name": "settings"}, "prefix": "S_"},)) == {
        "S_level": "7",
        "S_colour": "red",
    }
    field = {"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['adze.dev/step']"}}}
    assert made(field) == {"X": "a"}


@pytest.mark.parametrize(
    ("env", "env_from", "why"),
    [
        ({"secretKeyRef": {"name": "none", "key": "k"}}, {}, "there is no Secret 'none' in the files"),
        ({"secretKeyRef": {"name": "keys", "key": "k"}}, {}, "Secret 'keys' has no key 'k'"),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, {}, "resourceFieldRef can't be followed without a cluster"),
        (None, {"configMapRef": {"name": "none"}}, "there is no ConfigMap 'none' in the files"),
        ({"secretKeyRef": {"name": "none", "key": "k", "optional": True}}, {}, ""),
        (None, {"secretRef": {"name": "none", "optional": True}}, ""),
    ],
)
def test_what_is_missing_is_named_unless_optional(env: Any, env_from: dict[str, Any], why: str) -> None:
    variables = [{"name": "X", "valueFrom": env}] if env else []
    sources = (env_from,) if env_from else ()
    if not why:
        check(variables, sources, OBJECTS)
        assert made(*variables, env_from=sources) == {}
        return
    with pytest.raises(Missing, match=why):
        check(variables, sources, OBJECTS)
    with pytest.raises(Missing, match=why):
        made(*variables, env_from=sources)
