"""Which runs wait for events, by the types that they wait for."""

from adze.core.events import matches


class Listeners:
    """Knows for each run what it waits for."""

    def __init__(self) -> None:
        self._patterns: dict[str, tuple[str, frozenset[str]]] = {}

    def listen(self, uid: str, namespace: str, patterns: frozenset[str] | None) -> bool:
        """A run waits for these types from now on, None: as before. Whether that is news.

        What came between the LIST that the run has made and now is found by another look.
        """
        if patterns is None or patterns == self._patterns.get(uid, ("", frozenset()))[1]:
            return False
        if not patterns:
            self.forget(uid)
            return False
        self._patterns[uid] = namespace, patterns
        return True

    def forget(self, uid: str) -> None:
        """A run waits no more."""
        self._patterns.pop(uid, None)

    def of(self, namespace: str, kind: str) -> list[str]:
        """The runs that an event of that type may mean."""
        known = self._patterns.items()
        return [
            uid for uid, (place, wanted) in known if place == namespace and any(matches(one, kind) for one in wanted)
        ]
