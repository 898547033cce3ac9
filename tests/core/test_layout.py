"""How the code is laid out: rules that a reader may rely on."""

import ast
import operator
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adze.core.kinds import KINDS
from adze.core.model import Step
from adze.core.model.step import KIND_FIELDS

ROOT = Path(__file__).parents[2]
FILES = sorted(path for top in ("operator", "tests", "examples", "worker-image") for path in (ROOT / top).rglob("*.py"))
MAX_FILE = 400
MAX_FUNCTION = 60


def test_operator_is_still_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert operator.add(1, 2) == 3
    assert Path(operator.__file__).parent == Path(ast.__file__).parent
    code = "import operator; print(operator.itemgetter(0)('x'))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "x\n"


def test_there_is_code_to_look_at() -> None:
    assert len(FILES) > 50


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_and_no_function_is_long(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_FILE
    long = [f"{name} has {lines} lines" for name, lines in functions(text) if lines > MAX_FUNCTION]
    assert not long


def functions(text: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_layers_are_kept() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_each_step_kind_is_a_field_and_a_file() -> None:
    assert set(KINDS) <= set(Step.__struct_fields__)
    assert set(KINDS) - {"image"} == set(KIND_FIELDS), "the schema counts them"
    files = {path.stem for path in (ROOT / "operator/adze/core/kinds").glob("*.py")} - {"__init__", "base"}
    assert files == {"container" if name == "image" else name for name in KINDS}
