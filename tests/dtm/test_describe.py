from typing import Annotated, Any

import jsonschema
import msgspec
import pytest
import yaml

from docs.plugin_pages import reference_pages
from dtm.describe import config_sample, field_docs, option_lines, plugin_sample
from dtm.jsonschema import config_schema
from dtm.plugins import BUILT_IN, Plugins
from engine.errors import UsageError
from engine.schema import Field, Options

PLUGINS = Plugins(list)
NAMES = sorted(BUILT_IN)
PAGES = reference_pages(PLUGINS)


class Inner(Options, frozen=True, kw_only=True):
    url: Annotated[str, Field("where", example="https://example.com")]
    port: Annotated[int, Field("which")] = 80


class Everything(Options, frozen=True, kw_only=True):
    name: Annotated[str, Field("its name", example="app", replace=True, aliases=("app_name",))]
    token: Annotated[str, Field("lets us in", secret=True, env="TOKEN")] = ""
    main: Annotated[Inner, Field("the first")]
    spare: Annotated[Inner | None, Field("the second")] = None
    more: Annotated[list[Inner], Field("others")] = msgspec.field(default_factory=list[Inner])
    named: Annotated[dict[str, Inner], Field("by name")] = msgspec.field(
        default_factory=dict[str, Inner]
    )
    count: Annotated[int | None, Field("how many")] = None
    script: Annotated[str, Field("lines", example="a\nb\n")] = ""


SAMPLE = """\
# its name; required; a change replaces the tool; also written app_name
name: app
# lets us in; secret; if absent: environment variable TOKEN
# token: ''
# the first; required
main:
  # where; required
  url: https://example.com
  # which
  # port: 80
# the second
# spare:
#   # where; required
#   url: https://example.com
#   # which
#   # port: 80
# others
# more:
#   -
#     # where; required
#     url: https://example.com
#     # which
#     # port: 80
# by name
# named:
#   <name>:
#     # where; required
#     url: https://example.com
#     # which
#     # port: 80
# how many
# count: <an integer>
# lines
script: |
  a
  b
"""


def test_sample_explains_options_and_sets_examples() -> None:
    assert "\n".join(option_lines(field_docs(Everything))) + "\n" == SAMPLE


def test_given_example_decides_which_options_are_set() -> None:
    given = {"name": "x", "main": {"url": "u", "port": 1}, "more": [{"url": "m"}]}
    assert yaml.safe_load("\n".join(option_lines(field_docs(Everything), given))) == given


@pytest.mark.parametrize("name", NAMES)
def test_sample_explains_every_option(name: str) -> None:
    text = plugin_sample(name, PLUGINS)
    for item in field_docs(PLUGINS[name].options):
        assert f"{item.key}:" in text
        assert item.text.split(";")[0].split(" ")[0] in text
    tool = yaml.safe_load(text)["tools"][-1]
    assert (tool["name"], tool["instanceID"]) == (name, "sample")


@pytest.mark.parametrize("name", NAMES)
def test_page_lists_every_option_and_output(name: str) -> None:
    page = PAGES[f"{name}.md"]
    assert page.startswith(f"# {name}\n")
    for item in field_docs(PLUGINS[name].options):
        assert f"| `{item.key}` |" in page
    outputs = PLUGINS[name].outputs
    for item in field_docs(outputs) if outputs else ():
        assert f"| `{item.key}` |" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert all(line.replace("\\|", "").count("|") in (4, 5) for line in rows)


def test_index_lists_every_plugin() -> None:
    index = PAGES["index.md"]
    assert [name for name in NAMES if f"| [{name}]({name}.md) |" not in index] == []


def test_every_plugin_has_a_one_sentence_summary() -> None:
    assert [name for name in NAMES if not (PLUGINS[name].__doc__ or "").strip()] == []


def test_unknown_names_are_refused_as_in_devstream() -> None:
    with pytest.raises(UsageError, match=r"^illegal plugin name : < nonsense >$"):
        plugin_sample("nonsense", PLUGINS)
    with pytest.raises(UsageError) as near:
        plugin_sample("direktory", PLUGINS)
    assert near.value.hint == 'check the spelling: "directory" is similar'
    with pytest.raises(UsageError, match=r"^illegal template name : < nonsense >$") as error:
        config_sample("nonsense")
    assert error.value.hint == "use one of: quickstart, gitops, apps"


VALIDATOR: Any = jsonschema.Draft202012Validator(config_schema(PLUGINS))


def problems(config: object) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(config)]


def tool(**options: object) -> dict[str, object]:
    return {"tools": [{"name": "file", "instanceID": "a", "options": options}]}


def test_config_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(config_schema(PLUGINS))


@pytest.mark.parametrize("name", NAMES)
def test_samples_match_the_schema(name: str) -> None:
    assert problems(yaml.safe_load(plugin_sample(name, PLUGINS))) == []


@pytest.mark.parametrize(
    "config",
    [
        {
            "vars": {"a": 1},
            "varFile": "v.yaml",
            "state": "s3://b/k",
            "config": {"toolFile": "t.yaml"},
        },
        {
            "state": {
                "backend": "s3",
                "options": {"bucket": "b"},
                "lock": {"kind": "native"},
                "history": 3,
            }
        },
        {"anything": 1, "else": [2]},
        {
            "tools": [
                {
                    "name": "data",
                    "instanceID": 1,
                    "options": None,
                    "dependsOn": ["file.a", "file/b"],
                }
            ]
        },
        {"tools": [{"name": "data", "instanceID": "a", "dependsOn": None}]},
        {"tools": [{"name": "data", "instanceID": "a", "options": {"triggers_replace": 1}}]},
        {
            "apps": [
                {
                    "name": "a",
                    "spec": {"language": "go"},
                    "repo": {},
                    "ci": [{"type": "template", "templateName": "t"}],
                }
            ]
        },
        tool(path="a", content=7),
        tool(path="${{ data.a.outputs.output }}", content="x", mode="[[ mode ]]"),
        tool(path=[["path"]], content="x"),
    ],
)
def test_valid_configs_match_the_schema(config: object) -> None:
    assert problems(config) == []


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (
            {"tools": [], "toolz": 1},
            "Additional properties are not allowed ('toolz' was unexpected)",
        ),
        ({"tools": [{"name": "filee", "instanceID": "a"}]}, "'filee' is not one of"),
        ({"tools": [{"name": "file"}]}, "'instanceID' is a required property"),
        (
            tool(path="a", modee="0600"),
            "Additional properties are not allowed ('modee' was unexpected)",
        ),
        (tool(content="x"), "'path' is a required property"),
        (tool(path="a", mode="rw"), "'rw' does not match '^[0-7]{3,4}$'"),
        (tool(path={"a": 1}), "{'a': 1} is not of type 'string', 'number', 'boolean'"),
        ({"state": {"backendd": "s3"}}, "is not valid under any of the given schemas"),
        (
            {"tools": [{"name": "data", "instanceID": "a", "timeouts": {"creat": "1s"}}]},
            "('creat' was unexpected)",
        ),
        ({"apps": [{"name": "a"}]}, "'repo' is a required property"),
    ],
)
def test_invalid_configs_do_not_match_the_schema(config: object, problem: str) -> None:
    found = problems(config)
    assert len(found) == 1
    assert problem in found[0]
