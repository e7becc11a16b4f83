"""Every option of a CI plugin has an effect: a row in a table shows what it changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from dtm.describe import FieldDoc, field_docs
from dtm.plugins import installed
from tests.providers._git.repos import options
from tests.providers.ci.pipelines import FILES, SCM
from tests.providers.ci.test_github import OPTIONS as GITHUB
from tests.providers.ci.test_gitlab import OPTIONS as GITLAB

HOST = {"owner": "me", "name": "app", "baseURL": "git.example.com"}
GIVEN: dict[str, dict[str, Any]] = {
    "github-actions": {"pipeline": {"language": {"name": "go"}}},
    "gitlab-ci": {"pipeline": {"language": {"name": "go"}}},
    "ci-generic": {"ci": {"type": "jenkins", "configContents": {"Jenkinsfile": "node {}"}}},
}

# Options before and after: the file goes to another repository or branch.
LOCATION_OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "url": ({"url": "./a/app.git"}, {"url": "./b/app.git"}),
    "owner": (SCM, {**SCM, "owner": "you"}),
    "org": ({"scmType": "local", "name": "app"}, {"scmType": "local", "name": "app", "org": "us"}),
    "name": (SCM, {**SCM, "name": "web"}),
    "branch": (SCM, {**SCM, "branch": "trunk"}),
    "scmType": (HOST, {**HOST, "scmType": "local"}),
    "baseURL": (SCM, {**SCM, "baseURL": "./elsewhere"}),
    "token": (
        {"url": "https://git.example.com/me/app"},
        {"url": "https://git.example.com/me/app", "token": "t"},
    ),
}
OLDER_OPTIONS = {
    ("repo" if name == "name" else name): row
    for name, row in LOCATION_OPTIONS.items()
    if name != "token"
}


def locate(plugin: str, destination: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the URL, branch and token that git gets."""
    provider: Any = installed()[plugin]
    found = provider.locate(options(provider, **GIVEN[plugin], **destination))
    return found.url, found.branch, found.token


@pytest.mark.parametrize("plugin", GIVEN)
@pytest.mark.parametrize(("before", "after"), LOCATION_OPTIONS.values(), ids=LOCATION_OPTIONS)
def test_scm_options_select_the_repository(
    plugin: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert locate(plugin, {"scm": before}) != locate(plugin, {"scm": after})


@pytest.mark.parametrize("plugin", ["github-actions", "gitlab-ci"])
@pytest.mark.parametrize(("before", "after"), OLDER_OPTIONS.values(), ids=OLDER_OPTIONS)
def test_older_options_select_the_same_repository_as_scm(
    plugin: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    flat = [
        {("repo" if key == "name" else key): value for key, value in given.items()}
        for given in (before, after)
    ]
    assert [locate(plugin, given) for given in flat] == [
        locate(plugin, {"scm": given}) for given in (before, after)
    ]


def ci(**given: Any) -> dict[str, Any]:
    return {"scm": SCM, "ci": {"type": "github", **given}}


GREET = {"Jenkinsfile": "echo [[ who ]]"}

# Options before and after, and the file that the repository then contains.
GENERIC_OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, str]]] = {
    "ci.type": (
        ci(configLocation="github.yml"),
        ci(type="gitlab", configLocation="github.yml"),
        (".gitlab-ci.yml", "echo from a file"),
    ),
    "ci.configLocation": (
        ci(type="jenkins", configLocation="github.yml"),
        ci(type="jenkins", configLocation="gitlab.yml"),
        ("Jenkinsfile", "greet: {"),
    ),
    "ci.configContents": (
        ci(configContents={"a.yml": "on: push"}),
        ci(configContents={"b.yml": "on: push"}),
        (".github/workflows/b.yml", "on: push"),
    ),
    "ci.vars": (
        ci(type="jenkins", configContents=GREET),
        ci(type="jenkins", configContents=GREET, vars={"who": "Ann"}),
        ("Jenkinsfile", "echo Ann"),
    ),
}


@pytest.mark.parametrize(
    ("before", "after", "expected"), GENERIC_OPTIONS.values(), ids=GENERIC_OPTIONS
)
def test_every_option_of_ci_generic_changes_the_files(
    before: dict[str, Any], after: dict[str, Any], expected: tuple[str, str]
) -> None:
    provider: Any = installed()["ci-generic"]
    path, text = expected
    held = [
        provider.build_source(options(provider, **given), "app").load_files(FILES)
        for given in (before, after)
    ]
    assert text not in held[0].get(path, b"").decode()
    assert text in held[1][path].decode()


TABLES: dict[str, Mapping[str, Sequence[Any]]] = {
    "github-actions": GITHUB,
    "gitlab-ci": GITLAB,
    "ci-generic": GENERIC_OPTIONS,
}
EXEMPT = {
    "gitlab-ci": {
        "runner.enable": "true is refused, since this version installs no runner; "
        "false means the same as no option"
    },
}


def list_leaves(found: Sequence[FieldDoc], above: str = "") -> Iterator[str]:
    """Yield the paths of options that contain no further options."""
    for item in found:
        yield from (
            list_leaves(item.inner, f"{above}{item.key}.") if item.inner else [above + item.key]
        )


def look_up(given: Any, path: str) -> Any:
    for key in path.split("."):
        given = given.get(key) if isinstance(given, dict) else None
    return given


def list_covered(plugin: str) -> set[str]:
    """Return the options with a row that is named after them and changes them."""
    placed = {f"scm.{name}" for name in LOCATION_OPTIONS} | (
        set(OLDER_OPTIONS) if plugin != "ci-generic" else set()
    )
    return placed | {
        name
        for name, (before, after, _) in TABLES[plugin].items()
        if look_up(before, name) != look_up(after, name)
    }


CI_PLUGINS = [name for name, provider in installed().items() if provider.plugin in TABLES]


def test_table_covers_all_ci_plugins() -> None:
    assert len(CI_PLUGINS) == 9
    assert {installed()[name].plugin for name in CI_PLUGINS} == TABLES.keys()


@pytest.mark.parametrize("name", CI_PLUGINS)
def test_every_option_has_a_row_or_is_exempt(name: str) -> None:
    provider = installed()[name]
    every = set(list_leaves(field_docs(provider.options)))
    exempt = EXEMPT.get(provider.plugin, {}).keys()
    assert every - list_covered(provider.plugin) == set(exempt)
