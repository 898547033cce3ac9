"""The environment of a container as the kubelet makes it: references followed, `$(NAME)` filled in."""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

HOST = "localhost"
"""Name of the only node."""


class Missing(LookupError):
    """A reference to what isn't there."""


class Objects:
    """The ConfigMaps and Secrets that came with the files."""

    def __init__(self, objects: Iterable[Mapping[str, Any]] = ()) -> None:
        self._data = {(item.get("kind"), item["metadata"]["name"]): _data(item) for item in objects if _named(item)}

    def value(self, kind: str, reference: Mapping[str, Any]) -> str | None:
        """A key's text; None if it's optional and not there."""
        data = self.all(kind, reference)
        key = reference.get("key", "")
        if data is not None and key in data:
            return data[key]
        if reference.get("optional"):
            return None
        raise Missing(f"{kind} {reference.get('name')!r} has no key {key!r}")

    def all(self, kind: str, reference: Mapping[str, Any]) -> Mapping[str, str] | None:
        """All of an object; None if it's optional and not there."""
        found = self._data.get((kind, reference.get("name")))
        if found is None and not reference.get("optional"):
            raise Missing(f"there is no {kind} {reference.get('name')!r} in the files")
        return found


def _named(item: Mapping[str, Any]) -> bool:
    metadata = item.get("metadata")
    return isinstance(metadata, Mapping) and isinstance(metadata.get("name"), str)


def _data(item: Mapping[str, Any]) -> dict[str, str]:
    data = {key: str(value) for key, value in (item.get("data") or {}).items()}
    if item.get("kind") == "Secret":
        data = {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}
    return data | {key: str(value) for key, value in (item.get("stringData") or {}).items()}


_SOURCES = {"secretKeyRef": "Secret", "configMapKeyRef": "ConfigMap"}
_ALL_OF = {"secretRef": "Secret", "configMapRef": "ConfigMap"}


def check(env: Iterable[Mapping[str, Any]], env_from: Iterable[Mapping[str, Any]], objects: Objects) -> None:
    """Missing if a reference can't be followed here."""
    for _ in _everything(env_from, objects):
        pass
    for variable in env:
        source = variable.get("valueFrom")
        if source and "fieldRef" not in source:
            _follow(source, {}, objects)


def environment(manifest: Mapping[str, Any], objects: Objects, own: Mapping[str, str]) -> dict[str, str]:
    """Name to text for the Pod's container, with `own` in place of its values; Missing if a reference leads nowhere."""
    container = manifest["spec"]["containers"][0]
    values = dict(_everything(container.get("envFrom", ()), objects))
    for variable in container.get("env", ()):
        if source := variable.get("valueFrom"):
            text = _follow(source, manifest, objects)
            if text is not None:
                values[variable["name"]] = text
        else:
            values[variable["name"]] = own.get(variable["name"], expand(variable.get("value", ""), values))
    return values


def _everything(sources: Iterable[Mapping[str, Any]], objects: Objects) -> Iterator[tuple[str, str]]:
    for source in sources:
        for word, kind in _ALL_OF.items():
            if word in source:
                data = objects.all(kind, source[word]) or {}
                yield from ((source.get("prefix", "") + key, text) for key, text in data.items())


def _follow(source: Mapping[str, Any], manifest: Mapping[str, Any], objects: Objects) -> str | None:
    for word, kind in _SOURCES.items():
        if word in source:
            return objects.value(kind, source[word])
    if "fieldRef" in source:
        return _field(source["fieldRef"].get("fieldPath", ""), manifest)
    raise Missing(f"a {next(iter(source), 'valueFrom')} can't be followed without a cluster")


def _field(path: str, manifest: Mapping[str, Any]) -> str:
    metadata = manifest["metadata"]
    if found := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str(metadata.get(found[1], {}).get(found[2], ""))
    known = {"metadata.name": metadata["name"], "metadata.namespace": metadata["namespace"], "spec.nodeName": HOST}
    addresses = dict.fromkeys(("status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs"), "127.0.0.1")
    return str((known | addresses).get(path, ""))


def expand(text: str, values: Mapping[str, str]) -> str:
    """`$(NAME)` filled in where it's known; `$$` is a literal `$`."""
    return re.sub(r"\$\$|\$\(([^)]+)\)", lambda found: "$" if found[0] == "$$" else _value(found, values), text)


def _value(found: re.Match[str], values: Mapping[str, str]) -> str:
    return values.get(found[1], found[0])


def words(texts: Sequence[str] | None, values: Mapping[str, str]) -> list[str]:
    """A command or its arguments, filled in."""
    return [expand(text, values) for text in texts or ()]
