"""Runs the tutorial: files from its YAML blocks, commands from its console blocks, whose output is compared."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
PATIENCE = 180.0
CLUSTER = "## On a cluster"


def blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """Language, content, and the paragraph before each block."""
    for found in re.finditer(r"([^\n]*)\n\n```(\w+)\n(.*?)^```$", text, re.M | re.S):
        yield found[2], found[3], found[1]


def write_files(folder: Path) -> None:
    """The YAML blocks, under the names that the text before them gives."""
    for language, content, before in blocks(PAGE):
        if language == "yaml":
            (name,) = re.findall(r"into `([-\w]+\.yaml)`", before)
            (folder / name).write_text(content)


def commands(text: str) -> list[tuple[str, str]]:
    """Each command with the output that the page shows."""
    found = []
    for language, content, _ in blocks(text):
        if language == "console":
            for part in re.split(r"^\$ ", content, flags=re.M)[1:]:
                command, _, output = part.partition("\n")
                found.append((command, output))
    return found


def says_what_the_page_shows(command: str, shown: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Run a command; `…` on the page stands for anything."""
    done = subprocess.run(
        ["bash", "-c", f"{command} 2>&1"],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    pattern = ".*".join(map(re.escape, shown.strip().split("…")))
    assert re.fullmatch(pattern, done.stdout.strip(), re.S), f"$ {command}\n{done.stdout}"
