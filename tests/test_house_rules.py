"""The limits of the code base that no linter knows."""

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("dtm", "engine", "backends", "providers")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")) if "templates" not in path.parts]


def functions(path: Path) -> list[tuple[str, int]]:
    """Names and lengths in lines."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            found.append((node.name, node.end_lineno - node.lineno + 1))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_stay_small_and_flat(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= 400
    assert [(name, length) for name, length in functions(path) if length > 40] == []
    assert "TYPE_CHECKING" not in text


def test_half_of_all_functions_have_at_most_ten_lines() -> None:
    assert statistics.median(length for path in SOURCES for _, length in functions(path)) <= 10


@pytest.mark.parametrize("package", ["engine", "backends", "providers"])
def test_the_top_level_packages_hold_no_code_of_their_own(package: str) -> None:
    """Another distribution may overwrite these files: nothing may be lost then."""
    assert (ROOT / package / "__init__.py").read_text("utf-8").strip() == ""


def test_protocols_have_at_most_seven_members() -> None:
    tree = ast.parse((ROOT / "engine" / "ports.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
            assert len(methods) <= 7, node.name


@pytest.mark.parametrize("command", [["version"], ["--help"], ["plan", "--help"]])
def test_starting_up_loads_nothing_heavy(command: list[str]) -> None:
    script = (
        "import sys; from dtm.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'boto3', 'kubernetes', 'deepdiff', 'tenacity', 'yaml', 'rich.table', 'rich.console', 'importlib.metadata'}\n"
        "loaded = {m for m in sys.modules if m in heavy or m.startswith('providers.')}\n"
        "print(*loaded, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
