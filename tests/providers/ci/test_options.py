"""No option of a CI plugin does nothing: each has a row in a table that says what it changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from dtm.describe import FieldDoc, field_docs
from dtm.plugins import installed
from tests.providers._git.repos import options
from tests.providers.ci.pipelines import FILES, SCM
from tests.providers.ci.test_github import SHOWN as GITHUB
from tests.providers.ci.test_gitlab import SHOWN as GITLAB

HOST = {"owner": "me", "name": "app", "baseURL": "git.example.com"}
GIVEN: dict[str, dict[str, Any]] = {
    "github-actions": {"pipeline": {"language": {"name": "go"}}},
    "gitlab-ci": {"pipeline": {"language": {"name": "go"}}},
    "ci-generic": {"ci": {"type": "jenkins", "configContents": {"Jenkinsfile": "node {}"}}},
}

# what is asked for before, and what is changed: the file goes elsewhere
PLACED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
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
OLDER = {
    ("repo" if name == "name" else name): row for name, row in PLACED.items() if name != "token"
}


def place(plugin: str, destination: Mapping[str, Any]) -> tuple[str, str, str]:
    """Find the URL, branch and token that git gets."""
    provider: Any = installed()[plugin]
    found = provider.locate(options(provider, **GIVEN[plugin], **destination))
    return found.url, found.branch, found.token


@pytest.mark.parametrize("plugin", GIVEN)
@pytest.mark.parametrize(("before", "after"), PLACED.values(), ids=PLACED)
def test_an_option_of_scm_says_where_the_file_goes(
    plugin: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert place(plugin, {"scm": before}) != place(plugin, {"scm": after})


@pytest.mark.parametrize("plugin", ["github-actions", "gitlab-ci"])
@pytest.mark.parametrize(("before", "after"), OLDER.values(), ids=OLDER)
def test_an_older_option_says_the_same_as_that_of_scm(
    plugin: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    flat = [
        {("repo" if key == "name" else key): value for key, value in given.items()}
        for given in (before, after)
    ]
    assert [place(plugin, given) for given in flat] == [
        place(plugin, {"scm": given}) for given in (before, after)
    ]


def ci(**given: Any) -> dict[str, Any]:
    return {"scm": SCM, "ci": {"type": "github", **given}}


GREET = {"Jenkinsfile": "echo [[ who ]]"}

# what is asked for before, what is changed, and what the repository then holds
GENERIC: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, str]]] = {
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


@pytest.mark.parametrize(("before", "after", "said"), GENERIC.values(), ids=GENERIC)
def test_an_option_of_ci_generic_shows_in_the_files(
    before: dict[str, Any], after: dict[str, Any], said: tuple[str, str]
) -> None:
    provider: Any = installed()["ci-generic"]
    path, text = said
    held = [
        provider.build_source(options(provider, **given), "app").load_files(FILES)
        for given in (before, after)
    ]
    assert text not in held[0].get(path, b"").decode()
    assert text in held[1][path].decode()


TABLES: dict[str, Mapping[str, Sequence[Any]]] = {
    "github-actions": GITHUB,
    "gitlab-ci": GITLAB,
    "ci-generic": GENERIC,
}
EXEMPT = {
    "gitlab-ci": {
        "runner.enable": "true is refused, since this version installs no runner; "
        "false means the same as no option"
    },
}


def leaves(found: Sequence[FieldDoc], above: str = "") -> Iterator[str]:
    """Yield the paths of options that hold no further options."""
    for item in found:
        yield from leaves(item.inner, f"{above}{item.key}.") if item.inner else [above + item.key]


def at(given: Any, path: str) -> Any:
    for key in path.split("."):
        given = given.get(key) if isinstance(given, dict) else None
    return given


def covered(plugin: str) -> set[str]:
    """Yield the options that a row changes and is named after."""
    placed = {f"scm.{name}" for name in PLACED} | (set(OLDER) if plugin != "ci-generic" else set())
    return placed | {
        name
        for name, (before, after, _) in TABLES[plugin].items()
        if at(before, name) != at(after, name)
    }


CI_PLUGINS = [name for name, provider in installed().items() if provider.plugin in TABLES]


def test_all_ci_plugins_are_looked_at() -> None:
    assert len(CI_PLUGINS) == 9
    assert {installed()[name].plugin for name in CI_PLUGINS} == TABLES.keys()


@pytest.mark.parametrize("name", CI_PLUGINS)
def test_every_option_has_a_row_or_a_reason_to_have_none(name: str) -> None:
    provider = installed()[name]
    every = set(leaves(field_docs(provider.options)))
    exempt = EXEMPT.get(provider.plugin, {}).keys()
    assert every - covered(provider.plugin) == set(exempt)
