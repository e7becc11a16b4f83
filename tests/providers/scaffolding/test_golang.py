"""The older names of repo-scaffolding accept its options and their own."""

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
LOCATION = {"owner": "me", "name": "app", "scmType": "local"}
NESTED: dict[str, Any] = {
    "destinationRepo": {**LOCATION, "branch": "trunk", "visibility": "private"},
    "sourceRepo": "golang-cli",
    "vars": {"imageRepo": "you/app"},
    "author": "Ann <ann@example.com>",
}


@pytest.mark.parametrize("struct", [GithubOptions, GitlabOptions])
def test_older_names_accept_the_options_of_repo_scaffolding(struct: type[GithubOptions]) -> None:
    values, faults = decode(NESTED, struct, env={})
    assert not faults
    assert values == decode(NESTED, ScaffoldOptions, env={})[0]
    assert build_golang_request(build(values, struct)) == build_request(
        build(values, ScaffoldOptions)
    )


@pytest.mark.parametrize("name", [github_golang, gitlab_golang])
def test_older_names_read_a_repository_of_repo_scaffolding(tmp_path: Path, name: Any) -> None:
    call, old = Call(base_dir=tmp_path, address=ADDRESS), name()
    made = repo_scaffolding().create(options(repo_scaffolding(), **NESTED), call)
    given = options(old, **NESTED)
    assert old.read(given, made, call) == made
    assert old.identity(given) == made.id == "repos/me/app.git"


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        ({"name": "b"}, "name"),
        ({"owner": "b", "branch": "x"}, "owner, branch"),
        ({"url": "./x.git"}, "url"),
    ],
)
def test_options_next_to_destination_repo_are_refused(beside: dict[str, str], named: str) -> None:
    _, faults = decode({**NESTED, **beside}, GithubOptions, env={})
    assert [fault.message for fault in faults] == [
        f"{named} must be set inside destinationRepo, not next to it"
    ]


def test_flat_options_accept_template_and_values() -> None:
    found = build_golang_request(
        options(
            github_golang(),
            **LOCATION,
            imageRepo="me/x",
            sourceRepo="golang-cli",
            vars={"greeting": "Hi"},
        )
    )
    assert found.template == "golang-cli"
    assert found.vars == {"ImageRepo": "me/x", "greeting": "Hi"}


def test_unknown_destination_raises_unknown_value() -> None:
    with pytest.raises(UnknownValueError):
        build_golang_request(build({"destinationRepo": UNKNOWN}, GithubOptions))
