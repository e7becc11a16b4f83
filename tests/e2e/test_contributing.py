"""The instructions in CONTRIBUTING.md, followed on a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.doc_runner import FENCE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
SECTIONS = ("Add a provider", "Add a backend", "Add a command")


@dataclass
class Instructions:
    """The edits of one section (language, file, text) and the commands that check them."""

    edits: list[tuple[str, str, str]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


def instructions(section: str) -> Instructions:
    found = Instructions()
    _, _, rest = PAGE.partition(f"\n## {section}\n")
    text, _, _ = rest.partition("\n## ")
    for language, title, body in FENCE.findall(text):
        if title:
            found.edits.append((language, title, body))
        elif language == "console":
            found.commands += re.findall(r"^\$ (.*)$", body, re.MULTILINE)
    return found


def apply(folder: Path, edit: tuple[str, str, str]) -> None:
    """Write a file, or replace the one place that a diff shows."""
    language, name, body = edit
    path = folder / name
    if language != "diff":
        assert not path.exists(), f"{name} exists already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body, "utf-8")
        return
    lines = body.splitlines(keepends=True)
    before = "".join(line[1:] or line for line in lines if line[0] != "+")
    after = "".join(line[1:] or line for line in lines if line[0] != "-")
    text = path.read_text("utf-8")
    assert text.count(before) == 1, f"{name} does not have this place once:\n{before}"
    path.write_text(text.replace(before, after), "utf-8")


def copy_of_the_repository(folder: Path) -> Path:
    """Copy all files that git tracks or would add, and link the environment."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    copy = folder / "dtm"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():  # a deleted file is still in the index
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    (copy / ".venv").symlink_to(sys.prefix)
    return copy


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # The environment has dtm installed from this repository: the copy must come first.
    env = {**kept, "PYTHONPATH": str(folder), "HOME": str(folder.parent), "NO_COLOR": "1"}
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


def first_failure(folder: Path, found: Instructions) -> str:
    """Run the commands; return the first one that fails with its output, "" if none does."""
    for command in found.commands:
        done = run(command, folder)
        if done.returncode:
            return f"$ {command}\n{done.stdout}"
    return ""


@pytest.mark.parametrize("section", SECTIONS)
def test_edits_fit_the_repository(section: str, tmp_path: Path) -> None:
    found = instructions(section)
    assert found.commands
    for _, name, _ in found.edits:
        if (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    for edit in found.edits:
        apply(tmp_path, edit)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("section", SECTIONS)
def test_following_the_steps_succeeds(section: str, tmp_path: Path) -> None:
    found, copy = instructions(section), copy_of_the_repository(tmp_path)
    for edit in found.edits:
        apply(copy, edit)
    if failure := first_failure(copy, found):
        pytest.fail(failure, pytrace=False)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("section", SECTIONS)
def test_leaving_out_a_step_fails(section: str, tmp_path: Path) -> None:
    found, copy = instructions(section), copy_of_the_repository(tmp_path)
    # Without its name in the table of names, nothing that was added can be used.
    left_out = next(
        edit for edit in found.edits if edit[1] in ("dtm/plugins.py", "dtm/cli/main.py")
    )
    for edit in found.edits:
        if edit != left_out:
            apply(copy, edit)
    assert first_failure(copy, found) != ""
