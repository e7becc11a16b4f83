import ast
import importlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtm.describe import plugin_sample
from dtm.plugins import PROVIDER_GROUP, Plugins
from dtm.scaffold import create_plugin
from dtm.trials.validation import validate_plugin
from engine.errors import DtmError, PluginError, UsageError

ROOT = Path(__file__).parents[2]
PLUGINS = Plugins(list)


@pytest.fixture
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugins]:
    """The plugin my-note, written and on the path."""
    create_plugin("my-note", tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "dtm-plugin-my-note")
    importlib.invalidate_caches()
    yield Plugins(lambda: [("my-note", "dtm_plugin_my_note:PluginMyNote", "dtm-plugin-my-note")])
    sys.modules.pop("dtm_plugin_my_note", None)


def test_package_is_complete(tmp_path: Path) -> None:
    files = create_plugin("my-note", tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in files) == [
        "dtm-plugin-my-note/README.md",
        "dtm-plugin-my-note/dtm_plugin_my_note/__init__.py",
        "dtm-plugin-my-note/dtm_plugin_my_note/py.typed",
        "dtm-plugin-my-note/pyproject.toml",
        "dtm-plugin-my-note/tests/test_dtm_plugin_my_note.py",
    ]
    assert sorted(
        path for path in (tmp_path / "dtm-plugin-my-note").rglob("*") if path.is_file()
    ) == sorted(files)
    assert [
        path
        for path in files
        if "$" in path.read_text("utf-8") or "_module_" in path.read_text("utf-8")
    ] == []
    project = tomllib.loads(
        (tmp_path / "dtm-plugin-my-note" / "pyproject.toml").read_text("utf-8")
    )["project"]
    offered = project["entry-points"]
    assert offered == {PROVIDER_GROUP: {"my-note": "dtm_plugin_my_note:PluginMyNote"}}


@pytest.mark.parametrize("name", ["my-note", "3d", "class"])
def test_package_test_passes_and_imports_only_dtm(name: str, tmp_path: Path) -> None:
    files = create_plugin(name, tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command,
        cwd=tmp_path / f"dtm-plugin-{name}",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    for path in files:
        if path.suffix == ".py":
            imported = {
                node.module
                for node in ast.walk(ast.parse(path.read_text("utf-8")))
                if isinstance(node, ast.ImportFrom)
            }
            assert {
                module
                for module in imported
                if module and module.split(".")[0] in {"engine", "providers", "backends"}
            } == set()


def test_package_passes_every_check(note: Plugins, tmp_path: Path) -> None:
    found = list(validate_plugin("my-note", note, tmp_path / "world"))
    assert len(found) == 11
    assert [str(result) for result in found if result.problem or result.skipped] == []


def test_sample_config_of_package_comes_from_its_options(note: Plugins) -> None:
    text = plugin_sample("my-note", note)
    assert "  - name: my-note\n" in text
    assert "      path: note.txt\n" in text


def test_failed_checks_are_printed_line_by_line(
    note: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = note["my-note"]
    monkeypatch.setattr(type(provider), "delete", lambda *_: None)
    lines = [str(result) for result in validate_plugin("my-note", note, tmp_path / "world")]
    assert [line for line in lines if not line.startswith("passed")] == [
        "failed  delete removes the resource and can be repeated: "
        "read must return None after delete, but returned a resource"
    ]


def test_plugin_without_trial_is_checked_with_its_sample(tmp_path: Path) -> None:
    plugins = Plugins(lambda: [("mine", "providers.file:FileProvider", "dist")])
    found = {result.name: result for result in validate_plugin("mine", plugins, tmp_path)}
    assert not any(result.problem for result in found.values())
    assert not found["a resource left by a crash is found again"].skipped
    assert (
        found["drift of each attribute is detected and repaired"].skipped
        == "the trial does not define drifts"
    )


@pytest.mark.long
@pytest.mark.parametrize("name", ["repo-scaffolding", "argocdapp"])
def test_shipped_plugin_passes_with_its_own_example(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without its trial, the plugin is checked with its sample.
    monkeypatch.setattr("dtm.trials.validation.TRIALS", {})
    found = [str(result) for result in validate_plugin(name, PLUGINS, tmp_path) if result.problem]
    assert found == []


def test_unknown_plugin_cannot_be_validated(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="there is no plugin nonsense"):
        list(validate_plugin("nonsense", PLUGINS, tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", r'^the name must be not "", you can specify it by --name flag$'),
        ("My_Plugin", '^name "My_Plugin" must be lower case letters'),
        ("../evil", '^name "../evil" must be lower case letters'),
    ],
)
def test_invalid_name_writes_nothing(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        create_plugin(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_existing_package_is_not_changed(tmp_path: Path) -> None:
    first, *_ = create_plugin("my-note", tmp_path)
    first.write_text("mine", "utf-8")
    with pytest.raises(UsageError, match=r"^plugin my-note already exists$"):
        create_plugin("my-note", tmp_path)
    assert first.read_text("utf-8") == "mine"


def test_name_of_built_in_plugin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plugin file is built in"):
        create_plugin("file", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_write_error_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DtmError, match=r"^cannot write .*/file/dtm-plugin-my-note/") as caught:
        create_plugin("my-note", tmp_path / "file")
    assert caught.value.hint == f"make {tmp_path / 'file'} writable"
