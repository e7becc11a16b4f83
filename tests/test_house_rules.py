"""The limits of the code base that no linter checks."""

import ast
import io
import re
import subprocess
import sys
import textwrap
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("dtm", "engine", "backends", "providers")
TEMPLATE_FOLDERS = {"templates", "samples"}
PYTHON = re.compile(r"(?:from|import|with|for|def|class) |@|[\w., ]+ = |[\w.]+\(")
"""The start of an indented block in a docstring that is code.

Other blocks are diagrams and lists.
"""
SOURCES = [
    path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if not TEMPLATE_FOLDERS & set(path.parts)
]

TOKENS = 250
"""The most tokens of a function, without comments and docstrings, so that layout does not count."""
PARAMETERS = 6
METHODS, ATTRIBUTES = 20, 12
LINES = 600

NO_CODE = {
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.COMMENT,
    tokenize.STRING,
}


@cache
def parsed(path: Path) -> tuple[ast.Module, list[int]]:
    """Return the module's tree, and the line of each of its code tokens."""
    text = path.read_text("utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return ast.parse(text), [token.start[0] for token in tokens if token.type not in NO_CODE]


Kind = TypeVar("Kind", ast.FunctionDef, ast.ClassDef)


def nodes(kind: type[Kind]) -> Iterator[tuple[str, Kind, list[int]]]:
    """Yield every node of a kind in the shipped code, with its place and its token lines."""
    for path in SOURCES:
        tree, rows = parsed(path)
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield f"{path.relative_to(ROOT)} {node.name}", node, rows


def test_functions_stay_short() -> None:
    found = {
        where: sum(node.lineno <= row <= (node.end_lineno or 0) for row in rows)
        for where, node, rows in nodes(ast.FunctionDef)
    }
    assert {where: count for where, count in found.items() if count > TOKENS} == {}


def test_functions_take_few_parameters() -> None:
    found = {}
    for where, node, _ in nodes(ast.FunctionDef):
        names = [
            one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        ]
        found[where] = len(names) - (names[:1] in (["self"], ["cls"]))
    assert {where: count for where, count in found.items() if count > PARAMETERS} == {}


def test_classes_stay_small() -> None:
    found = {}
    for where, node, _ in nodes(ast.ClassDef):
        methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
        attributes = {
            target.attr
            for method in methods
            for target in ast.walk(method)
            if isinstance(target, ast.Attribute)
            and isinstance(target.ctx, ast.Store)
            and isinstance(target.value, ast.Name)
            and target.value.id == "self"
        }
        if len(methods) > METHODS or len(attributes) > ATTRIBUTES:
            found[where] = (len(methods), len(attributes))
    assert found == {}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_stay_short(path: Path) -> None:
    assert path.read_text("utf-8").count("\n") <= LINES


@pytest.mark.parametrize(
    "package",
    ["engine", "backends", "providers"]
    + [f"dtm/{room}" for room in ("app", "cli", "render", "testing", "trials")],
)
def test_package_files_hold_only_their_docstring(package: str) -> None:
    """Other distributions may install the same `__init__.py` files, so these contain no code."""
    for path in (ROOT / package).rglob("__init__.py"):
        if not TEMPLATE_FOLDERS & set(path.parts):
            body = parsed(path)[0].body
            assert all(isinstance(item, ast.Expr) for item in body[:1]), path
            assert len(body) <= 1, path


PAGES = [path for path in SOURCES if path.name == "__init__.py"]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.parent.relative_to(ROOT)))
def test_packages_have_a_docstring(path: Path) -> None:
    page = ast.get_docstring(parsed(path)[0]) or ""
    assert page.count("\n") >= 2
    for block in re.findall(r"(?:^ {4}.*\n?|^\n)+", page, re.MULTILINE):
        code = textwrap.dedent(block).strip()
        if PYTHON.match(code):
            ast.parse(code)


@pytest.mark.parametrize(
    ("package", "shared"), [("backends", {"keys", "lockers", "url"}), ("providers", set[str]())]
)
def test_adapters_are_independent(package: str, shared: set[str]) -> None:
    """Check that the import contract names every adapter: it ignores an unnamed one."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    independent = {
        name
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["type"] == "independence"
        for name in contract["modules"]
    }
    folder = ROOT / package
    found = {path.stem for path in folder.glob("[!_]*.py")} | {
        path.parent.name for path in folder.glob("[!_]*/__init__.py")
    }
    assert {f"{package}.{name}" for name in found - shared} <= independent


def test_shared_modules_may_import_no_backend() -> None:
    """Check that the import contract of the shared modules names every backend."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (independent,) = (
        set(contract["modules"])
        for contract in contracts
        if contract["type"] == "independence" and "backends.local" in contract["modules"]
    )
    (forbidden,) = (
        set(contract["forbidden_modules"])
        for contract in contracts
        if "backends.url" in contract.get("source_modules", ())
    )
    assert forbidden == independent


def test_adapters_import_only_top_modules_of_the_engine() -> None:
    """Check imports of whole packages, which the import contract does not see."""
    root = {"engine"} | {f"engine.{path.stem}" for path in (ROOT / "engine").glob("[!_]*.py")}
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] not in ("backends", "providers"):
            continue
        for node in ast.walk(parsed(path)[0]):
            found = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module == "engine":
                found = [f"engine.{one.name}" for one in node.names]
            elif isinstance(node, ast.ImportFrom):
                found = [node.module or ""]
            assert {name for name in found if name.split(".")[0] == "engine"} <= root, path


def test_class_names_are_unique() -> None:
    """Type aliases count as classes: a reader of a signature sees no difference."""
    places: dict[str, list[str]] = {}
    for where, node, _ in nodes(ast.ClassDef):
        if not node.name.startswith("_"):
            places.setdefault(node.name, []).append(where)
    for path in SOURCES:
        for statement in parsed(path)[0].body:
            if (
                isinstance(statement, ast.AnnAssign)
                and ast.unparse(statement.annotation) == "TypeAlias"
            ):
                name = ast.unparse(statement.target)
                places.setdefault(name, []).append(f"{path.relative_to(ROOT)} {name}")
    found = {
        name: where for name, where in places.items() if len(where) > 1 and not name.startswith("_")
    }
    assert found == {}


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in SOURCES}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_every_package_is_in_the_layers() -> None:
    """Check that the import contract names every package: it ignores an unnamed one."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (contract,) = (
        found
        for found in settings["tool"]["importlinter"]["contracts"]
        if found.get("containers") == ["engine"]
    )
    named = re.findall(r"\w+", " ".join(contract["layers"]))
    rooms = {
        path.relative_to(ROOT / "engine").parts[0] for path in (ROOT / "engine").glob("*/*.py")
    }
    assert sorted(named) == sorted(rooms)


def test_test_map_lists_every_helper() -> None:
    found = {
        path.relative_to(ROOT / "tests").as_posix()
        for path in (ROOT / "tests").rglob("*.py")
        if not path.name.startswith("test_")
    }
    text = (ROOT / "tests" / "README.md").read_text("utf-8")
    named = re.findall(r"^\| `((?!test_)[\w/]+\.py)` \|", text, re.MULTILINE)
    assert sorted(named) == sorted(found)


def test_list_of_findings_is_complete() -> None:
    folder = ROOT / "findings"
    text = (folder / "README.md").read_text("utf-8")
    named = re.findall(r"^\| `([^`]+\.sh)` \|", text, re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in folder.glob("*.sh"))


def test_protocols_have_at_most_seven_members() -> None:
    tree = ast.parse((ROOT / "engine" / "ports.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
            assert len(methods) <= 7, node.name


@pytest.mark.parametrize("command", [["version"], ["--help"], ["plan", "--help"]])
def test_start_loads_no_heavy_module(command: list[str]) -> None:
    script = (
        "import sys; from dtm.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'boto3', 'kubernetes', 'deepdiff', 'tenacity', 'yaml', "
        "'rich.table', 'rich.console', 'importlib.metadata'}\n"
        "loaded = {m for m in sys.modules if m in heavy or m.startswith('providers.')}\n"
        "print(*loaded, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == ""
