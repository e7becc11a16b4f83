"""Whole configurations: every mistake with its exact message, and every form that must load."""

import shlex
from pathlib import Path

import pytest

from engine.config import Config
from engine.errors import ConfigError
from engine.loader import Source, load
from tests.engine.catalog import FakeCatalog

CONFIGS = Path(__file__).parents[2] / "fixtures" / "configs"
MISTAKES = sorted(path for path in (CONFIGS / "mistakes").iterdir() if path.suffix != ".txt")


def load_fixture(path: Path) -> Config:
    """Load a file, or a folder: its config.yaml if it has one. `# args:` and `# env:` at the top say with what."""
    main = path / "config.yaml" if (path / "config.yaml").exists() else path
    first = main.read_bytes().split(b"\n")[0].decode() if main.is_file() else ""
    words = shlex.split(first.removeprefix("# args:")) if first.startswith("# args:") else []
    variables = tuple((word.split("=", 1)[0], word.split("=", 1)[1]) for word in words if word != "--var")
    pairs = first.removeprefix("# env:").split() if first.startswith("# env:") else []
    env = {pair.split("=")[0]: pair.split("=")[1] for pair in pairs}
    return load(Source(main, variables, env=env, cwd=main.parent if main.is_file() else main), FakeCatalog())


def problems(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_fixture(path)
    lines = [
        f"{problem.where}: {problem.message}" + (f"\n  {problem.hint}" if problem.hint else "")
        for problem in caught.value.problems
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", MISTAKES, ids=lambda path: path.stem)
def test_each_mistake_has_its_message(path: Path) -> None:
    assert problems(path) == path.with_suffix(".txt").read_text("utf-8")


def test_there_are_enough_mistakes_and_no_message_without_one() -> None:
    assert len(MISTAKES) >= 60
    assert {path.stem for path in MISTAKES} == {path.stem for path in (CONFIGS / "mistakes").glob("*.txt")}
