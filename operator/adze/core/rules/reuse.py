"""A step with a cache ends with what a step of an earlier run has handed over under the same key."""

import msgspec

from adze.core import cache, names
from adze.core.draft import Draft
from adze.core.model import ItemStatus, Phase
from adze.core.revision import Node
from adze.core.schema import Mismatch


def reuse(draft: Draft, node: Node, status: ItemStatus) -> bool:
    """Whether the step has ended so. It's asked once, before the step waits or starts; a rerun is meant to do the work.

    EntryNeeded if what is observed doesn't say whether there is an entry.
    """
    if node.cache is None or status.attempts or status.reason is not None or draft.run.spec.rerun_of:
        return False
    name = cache.entry_name(draft.run, node.name, node.cache, draft.values(node))
    if name is None:
        return False
    if name not in draft.observed.entries:
        raise cache.EntryNeeded(name)
    entry = draft.observed.entries[name]
    if entry is None or not cache.valid(entry, node.cache.ttl, draft.now):
        if entry and cache.expired(entry, draft.now):
            draft.stale.append(entry)
        return False
    try:
        output = cache.output(entry)
        if node.output:
            output = node.output.check(output or {}, "output")
    except (ValueError, Mismatch):
        return False
    if output and not draft.has_room(node, output):
        return False
    created = entry.metadata.creation_timestamp
    message = f"handed over in run {entry.data.run}, kept {names.moment(created) if created else ''}"
    draft.put(msgspec.structs.replace(status, phase=Phase.SUCCEEDED, reason="Cached", message=message, output=output))
    return True
