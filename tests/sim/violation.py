"""What the checker raises."""


class Violation(Exception):
    """A predicate that doesn't hold."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
