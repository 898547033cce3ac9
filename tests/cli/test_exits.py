"""The exit codes are documented once, and as they are."""

import re

import pytest

from adze.cli import exits
from tests.cli.command import ROOT


def test_the_page_has_each_code_with_its_meaning() -> None:
    page = (ROOT / "docs" / "runs.md").read_text().partition("\n## In scripts")[2].partition("\n## ")[0]
    rows = {int(code): meaning for code, meaning in re.findall(r"^\| (\d+) \| (.*) \|$", page, re.M)}
    assert rows == exits.MEANINGS


@pytest.mark.parametrize("failure", exits.Failure.__subclasses__())
def test_each_failure_has_a_documented_code_and_one_line(failure: type[exits.Failure]) -> None:
    assert failure("two\nlines").message == "two lines"
    assert failure.exit_code in exits.MEANINGS


@pytest.mark.parametrize(
    ("word", "offered"),
    [("rnus", "; did you mean runs?"), ("flow", "; did you mean workflows?"), ("zzz", ""), ("", "")],
)
def test_only_what_comes_close_is_offered(word: str, offered: str) -> None:
    assert exits.did_you_mean(word, ["runs", "workflows"] if word else []) == offered
