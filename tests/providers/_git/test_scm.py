"""The location that a block of repository options names."""

from __future__ import annotations

import msgspec
import pytest

from providers._git.scm import NO_REPO_API, Repo, locate


def locate_fields(**options: str) -> tuple[str, str, str, str, str, str]:
    found = locate(msgspec.convert(options, Repo))
    return found.url, found.owner, found.org, found.name, found.branch, found.scm_type


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"url": "git@github.com:test/dtm-test.git"},
            ("git@github.com:test/dtm-test.git", "test", "", "dtm-test", "main", "github"),
        ),
        (
            {"url": "http://gitlab.test.com:3000/root/test-demo.git", "scmType": "gitlab"},
            (
                "http://gitlab.test.com:3000/root/test-demo.git",
                "root",
                "",
                "test-demo",
                "master",
                "gitlab",
            ),
        ),
        (
            {"url": "git@gitlab.test.com:root/test-demo.git", "scmType": "gitlab", "org": "cloud"},
            (
                "git@gitlab.test.com:root/test-demo.git",
                "",
                "cloud",
                "test-demo",
                "master",
                "gitlab",
            ),
        ),
        (
            {"url": "github.com/Me/App"},
            ("https://github.com/Me/App", "Me", "", "App", "main", "github"),
        ),
        (
            {"url": "https://gitlab.com/group/sub/app.git"},
            ("https://gitlab.com/group/sub/app.git", "group/sub", "", "app", "master", "gitlab"),
        ),
        (
            {"url": "http://127.0.0.1:8080/app.git"},
            ("http://127.0.0.1:8080/app.git", "", "", "app", "main", "git"),
        ),
        (
            {"url": "./repos/app.git", "owner": "me"},
            ("./repos/app.git", "me", "", "app", "main", "local"),
        ),
        (
            {"url": "/srv/git/app.git", "branch": "trunk"},
            ("/srv/git/app.git", "", "", "app", "trunk", "local"),
        ),
        (
            {"url": "file:///srv/my%20app.git"},
            ("file:///srv/my%20app.git", "", "", "my app", "main", "local"),
        ),
        (
            {"scmType": "local", "owner": "me", "name": "app"},
            ("./repos/me/app.git", "me", "", "app", "main", "local"),
        ),
        ({"scmType": "local", "name": "app"}, ("./repos/app.git", "", "", "app", "main", "local")),
        (
            {"scmType": "local", "org": "us", "name": "app", "baseURL": "/srv/git/"},
            ("/srv/git/us/app.git", "", "us", "app", "main", "local"),
        ),
        (
            {"baseURL": "https://git.test", "org": "us", "name": "app"},
            ("https://git.test/us/app.git", "", "us", "app", "main", "git"),
        ),
        (
            {"scmType": "local", "name": "app", "baseURL": "x/y"},
            ("./x/y/app.git", "", "", "app", "main", "local"),
        ),
        (
            {"scmType": "gitlab", "baseURL": "gitlab.test.com", "owner": "me", "name": "app"},
            ("https://gitlab.test.com/me/app.git", "me", "", "app", "master", "gitlab"),
        ),
    ],
)
def test_repo_options_resolve_to_a_location(
    options: dict[str, str], expected: tuple[str, ...]
) -> None:
    assert locate_fields(**options) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "git@github.comtest/x.git"}, "git url ssh repo not valid"),
        ({"url": "git@test.com"}, "git url ssh repo not valid"),
        ({"url": "http://test.com/test_user"}, "git url repo path is not valid"),
        ({"url": "exist.com"}, 'git url repo path is not valid: "https://exist.com"'),
        ({"url": "I'm just a string"}, "git url repo transport not support for now"),
        ({"url": "ftp://test.com/a/b"}, "git url repo transport not support for now"),
        ({"url": "ext::sh -c true"}, "git url repo transport not support for now"),
        ({"url": "--upload-pack=x"}, "git url repo transport not support for now"),
        (
            {"url": "./a.git", "owner": "a", "org": "b"},
            "git org and owner can't be configured at the same time",
        ),
        ({"owner": "a", "scmType": "local"}, "git name field must be configured"),
        ({"owner": "a", "name": "b", "scmType": "github"}, NO_REPO_API),
        ({"owner": "a", "name": "b", "scmType": "gitlab"}, NO_REPO_API),
        ({"owner": "a", "name": "b"}, "the repository has no location"),
        ({"url": "https://git.test/a/b", "scmType": "local"}, "needs a path"),
        ({"scmType": "svn", "name": "b"}, "Invalid enum value 'svn'"),
    ],
)
def test_invalid_repo_options_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        locate_fields(**options)
    assert message in str(caught.value)
