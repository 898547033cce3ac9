"""An API server in memory: the few verbs that events and the gateway use, with faults on demand."""

import copy
from collections.abc import Callable
from typing import Any

import msgspec

from adze.shell.cluster import ApiError

Object = dict[str, Any]
Key = tuple[str, str, str]


def error(code: int, reason: str, message: str = "") -> ApiError:
    """A refusal of the API server; code 0 is no answer."""
    return ApiError(code, reason, message or reason)


class FakeCluster:
    """Objects by (plural, namespace, name). `before` and `after` see each call and may raise."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.calls: list[tuple[str, str]] = []
        self.version = 0
        self.before: Callable[[str, str], None] = lambda method, path: None
        self.after: Callable[[str, str], None] = lambda method, path: None
        self.answers: dict[str, Callable[[Object], Object]] = {}
        self.changed: Callable[[Object], None] = lambda item: None

    def add(self, plural: str, namespace: str, name: str, **fields: Any) -> Object:
        """An object, as if created by a user."""
        self.version += 1
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": f"{plural}-{name}-{self.version}",
            "generation": 1,
            "resourceVersion": str(self.version),
            "creationTimestamp": "2026-03-01T12:00:00Z",
        }
        metadata |= fields.pop("metadata", {})
        item = {"metadata": metadata, **fields}
        self.objects[plural, namespace, name] = item
        return item

    def of(self, plural: str) -> list[Object]:
        """The objects of a kind."""
        return [item for (kind, _, _), item in self.objects.items() if kind == plural]

    async def call(
        self, method: str, path: str, body: Any = None, kind: str = "application/json", **query: str
    ) -> bytes:
        """As Cluster.call."""
        self.calls.append((method, path))
        self.before(method, path)
        answer = self._do(method, path, copy.deepcopy(body), query.get("labelSelector", ""))
        self.after(method, path)
        return msgspec.json.encode(answer)

    def _do(self, method: str, path: str, body: Any, selector: str = "") -> Any:
        if answered := self.answers.get(path):
            return answered(body)
        parts = path.split("/")
        place = parts.index("namespaces")
        namespace, plural, *rest = parts[place + 1 :]
        if method == "POST":
            metadata = body["metadata"]
            name = metadata.get("name") or f"{metadata['generateName']}{self.version}"
            if (plural, namespace, name) in self.objects:
                raise error(409, "AlreadyExists")
            body.pop("metadata")
            return self.add(plural, namespace, name, metadata={**metadata, "namespace": namespace}, **body)
        if not rest:
            items = [i for (k, n, _), i in self.objects.items() if (k, n) == (plural, namespace) and _has(i, selector)]
            return {"metadata": {}, "items": items}
        item = self.objects.get((plural, namespace, rest[0]))
        if item is None:
            raise error(404, "NotFound")
        if method == "PATCH":
            self._patch(item, body, rest[1:] == ["status"])
        if method == "DELETE":
            if (body or {}).get("preconditions", {}).get("uid", item["metadata"]["uid"]) != item["metadata"]["uid"]:
                raise error(409, "Conflict")
            del self.objects[plural, namespace, rest[0]]
        return item

    def _patch(self, item: Object, body: Object, of_status: bool) -> None:
        for field, value in body.get("metadata", {}).items():
            if item["metadata"][field] != value:
                raise error(409, "Conflict")
        part = "status" if of_status else "spec"
        item[part] = {**item.get(part, {}), **body[part]}
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self.changed(item)


def _has(item: Object, selector: str) -> bool:
    """Whether an object bears the labels; one without a value must merely exist."""
    labels = item["metadata"].get("labels", {})
    wanted = [term.partition("=") for term in selector.split(",") if term]
    return all(name in labels and (not equals or labels[name] == value) for name, equals, value in wanted)
