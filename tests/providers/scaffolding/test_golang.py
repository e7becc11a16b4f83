"""The older names of repo-scaffolding take its options as well as their own."""

from pathlib import Path
from typing import Any

import pytest

from engine.address import Address
from engine.options.decode import build, decode
from engine.ports import Call
from engine.values import UNKNOWN, UnknownValueError
from providers.scaffolding.options import (
    GithubOptions,
    GitlabOptions,
    ScaffoldOptions,
    build_golang_request,
    build_request,
)
from providers.scaffolding.provider import github_golang, gitlab_golang, repo_scaffolding
from tests.providers._git.repos import options

ADDRESS = Address("repo-scaffolding", "a")
PLACE = {"owner": "me", "name": "app", "scmType": "local"}
GENERAL: dict[str, Any] = {
    "destinationRepo": {**PLACE, "branch": "trunk", "visibility": "private"},
    "sourceRepo": "golang-cli",
    "vars": {"imageRepo": "you/app"},
    "author": "Ann <ann@example.com>",
}


@pytest.mark.parametrize("struct", [GithubOptions, GitlabOptions])
def test_the_general_options_mean_the_same_under_an_older_name(struct: type[GithubOptions]) -> None:
    values, faults = decode(GENERAL, struct, env={})
    assert not faults
    assert values == decode(GENERAL, ScaffoldOptions, env={})[0]
    assert build_golang_request(build(values, struct)) == build_request(
        build(values, ScaffoldOptions)
    )


@pytest.mark.parametrize("name", [github_golang, gitlab_golang])
def test_a_repository_made_under_the_general_name_is_the_same_under_an_older_one(
    tmp_path: Path, name: Any
) -> None:
    call, old = Call(base_dir=tmp_path, address=ADDRESS), name()
    made = repo_scaffolding().create(options(repo_scaffolding(), **GENERAL), call)
    asked = options(old, **GENERAL)
    assert old.read(asked, made, call) == made
    assert old.identity(asked) == made.id == "repos/me/app.git"


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        ({"name": "b"}, "name"),
        ({"owner": "b", "branch": "x"}, "owner, branch"),
        ({"url": "./x.git"}, "url"),
    ],
)
def test_a_repository_is_named_in_one_place_only(beside: dict[str, str], named: str) -> None:
    _, faults = decode({**GENERAL, **beside}, GithubOptions, env={})
    assert [fault.message for fault in faults] == [
        f"{named} must be set inside destinationRepo, not next to it"
    ]


def test_the_flat_options_may_name_a_template_and_values_too() -> None:
    found = build_golang_request(
        options(
            github_golang(),
            **PLACE,
            imageRepo="me/x",
            sourceRepo="golang-cli",
            vars={"greeting": "Hi"},
        )
    )
    assert found.template == "golang-cli"
    assert found.vars == {"ImageRepo": "me/x", "greeting": "Hi"}


def test_an_unknown_destination_is_said_to_be_unknown() -> None:
    with pytest.raises(UnknownValueError):
        build_golang_request(build({"destinationRepo": UNKNOWN}, GithubOptions))
