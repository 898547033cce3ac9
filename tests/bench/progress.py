"""Progress lines, on standard error: the table alone goes to standard output."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Print one line."""
    print(f"[bench] {text}", file=sys.stderr, flush=True)
