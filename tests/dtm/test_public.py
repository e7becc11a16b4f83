"""`import dtm` is fast, complete for plugin authors, and refuses packages of others."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import dtm

ROOT = Path(__file__).parents[2]


def python(script: str, *path: Path) -> subprocess.CompletedProcess[str]:
    setup = f"import sys; sys.path[:0] = {[str(entry) for entry in path]!r}\n"
    return subprocess.run(
        [sys.executable, "-I", "-c", setup + script], capture_output=True, text=True
    )


def test_public_names_are_those_of_the_engine() -> None:
    for module, names in dtm.PUBLIC.items():
        for name in names:
            assert getattr(dtm, name) is getattr(import_module(module), name)


def test_type_checkers_see_the_same_names() -> None:
    stub = ast.parse((ROOT / "dtm" / "__init__.pyi").read_text("utf-8"))
    found: dict[str, list[str]] = {}
    for node in stub.body:
        if isinstance(node, ast.ImportFrom) and node.module != "typing":
            assert node.module
            found.setdefault(node.module, []).extend(alias.name for alias in node.names)
    assert {module: sorted(names) for module, names in found.items()} == {
        module: sorted(names) for module, names in dtm.PUBLIC.items()
    }


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'dtm' has no attribute 'nonsense'"):
        dtm.nonsense  # type: ignore[attr-defined]  # noqa: B018 - that it is not there is the point


def test_importing_dtm_imports_nothing_else() -> None:
    done = python(
        "import dtm; heavy = ('engine', 'msgspec', 'yaml'); "
        "print({m for m in sys.modules if m.split('.')[0] in heavy})",
        ROOT,
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("package", ["engine", "backends", "providers"])
@pytest.mark.parametrize("kind", ["module", "package", "namespace", "loaded"])
def test_package_of_another_distribution_is_refused(
    kind: str, package: str, tmp_path: Path
) -> None:
    trap = "raise SystemExit('the other package ran')"
    if kind in {"module", "loaded"}:
        (tmp_path / f"{package}.py").write_text("" if kind == "loaded" else trap, "utf-8")
    else:
        (tmp_path / package).mkdir()
        if kind == "package":
            (tmp_path / package / "__init__.py").write_text(trap, "utf-8")
    first = f"import {package}\n" if kind == "loaded" else ""
    done = python(first + "import dtm; print('started')", tmp_path, ROOT)
    if (
        kind == "namespace"
    ):  # a regular package wins over a namespace package, so dtm's own is found
        assert done.stdout.strip() == "started"
        return
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(
        f"dtm cannot start: the package `{package}` that Python finds ({tmp_path}"
    )
    assert len(done.stderr.splitlines()) == 1
    assert "pipx install . in a clone" in done.stderr
