"""The README's tutorial, the tutorial and every how-to work as printed."""

import os
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
