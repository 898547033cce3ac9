"""What the tutorial shows on a cluster happens."""

import shutil
from pathlib import Path

from tests.cli.tutorial import CLUSTER, PAGE, commands, says_what_the_page_shows, write_files
from tests.e2e.kube import Kube


def test_the_commands_say_what_the_page_shows(kube: Kube, tmp_path: Path) -> None:
    write_files(tmp_path)
    real = shutil.which("kubectl", path=kube.adze.environment["PATH"])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kubectl").write_text(f'#!/bin/sh\nexec {real} --namespace {kube.namespace} "$@"\n')
    (tmp_path / "bin" / "kubectl").chmod(0o755)
    environment = {**kube.adze.environment, "PATH": f"{tmp_path / 'bin'}:{kube.adze.environment['PATH']}"}
    for command, shown in commands(PAGE.partition(CLUSTER)[2]):
        says_what_the_page_shows(command, shown, tmp_path, environment)
