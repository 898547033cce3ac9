"""The same commands as a plugin: `kubectl adze`. kubectl finds both scripts on the PATH by their names."""

import sys

from click.shell_completion import ShellComplete

from adze.cli import main as adze

NO_FILES = 4
"""kubectl's word for: offer nothing else, no names of files above all."""


def main() -> None:
    """`kubectl-adze`: what `kubectl adze` runs."""
    adze(prog_name="kubectl adze")


def complete() -> None:
    """`kubectl_complete-adze`: prints what may come next, a line each, and how kubectl is to use it."""
    *words, incomplete = sys.argv[1:] or [""]
    for item in ShellComplete(adze, {}, "kubectl adze", "").get_completions(words, incomplete):
        print(f"{item.value}\t{item.help}" if item.help else item.value)
    print(f":{NO_FILES}")
