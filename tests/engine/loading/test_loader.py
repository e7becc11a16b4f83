"""Loading whole files: the Config, or the problems, and never another exception."""

import contextlib
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.address import Address
from engine.config import SourceLocation, StateSettings
from engine.errors import ConfigError, UsageError
from engine.language import fast_yaml, yaml
from engine.loading import file_schema
from engine.loading.loader import ConfigSource, load
from engine.options.fields import describe_options
from engine.values import Json, Secret
from tests.engine.language.test_yaml import FRAGMENTS, SOURCES
from tests.engine.loading.catalog import FakeCatalog

TOOL = "tools: [{name: data, instanceID: a}]\n"


def load_text(text: str, directory: Path, env: Mapping[str, str] | None = None) -> object:
    path = directory / "config.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return load(ConfigSource(path, env=env or {}, cwd=directory), FakeCatalog())


def check_survives(text: str) -> None:
    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(ConfigError):
        load_text(text, Path(directory), {"TOKEN": "s3cret"})


def keys() -> list[str]:
    structs = [
        file_schema.ConfigFile,
        file_schema.ToolSection,
        file_schema.StateSection,
        file_schema.LockSection,
        file_schema.VariableSection,
        file_schema.ValidationSection,
        file_schema.AppSection,
        file_schema.StepSection,
    ]
    return [option.key for struct in structs for option in describe_options(struct)] + [
        "x",
        "input",
        "path",
        "token",
        "repoURL",
        "url",
    ]


def test_incomplete_reference_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "# ${{ data.a.old }}\n"
        + TOOL
        + "outputs:\n  x: ${{ data.a.output.path }}\n  y: ${{ secrets.X }}\n"
        "  z: ${{ data.a }} ${{ steps.a.outputs.b }}\n  ok: ${{ data.a.outputs.id }}\n",
        "utf-8",
    )
    warnings = load(ConfigSource(path, cwd=tmp_path), FakeCatalog()).warnings
    assert [each.partition(" is not a reference")[0] for each in warnings] == [
        "config.yaml:4:6: ${{ data.a.output.path }}",
        "config.yaml:6:6: ${{ data.a }}",
    ]
    assert all(
        each.endswith("is kept as text: write ${{ data.a.outputs.KEY }}") for each in warnings
    )


@pytest.mark.parametrize("lease", ["0s", "25h"])
def test_lease_of_zero_or_over_a_day_is_refused(lease: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f'must be more than 0s and at most 24h, not "{lease}"'):
        load_text(f"state: {{backend: local, lock: {{lease: {lease}}}}}\n" + TOOL, tmp_path)


def configurations() -> st.SearchStrategy[Json]:
    """Generate values of every kind at every known key, including expressions."""
    words: st.SearchStrategy[Json] = st.sampled_from(
        [
            "data",
            "file",
            "login",
            "a",
            "b",
            "data.a",
            "",
            "local",
            "s3",
            "github-actions",
            "argocdapp",
            "template",
            "ci",
            "10m",
            "string",
            "map",
            "list",
            "any",
            "^[a-z",
            "[[ x ]]",
            "[[ x.y ]]",
            "a[[ x ]]",
            "[[ env TOKEN ]]",
            "[[ env NO ]]",
            "[[ x | default: 5 ]]",
            "[[ x | y ]]",
            "${{ data.a.outputs.output }}",
            "x${{ data.a.outputs.output.0 }}",
            "${{ no.a.outputs.b }}",
            "${{ secrets.X }}",
        ]
    )
    leaves: st.SearchStrategy[Json] = (
        st.none() | st.booleans() | st.integers(-5, 5) | st.just(1.5) | words
    )
    names = st.sampled_from(keys())
    inner = st.recursive(
        leaves,
        lambda deep: st.lists(deep, max_size=3) | st.dictionaries(names, deep, max_size=5),
        max_leaves=25,
    )

    def entry(*required: str, **optional: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
        return inner | st.fixed_dictionaries(dict.fromkeys(required, words), optional=optional)

    steps = st.lists(entry("type", templateName=words, options=inner, vars=inner), max_size=2)
    several: dict[str, st.SearchStrategy[Json]] = {
        "tools": st.lists(
            entry("name", "instanceID", options=inner, dependsOn=inner, lifecycle=inner), max_size=3
        ),
        "apps": st.lists(entry("name", repo=inner, spec=inner, ci=steps, cd=steps), max_size=2),
        "pipelineTemplates": st.lists(entry("name", "type", options=inner), max_size=2),
        "vars": st.fixed_dictionaries({"x": inner}),
    }
    top = {option.key: inner for option in describe_options(file_schema.ConfigFile)}
    return st.fixed_dictionaries({}, optional={**top, **several})


@given(configurations())
def test_any_configuration_loads_or_raises_config_error(value: Json) -> None:
    check_survives(json.dumps(value, indent=1))


@given(st.sampled_from(SOURCES), st.data())
def test_damaged_configuration_loads_or_raises_config_error(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        text = (
            text[:start]
            + data.draw(st.sampled_from([*FRAGMENTS, "[[ x ]]", "${{ a.b.outputs.c }}", "[["]))
            + text[start + 1 :]
        )
    check_survives(text)


@given(st.text())
def test_any_text_loads_or_raises_config_error(text: str) -> None:
    check_survives(text)


def test_place_of_a_tool_is_located_in_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text("vars: {}\n" + TOOL)
    config = load(ConfigSource(Path("config.yaml"), cwd=tmp_path), FakeCatalog())
    monkeypatch.chdir(tmp_path)
    assert yaml.locate(config.tools[0].where) == "config.yaml:2:9"


def test_path_outside_the_current_directory_is_absolute(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("tools: 1\n")
    with pytest.raises(ConfigError) as caught:
        load(ConfigSource(tmp_path / "config.yaml", cwd=tmp_path / "elsewhere"), FakeCatalog())
    assert caught.value.problems[0].where == f"{tmp_path}/config.yaml:1:8"


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_missing_configuration_is_a_problem(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        load(ConfigSource(Path(name), cwd=tmp_path), FakeCatalog())


def test_paths_are_relative_to_the_config_file_or_to_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "vars.yaml").write_text("x: 1\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "tools.yaml").write_text(
        "tools: [{name: data, instanceID: a, options: {input: [[ x ]]}}]\n"
    )
    (tmp_path / "sub" / "config.yaml").write_text(
        "varFile: ~/vars.yaml\ntoolFile: tools.yaml\npluginDir: ./plugins\n"
    )
    config = load(ConfigSource(Path("sub/config.yaml"), cwd=tmp_path), FakeCatalog())
    assert config.tools[0].options == {"input": 1}
    assert config.settings.base_dir == tmp_path / "sub"
    assert config.settings.plugin_dir == tmp_path / "sub" / "plugins"
    assert config.settings.files == (
        "sub/config.yaml",
        str(Path("home/vars.yaml")),
        "sub/tools.yaml",
    )


def test_state_url_is_parsed_by_the_given_function(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("state: '[[ env STATE | default: s3://b/k ]]'\n" + TOOL)

    def parse(url: str) -> StateSettings:
        if not url.startswith("s3://"):
            raise UsageError(f"{url} is not a state", hint="write s3://bucket/key")
        return StateSettings("s3", {"bucket": "b"})

    where = SourceLocation("config.yaml", 0, ("state",))
    assert load(ConfigSource(path, cwd=tmp_path), FakeCatalog()).settings.state == StateSettings(
        "url", {"url": "s3://b/k"}, source="config", where=where
    )
    assert load(
        ConfigSource(path, cwd=tmp_path), FakeCatalog(), state_url=parse
    ).settings.state == StateSettings("s3", {"bucket": "b"}, source="config", where=where)
    with pytest.raises(ConfigError) as caught:
        load(ConfigSource(path, env={"STATE": "x"}, cwd=tmp_path), FakeCatalog(), state_url=parse)
    (problem,) = caught.value.problems
    assert (problem.where, problem.message, problem.hint) == (
        "config.yaml:1:8",
        "x is not a state",
        "write s3://bucket/key",
    )


def digest(directory: Path, text: str, env: Mapping[str, str] | None = None) -> str:
    (directory / "config.yaml").write_text(text)
    return load(
        ConfigSource(directory / "config.yaml", env=env or {}, cwd=directory), FakeCatalog()
    ).digest


def test_digest_changes_only_with_what_a_plan_depends_on(tmp_path: Path) -> None:
    text = "tools:\n- name: data\n  instanceID: a\n  options: {input: {a: 1, b: 2}}\n"
    same = [
        text,
        "# moved\n" + text,
        text.replace("{a: 1, b: 2}", "{b: 2, a: 1}"),
        "state: file:///x\n" + text,
    ]
    other = [
        text.replace("a: 1", "a: 3"),
        text.replace("instanceID: a", "instanceID: b"),
        text + "outputs: {x: 1}\n",
        text + "  lifecycle: {preventDestroy: true}\n",
        text + "  timeouts: {read: 1s}\n",
        text.replace("a: 1", "a: '1'"),
        text + "- {name: data, instanceID: z}\n",
    ]
    assert len({digest(tmp_path, variant) for variant in same}) == 1
    assert len({digest(tmp_path, variant) for variant in [text, *other]}) == 1 + len(other)


def test_digest_of_a_config_with_secrets_changes_with_them(tmp_path: Path) -> None:
    text = "tools: [{name: data, instanceID: a, options: {input: '[[ env T ]]'}}]\n"
    assert digest(tmp_path, text, {"T": "one"}) == digest(tmp_path, text, {"T": "one"})
    assert digest(tmp_path, text, {"T": "one"}) != digest(tmp_path, text, {"T": "two"})


def test_secret_option_is_read_from_its_environment_variable(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "tools: [{name: login, instanceID: a, options: {user: me}}]\n"
    )
    config = load(
        ConfigSource(tmp_path / "config.yaml", env={"LOGIN_TOKEN": "t"}, cwd=tmp_path),
        FakeCatalog(),
    )
    assert config.tools[0].options == {"user": "me", "token": Secret("t", ("env LOGIN_TOKEN",))}


def test_dependencies_are_direct_ordered_and_unique(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "tools:\n- {name: data, instanceID: a}\n- {name: data, instanceID: b.c}\n"
        "- name: data\n  instanceID: z\n"
        "  dependsOn: [data/b.c, data.a, data.b.c]\n"
        "  options: {input: ['${{ data.b.c.outputs.output }}', 'x${{ data.y.outputs.output }}']}\n"
        "- {name: data, instanceID: y}\n"
    )
    config = load(ConfigSource(tmp_path / "config.yaml", cwd=tmp_path), FakeCatalog())
    assert config.tools[2].depends_on == (
        Address("data", "b.c"),
        Address("data", "a"),
        Address("data", "y"),
    )


@pytest.mark.parametrize("kind", ["flat", "dag"])
def test_loading_takes_linear_time_with_the_fast_reader(tmp_path: Path, kind: str) -> None:
    """Check that the time grows linearly with the number of tools.

    The benchmark checks the absolute goal, 0.4 s for 10,000 tools on an idle machine.
    """

    def seconds(count: int) -> float:
        lines = ["tools:\n"]
        for number in range(count):
            lines.append(
                f"- name: data\n  instanceID: t{number}\n  options:\n    input: {number}\n"
            )
            if kind == "dag" and number >= 100:
                waits = ", ".join(f"data.t{number - back}" for back in (100, 99, 98))
                lines.append(f"  dependsOn: [{waits}]\n")
        (tmp_path / "config.yaml").write_text("".join(lines))
        assert fast_yaml.read("".join(lines)) is not None
        start = time.process_time()
        assert (
            len(load(ConfigSource(tmp_path / "config.yaml", cwd=tmp_path), FakeCatalog()).tools)
            == count
        )
        return time.process_time() - start

    small = min(seconds(500) for _ in range(3))
    assert min(seconds(4000) for _ in range(2)) < 8 * small * 2.5
