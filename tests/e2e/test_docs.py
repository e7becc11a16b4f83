"""The README's tutorial, the tutorial and every how-to work as printed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.walk import File, Step, run, steps

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs" / "tutorial.md", *sorted((ROOT / "docs" / "how-to").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_page_works_as_printed(page: Path, tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DTM_", "GIT_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**kept, "HOME": str(home), "PATH": path, "NO_COLOR": "1", "COLUMNS": "100", "LANG": "C.UTF-8"}
    todo = steps(page.read_text("utf-8"))
    assert any(isinstance(step, Step) for step in todo), "a page without a command shows nothing"
    for step in todo:
        if isinstance(step, File):
            target = work / step.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(step.content, "utf-8")
        else:
            run(step, work, env)


WORKFLOWS = [
    (page, step)
    for page in PAGES
    for step in steps(page.read_text("utf-8"))
    if isinstance(step, File) and step.name.startswith(".github/workflows/")
]


@pytest.mark.parametrize("workflow", [step for _, step in WORKFLOWS], ids=[page.name for page, _ in WORKFLOWS])
def test_a_workflow_that_is_shown_is_valid(workflow: File, tmp_path: Path) -> None:
    path = tmp_path / "workflow.yml"
    path.write_text(workflow.content, "utf-8")
    schema = ["--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", *schema, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def generate(docs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, str(docs / "generate.py"), *words], env=env, capture_output=True, text=True)


def test_generated_pages_are_checked_and_written(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs)
    assert generate(docs).returncode == 0
    (docs / "reference" / "commands.md").write_text("old", "utf-8")
    (docs / "reference" / "plugins" / "gone.md").write_text("of a plugin that is no more", "utf-8")
    checked = generate(docs, "--check")
    assert checked.returncode == 1
    assert checked.stderr.splitlines() == [
        "docs/reference/commands.md is stale: run make docs",
        "docs/reference/plugins/gone.md is stale: run make docs",
    ]
    assert generate(docs).returncode == 0
    assert not (docs / "reference" / "plugins" / "gone.md").exists()
    assert generate(docs, "--check").returncode == 0
