"""The samples of `dtm show config` load and can be applied unchanged."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from dtm.cli.main import root
from dtm.describe import TEMPLATES, config_sample, plugin_sample
from dtm.jsonschema import config_schema
from dtm.plugins import BUILT_IN, Plugins
from engine.loading.loader import ConfigSource, load

PLUGINS = Plugins(list)
SCHEMA = jsonschema.Draft202012Validator(config_schema(PLUGINS))
WHOLE = ("", *TEMPLATES)
REPOSITORIES = {
    "": [],
    "quickstart": ["hello.git"],
    "gitops": ["hello.git"],
    "apps": ["shop.git", "site.git"],
}


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_plugin_sample_loads(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(plugin_sample(name, PLUGINS), "utf-8")
    config = load(ConfigSource(tmp_path / "config.yaml"), PLUGINS)
    assert config.tools[-1].address.dotted == f"{name}.sample"
    assert config.warnings == ()


@pytest.mark.parametrize("template", WHOLE)
def test_template_loads_without_a_warning(template: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(config_sample(template), "utf-8")
    assert load(ConfigSource(tmp_path / "config.yaml"), PLUGINS).warnings == ()


@pytest.mark.parametrize("template", WHOLE)
def test_template_matches_the_schema(template: str) -> None:
    text = config_sample(template)
    assert "# yaml-language-server: $schema=dtm.schema.json\n" in text
    # Without these replacements the text is not YAML yet.
    plain = text.replace("[[ owner ]]/[[ app ]]", "me/hello").replace(
        "helm/[[ app ]]", "helm/hello"
    )
    assert [error.message for error in SCHEMA.iter_errors(yaml.safe_load(plain))] == []


def run(*arguments: str) -> int:
    try:
        code: int | None = root.main([*arguments], standalone_mode=False)
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code or 0


@pytest.mark.parametrize("template", WHOLE)
def test_template_is_applied_verified_and_destroyed(
    template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(config_sample(template), "utf-8")
    assert run("apply", "--yes") == 0
    assert sorted(path.name for path in Path("repos/me").glob("*")) == REPOSITORIES[template]
    assert run("plan", "--detailed-exitcode") == 0
    assert run("destroy", "--yes") == 0
    assert list(Path("repos/me").glob("*")) == []
    assert not Path("greetings").exists()
