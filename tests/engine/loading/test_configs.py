"""Whole configurations: the exact message for each mistake, and the formats that must load."""

import json
import shlex
from pathlib import Path

import pytest
from msgspec.structs import asdict

from engine.config import Config
from engine.errors import ConfigError
from engine.language.references import Interpolation, Reference
from engine.loading.loader import ConfigSource, load
from engine.values import Json, Secret, Value
from tests.engine.loading.catalog import FakeBackends, FakeCatalog

CONFIGS = Path(__file__).parents[3] / "fixtures" / "configs"
MISTAKES = sorted(path for path in (CONFIGS / "mistakes").iterdir() if path.suffix != ".txt")


def load_fixture(path: Path) -> Config:
    """Load a file, or a folder: its config.yaml if it has one.

    A first line `# args:` or `# env:` sets the arguments or the environment.
    """
    main = path / "config.yaml" if (path / "config.yaml").exists() else path
    first = main.read_bytes().split(b"\n")[0].decode() if main.is_file() else ""
    words = shlex.split(first.removeprefix("# args:")) if first.startswith("# args:") else []
    variables = tuple(
        (word.split("=", 1)[0], word.split("=", 1)[1]) for word in words if word != "--var"
    )
    pairs = first.removeprefix("# env:").split() if first.startswith("# env:") else []
    env = {pair.split("=")[0]: pair.split("=")[1] for pair in pairs}
    source = ConfigSource(main, variables, env=env, cwd=main.parent if main.is_file() else main)
    return load(source, FakeCatalog(), backends=FakeBackends())


def problems(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_fixture(path)
    lines = [
        f"{problem.where}: {problem.message}" + (f"\n  {problem.hint}" if problem.hint else "")
        for problem in caught.value.problems
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", MISTAKES, ids=lambda path: path.stem)
def test_message_for_each_mistake(path: Path) -> None:
    assert problems(path) == path.with_suffix(".txt").read_text("utf-8")


def test_each_message_file_belongs_to_a_mistake() -> None:
    assert len(MISTAKES) >= 60
    assert {path.stem for path in MISTAKES} == {
        path.stem for path in (CONFIGS / "mistakes").glob("*.txt")
    }


VALID = sorted(path for path in (CONFIGS / "valid").iterdir() if path.suffix != ".json")


def shown(value: Value) -> Json:
    """Show a value as JSON: references as written, secrets with their value and sources."""
    match value:
        case dict():
            return {key: shown(item) for key, item in value.items()}
        case list():
            return [shown(item) for item in value]
        case Secret():
            return {"secret": shown(value.value), "from": list(value.sources)}
        case Interpolation() | Reference():
            return f"{type(value).__name__}: {value}"
        case _:
            assert value is None or isinstance(value, bool | int | float | str)
            return value


def summary(config: Config, base: Path) -> dict[str, Json]:
    """Return the parts of a config that are compared with the expected JSON file."""
    state = config.settings.state
    where = (
        {
            **asdict(state),
            "lock": asdict(state.lock),
            "options": shown(dict(state.options)),
            "where": None,
        }
        if state
        else {}
    )
    tools: list[Json] = []
    for tool in config.tools:
        found: dict[str, Json] = {
            "tool": str(tool.address),
            "dependsOn": [str(other) for other in tool.depends_on],
        }
        found |= {"preventDestroy": True} if tool.lifecycle.prevent_destroy else {}
        found |= {key: value for key, value in asdict(tool.timeouts).items() if value is not None}
        tools.append({**found, "options": shown(dict(tool.options))})
    plugins = config.settings.plugin_dir
    return {
        "tools": tools,
        "outputs": shown(dict(config.outputs)),
        "state": {key: value for key, value in where.items() if key != "where"} or None,
        "pluginDir": str(plugins.relative_to(base) if plugins.is_relative_to(base) else plugins)
        if plugins
        else None,
        "files": list(config.settings.files),
        "warnings": list(config.warnings),
    }


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_each_file_format_loads(path: Path) -> None:
    config = load_fixture(path)
    assert config.settings.base_dir == (path if path.is_dir() else path.parent)
    assert summary(config, config.settings.base_dir) == json.loads(
        path.with_suffix(".json").read_text("utf-8")
    )
