"""Leases of idempotency keys and allowances where there is one run: a file, so that a resumed run has them again."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec

from adze.core import calls
from adze.core.calls import Problem
from adze.core.model import Lease
from adze.local.slots import EXISTS, NOT_FOUND
from adze.local.state import Folder


class Leases:
    """The Leases by name, and the calls' verbs on them. No other process writes them."""

    def __init__(self, folder: Folder, version: Callable[[], str]) -> None:
        """`version` gives the next resourceVersion."""
        self._folder = folder
        self._version = version
        self._manifests = folder.load("leases", dict) if folder.path.joinpath("leases.json").exists() else {}
        self._leases = {name: self._lease(manifest) for name, manifest in self._manifests.items()}
        self.verbs: dict[type, Callable[[Any], Any]] = {
            calls.CreateLease: lambda call: EXISTS if _name(call) in self._leases else self._put(call.manifest),
            calls.ReadLease: lambda call: self._leases.get(call.name, NOT_FOUND),
            calls.ReplaceLease: lambda call: self._put(call.manifest),
        }

    def _lease(self, manifest: dict[str, Any]) -> Lease:
        lease = msgspec.convert(manifest, Lease)
        metadata = msgspec.structs.replace(lease.metadata, uid=str(uuid4()), resource_version=self._version())
        return msgspec.structs.replace(lease, metadata=metadata)

    def _put(self, manifest: dict[str, Any]) -> Lease | Problem:
        name = manifest["metadata"]["name"]
        self._manifests[name] = manifest
        self._folder.save("leases", self._manifests)
        self._leases[name] = self._lease(manifest)
        return self._leases[name]


def _name(call: calls.CreateLease) -> str:
    name: str = call.manifest["metadata"]["name"]
    return name
