"""`adze output` where nothing else of adze is: the worker image has it as the command `adze`."""

import json
import sys
from pathlib import Path

from adze.sdk import NotAStep, Refused, hand_over

USAGE = """\
Usage: adze output [FILE]

Hand over this step's output: a JSON object from FILE, or from stdin. Beyond 4096 bytes the step needs
`largeOutput: true`."""


def main(words: list[str]) -> int:
    """Exit code: 0 done, 1 not taken, 2 something is wrong with what was given."""
    if {"-h", "--help"} & set(words):
        print(USAGE)
        return 0
    if words[:1] != ["output"] or len(words) > 2:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        hand_over(read(words[1] if len(words) > 1 else "-"))
    except (OSError, ValueError, NotAStep) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except Refused as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def read(file: str) -> bytes:
    """The text of a JSON object in a file, or on stdin; ValueError if it's none, OSError if it can't be read."""
    text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("the output is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"the output is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("the output must be a JSON object")
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
