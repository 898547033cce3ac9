"""For steps written in Python: what the step is given, and what it hands over.

    from adze.sdk import context, output

    output({"greeting": f"hello {context()['input']['name']}"})

Nothing but the standard library: this package works by itself wherever it's copied to.
"""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["NotAStep", "Refused", "context", "hand_over", "output"]

INLINE_LIMIT = 4096
"""Bytes of an output that the step writes itself; a larger one goes to the operator."""
LARGEST = 1_000_000
"""Bytes that the operator takes."""
PATIENCE = 120.0
"""Seconds for which a large output is sent again: a restart of the operator takes up to 30."""
TIMEOUT = 30.0
LONGEST_PAUSE = 10.0
"""Seconds for one answer; between two tries at most."""


class NotAStep(RuntimeError):
    """This process isn't a step of a run: the variables that adze sets aren't there."""


class Refused(RuntimeError):
    """The output was not taken, and sending it again wouldn't help, or didn't for PATIENCE seconds."""


def context() -> dict[str, Any]:
    """Input, parents' results, item, run: see docs/workflow-language.md. A parent's large output is read in, too."""
    found: dict[str, Any] = json.loads(Path(_variable("ADZE_CONTEXT")).read_bytes())
    for result in found["steps"].values():
        if "outputFile" in result:
            result["output"] = json.loads(Path(result["outputFile"]).read_bytes())
    return found


def output(value: Mapping[str, Any]) -> None:
    """Hand over a JSON object. Beyond 4096 bytes the step needs `largeOutput: true`.

    TypeError or ValueError if it is none, Refused if it isn't taken.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"an output must be a JSON object, not {type(value).__name__}")
    text = json.dumps(dict(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    hand_over(text.encode())


def hand_over(text: bytes) -> None:
    """Hand over the text of a JSON object as it is."""
    target = Path(_variable("ADZE_OUTPUT"))
    target.write_bytes(text if len(text) <= INLINE_LIMIT else _sent(text))


def _variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise NotAStep(f"{name} is not set: adze sets it in the steps of a run") from None


def _sent(text: bytes) -> bytes:
    """What the operator answers to a large output: the reference that the step writes instead."""
    if "ADZE_OUTPUTS_URL" not in os.environ:
        step = os.environ.get("ADZE_STEP", "")
        raise Refused(
            f"the output has {len(text)} bytes, and {INLINE_LIMIT} are the limit: set largeOutput: true on step {step}"
        )
    if len(text) > LARGEST:
        raise Refused(f"the output has {len(text)} bytes, and {LARGEST} are the limit: hand over an address of it")
    end, pause = time.monotonic() + PATIENCE, 0.5
    while True:
        try:
            return _send(text)
        except urllib.error.HTTPError as error:
            problem = _problem(error)
            if error.code < 500 and error.code not in (408, 429):
                raise Refused(problem) from None
            asked = error.headers.get("Retry-After", "")
            wait = float(asked) if asked.isdigit() else pause
        except OSError as error:  # URLError is one
            problem, wait = str(error), pause
        wait, pause = min(wait, LONGEST_PAUSE), min(pause * 2, LONGEST_PAUSE)
        if time.monotonic() + wait > end:
            raise Refused(f"the output was not taken within {PATIENCE:.0f} s: {problem}")
        time.sleep(wait)


def _send(text: bytes) -> bytes:
    token = Path(_variable("ADZE_OUTPUTS_TOKEN")).read_text().strip()  # each time: tokens rotate
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(_variable("ADZE_OUTPUTS_URL"), data=text, headers=headers)
    # The operator is in the cluster; no proxy leads there.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT) as answer:
        reference: bytes = answer.read()
    return reference


def _problem(error: urllib.error.HTTPError) -> str:
    try:
        detail = json.loads(error.read())["detail"]
    except (OSError, ValueError, KeyError, TypeError):
        detail = error.reason
    return f"{error.code}: {detail}"
