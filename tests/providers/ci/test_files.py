"""CI files in repositories: written, compared, moved and removed; and the sources of files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from engine.errors import AuthError, NotFoundError, ProviderError
from engine.ports import AnyProvider
from engine.state import Resource
from engine.values import UNKNOWN, UnknownValueError
from providers._git.objects import hash_blob
from providers.ci.generic import CIGeneric
from providers.ci.github import GitHubActions
from providers.ci.gitlab import GitLabCI
from tests.providers._git.repos import (
    call,
    faults,
    list_files,
    list_messages,
    make,
    options,
    push,
    show,
)

SCM = {"scmType": "local", "owner": "me", "name": "app"}
MAIN = ".github/workflows/main.yml"
YAML = "on: push\n"


def github(**pipeline: Any) -> Any:
    return options(GitHubActions(), scm=SCM, pipeline={"language": {"name": "go"}, **pipeline})


def generic(kind: str = "github", **ci: Any) -> Any:
    return options(CIGeneric(), scm=SCM, ci={"type": kind, **ci})


def written(provider: AnyProvider, chosen: Any, directory: Path) -> dict[str, str]:
    """Return the files that the provider writes to the repository, by path."""
    bare = make(directory)
    provider.create(chosen, call(directory))
    return {path: show(bare, path) for path in list_files(bare) - {"README.md"}}


def test_commit_has_a_subject_and_marks(tmp_path: Path) -> None:
    bare = make(tmp_path)
    GitHubActions().create(github(), call(tmp_path, "github-actions"))
    newest = list_messages(bare)[0]
    assert newest.splitlines()[0] == f"ci: write {MAIN}"
    assert {"Dtm-Address: github-actions/a", "Dtm-Lineage: line-1", "Dtm-Token: t-1"} <= set(
        newest.splitlines()
    )


def test_unchanged_files_make_no_commit(tmp_path: Path) -> None:
    bare = make(tmp_path)
    made = GitHubActions().create(github(), call(tmp_path))
    GitHubActions().update(github(), made, call(tmp_path))
    GitHubActions().create(github(), call(tmp_path))
    assert len(list_messages(bare)) == 2


def test_create_and_delete_touch_only_own_files(tmp_path: Path) -> None:
    bare = make(tmp_path)
    push(bare, {".github/workflows/release.yml": YAML, "src/x.go": "package x\n"})
    made = GitHubActions().create(github(), call(tmp_path))
    GitHubActions().delete(github(), made, call(tmp_path))
    assert list_files(bare) == {"README.md", ".github/workflows/release.yml", "src/x.go"}


def test_update_removes_files_that_are_not_wanted(tmp_path: Path) -> None:
    bare = make(tmp_path)
    made = CIGeneric().create(
        generic(configContents={"a.yml": YAML, "b.yml": YAML}), call(tmp_path)
    )
    CIGeneric().update(
        generic(configContents={"b.yml": "on: release\n", "c.yml": YAML}), made, call(tmp_path)
    )
    assert list_files(bare) == {"README.md", ".github/workflows/b.yml", ".github/workflows/c.yml"}


def test_update_does_not_overwrite_a_file_of_another_author(
    tmp_path: Path,
) -> None:
    bare = make(tmp_path)
    made = CIGeneric().create(generic(configContents={"a.yml": YAML}), call(tmp_path))
    push(bare, {".github/workflows/b.yml": "on: release\n"})
    with pytest.raises(ProviderError, match=r"already has \.github/workflows/b\.yml") as refused:
        CIGeneric().update(
            generic(configContents={"a.yml": YAML, "b.yml": YAML}), made, call(tmp_path)
        )
    assert "choose another path" in refused.value.hint
    assert show(bare, ".github/workflows/b.yml") == "on: release\n"


def test_existing_file_with_wanted_content_is_accepted(tmp_path: Path) -> None:
    bare = make(tmp_path)
    push(bare, {".github/workflows/a.yml": YAML})
    CIGeneric().create(generic(configContents={"a.yml": YAML}), call(tmp_path))
    assert len(list_messages(bare)) == 2


def test_update_moves_files_to_another_repository(tmp_path: Path) -> None:
    old, new = make(tmp_path), make(tmp_path, "repos/me/web.git")
    provider, elsewhere = (
        GitHubActions(),
        options(GitHubActions(), url="./repos/me/web.git", language={"name": "go"}),
    )
    made = provider.create(github(), call(tmp_path))
    live = provider.read(elsewhere, made, call(tmp_path))
    assert live is not None and live.attributes["files"] == made.attributes["files"]
    moved = provider.update(elsewhere, live, call(tmp_path))
    assert list_files(old) == {"README.md"}
    assert list_files(new) == {"README.md", MAIN}
    assert moved.outputs["repoURL"] == "./repos/me/web.git"
    assert provider.read(elsewhere, moved, call(tmp_path)) == moved


def test_older_repository_options_have_the_same_identity(tmp_path: Path) -> None:
    provider = GitHubActions()
    flat = options(provider, scmType="local", owner="me", repo="app", language={"name": "go"})
    assert provider.identity(flat) == provider.identity(github())


def test_missing_repository_reads_as_absent_and_create_fails(tmp_path: Path) -> None:
    assert GitHubActions().read(github(), None, call(tmp_path)) is None
    with pytest.raises(NotFoundError, match="there is no repository") as missing:
        GitHubActions().create(github(), call(tmp_path))
    assert "repo-scaffolding" in missing.value.hint


def test_missing_branch_is_refused_with_the_existing_ones(
    tmp_path: Path,
) -> None:
    bare = make(tmp_path)
    wrong = options(
        GitHubActions(), scm={**SCM, "branch": "mian"}, pipeline={"language": {"name": "go"}}
    )
    with pytest.raises(ProviderError, match="has no branch mian") as refused:
        GitHubActions().create(wrong, call(tmp_path))
    assert refused.value.hint == "set branch to main, or push mian first"
    assert list_files(bare) == {"README.md"}


def test_needed_ci_secrets_are_reported(tmp_path: Path) -> None:
    make(tmp_path)
    reported: list[str] = []
    calling = replace(call(tmp_path), report=lambda text, _fraction=None: reported.append(text))
    made = GitHubActions().create(github(imageRepo={"user": "me", "password": "hush"}), calling)
    assert reported == ["Create these CI secrets in app, since dtm does not: IMAGE_REPO_SECRET"]
    assert made.outputs["secrets"] == ["IMAGE_REPO_SECRET"]
    assert "hush" not in repr(made)


def test_attributes_hold_the_blob_id_of_each_file(tmp_path: Path) -> None:
    make(tmp_path)
    made = CIGeneric().create(
        generic(configContents={"a.yml": YAML, "b.yml": YAML}), call(tmp_path)
    )
    ids = {f".github/workflows/{name}.yml": hash_blob(YAML.encode()) for name in "ab"}
    assert made.attributes == {"files": ids, "rendered": ids}
    assert made.outputs["files"] == sorted(ids)


@pytest.mark.parametrize("unknown", ["url", "name", "branch"])
def test_identity_is_unknown_for_an_unknown_repository(unknown: str) -> None:
    scm = {"scmType": "local", "name": "app", unknown: UNKNOWN}
    chosen = options(GitHubActions(), scm=scm, pipeline={"language": {"name": "go"}})
    with pytest.raises(UnknownValueError):
        GitHubActions().identity(chosen)
    assert GitHubActions().predict(chosen, None)["secrets"] == []


def test_paths_in_a_directory_are_predicted_only_for_one_file(tmp_path: Path) -> None:
    assert CIGeneric().predict(generic(configLocation="ci"), None)["files"] is UNKNOWN
    assert CIGeneric().predict(generic("jenkins", configLocation="ci"), None)["files"] == [
        "Jenkinsfile"
    ]


# --- the source of the files


@pytest.fixture
def url() -> Iterator[str]:
    """Serve YAML at /ok.yml and /raw, a web page at /page, and the status N at /N."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/").partition("?")[0]
            body = (
                b"<html><p>hello</p></html>"
                if name == "page"
                else b"on: [[ event ]]\n"
                if name == "raw"
                else YAML.encode()
            )
            self.send_response(int(name) if name.isdigit() else 200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


TREE = {
    "main.yml": YAML,
    "sub/other.yaml": YAML,
    "readme.md": "no",
    "x.yml.bak": "no",
    ".gitlab-ci.yml": "x: {}\n",
    "Jenkinsfile": "node {}",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, content in TREE.items():
        file = tmp_path / "ci" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "location", "paths"),
    [
        (
            "github",
            "ci",
            {
                ".github/workflows/main.yml",
                ".github/workflows/other.yaml",
                ".github/workflows/.gitlab-ci.yml",
            },
        ),
        ("github", "ci/sub", {".github/workflows/other.yaml"}),
        ("github", "ci/sub/other.yaml", {".github/workflows/other.yaml"}),
        ("gitlab", "ci", {".gitlab-ci.yml"}),
        ("gitlab", "ci/main.yml", {".gitlab-ci.yml"}),
        ("jenkins", "ci", {"Jenkinsfile"}),
        ("jenkins", "ci/readme.md", {"Jenkinsfile"}),
    ],
)
def test_location_gives_the_files_of_its_ci_system(
    kind: str, location: str, paths: set[str], tree: Path
) -> None:
    assert written(CIGeneric(), generic(kind, configLocation=location), tree).keys() == paths


def test_location_is_a_path_a_file_url_or_below_home(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tree))
    make(tree)
    for location in (
        "ci/main.yml",
        f"file://{tree}/ci/main.yml",
        str(tree / "ci/main.yml"),
        "~/ci/main.yml",
    ):
        made = CIGeneric().create(generic(configLocation=location), call(tree))
        assert made.attributes["files"] == {MAIN: hash_blob(YAML.encode())}


def test_url_is_fetched(url: str, tmp_path: Path) -> None:
    assert written(CIGeneric(), generic(configLocation=f"{url}/ok.yml?x=1"), tmp_path) == {
        ".github/workflows/ok.yml": YAML
    }


def test_url_without_a_file_name_gives_the_default_path(url: str, tmp_path: Path) -> None:
    chosen = generic(configLocation=f"{url}/raw", vars={"event": "push"})
    assert CIGeneric().predict(chosen, None)["files"] == [MAIN]
    assert written(CIGeneric(), chosen, tmp_path) == {MAIN: YAML}


@pytest.mark.parametrize(
    ("path", "error", "retryable", "expected"),
    [
        ("404", NotFoundError, False, ": 404 "),
        ("403", AuthError, False, ": 403 "),
        ("429", ProviderError, True, ": 429 "),
        ("503", ProviderError, True, ": 503 "),
        ("page", ProviderError, False, "is not a YAML map"),
    ],
)
def test_url_without_a_usable_file_fails(
    path: str, error: type[ProviderError], retryable: bool, expected: str, url: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=expected) as raised:
        CIGeneric().read(generic(configLocation=f"{url}/{path}"), None, call(tmp_path))
    assert raised.value.retryable is retryable


def test_unreachable_server_is_retryable(url: str, tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="cannot fetch") as raised:
        CIGeneric().read(generic(configLocation="http://127.0.0.1:1/x.yml"), None, call(tmp_path))
    assert raised.value.retryable


@pytest.mark.parametrize(
    ("kind", "location", "expected"),
    [
        ("github", "nowhere.yml", "cannot read"),
        ("gitlab", "ci/sub", "has no file for GitLab CI"),
        ("jenkins", "ci/sub", "has no file for Jenkins"),
        ("github", "ftp://x/y.yml", "is not supported"),
        ("github", "broken.yml", "is not valid YAML"),
        ("github", "latin.yml", "is not UTF-8 text"),
        ("github", "twins", "has several files of the same name"),
    ],
)
def test_location_without_a_usable_file_fails(
    kind: str, location: str, expected: str, tree: Path
) -> None:
    (tree / "broken.yml").write_text("a: [", "utf-8")
    (tree / "latin.yml").write_bytes(b"\xff\xfe")
    for name in ("a", "b"):
        (tree / "twins" / name).mkdir(parents=True)
        (tree / "twins" / name / "x.yml").write_text(YAML, "utf-8")
    with pytest.raises(ProviderError, match=expected):
        CIGeneric().read(generic(kind, configLocation=location), None, call(tree))


def test_contents_take_precedence_over_location(tmp_path: Path) -> None:
    assert written(
        CIGeneric(), generic(configContents={"a.yml": YAML}, configLocation="nowhere"), tmp_path
    ).keys() == {".github/workflows/a.yml"}


TEMPLATE = """\
on: [[ event ]]
env:
  A: ${{ secrets.A }}
  B: [[ .image.name ]]
  C: $[[ inputs.c ]]
run: if [[ -f x ]]; then :; fi
"""


def test_variables_are_replaced_and_other_brackets_kept(tmp_path: Path) -> None:
    chosen = generic(
        configContents={"a.yml": TEMPLATE}, vars={"event": "push", "image": {"name": "me/app"}}
    )
    [content] = written(CIGeneric(), chosen, tmp_path).values()
    assert content == TEMPLATE.replace("[[ event ]]", "push").replace("[[ .image.name ]]", "me/app")


def test_brackets_are_kept_without_values(tmp_path: Path) -> None:
    assert (
        written(
            CIGeneric(), generic(configContents={"a.yml": "on: '[[ event ]]'\n"}), tmp_path
        ).popitem()[1]
        == "on: '[[ event ]]'\n"
    )


def test_every_variable_without_a_value_is_named(tmp_path: Path) -> None:
    chosen = generic(
        configContents={"a.yml": "[[ a ]]: [[ b.c ]]\n[[ d ]]: 1\n"}, vars={"d": "x", "b": {"e": 1}}
    )
    with pytest.raises(
        ProviderError, match=r"use \[\[ a \]\], \[\[ b\.c \]\], but no value is set"
    ) as raised:
        CIGeneric().read(chosen, None, call(tmp_path))
    assert raised.value.hint == "set the missing values in vars (values are set for b, d)"


def test_template_variables_replace_curly_brackets(tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text("x: {script: ['echo {{ .Name }} ${{ y }}']}\n", "utf-8")
    given = {
        "scmType": "local",
        "pathWithNamespace": "me/app",
        "templateURL": "t.yml",
        "templateVariables": {"Name": "Ann"},
    }
    assert written(GitLabCI(), options(GitLabCI(), **given), tmp_path) == {
        ".gitlab-ci.yml": "x: {script: ['echo Ann ${{ y }}']}\n"
    }
    given["templateVariables"] = {"Other": "x"}
    with pytest.raises(ProviderError, match=r"\{\{ Name \}\}"):
        GitLabCI().read(options(GitLabCI(), **given), None, call(tmp_path))


def test_user_files_can_use_options_but_no_secrets(
    tmp_path: Path,
) -> None:
    pipeline: dict[str, Any] = {
        "configContents": {
            "a.yml": "on: '[[ app ]] [[ language.framework ]] [[ imageRepo.user ]] [[ x ]]'\n"
        },
        "vars": {"x": 1},
        "language": {"framework": "gin"},
        "imageRepo": {"user": "me", "password": "hush"},
    }
    provider = GitHubActions()
    assert (
        written(provider, options(provider, scm=SCM, pipeline=pipeline), tmp_path).popitem()[1]
        == "on: 'app gin me 1'\n"
    )
    pipeline["configContents"] = {"a.yml": "on: '[[ imageRepo.password ]]'\n"}
    with pytest.raises(ProviderError, match=r"imageRepo\.password"):
        provider.read(options(provider, scm=SCM, pipeline=pipeline), None, call(tmp_path))


@pytest.mark.parametrize(
    ("ci", "expected"),
    [
        ({"type": "github"}, "set ci.configLocation or ci.configContents"),
        ({"type": "circle", "configLocation": "x"}, 'must be one of "github", "gitlab", "jenkins"'),
        (
            {"type": "jenkins", "configContents": {"x": "y"}},
            "Jenkins does not read x: rename to Jenkinsfile",
        ),
    ],
)
def test_invalid_options_are_refused(ci: dict[str, Any], expected: str) -> None:
    assert expected in faults(CIGeneric(), scm=SCM, ci=ci)


def test_older_name_project_repo_is_accepted(tmp_path: Path) -> None:
    chosen: Any = options(
        CIGeneric(),
        projectRepo=SCM,
        ci={"type": "jenkins", "configContents": {"Jenkinsfile": "node {}\n"}},
    )
    assert written(CIGeneric(), chosen, tmp_path) == {"Jenkinsfile": "node {}\n"}


def test_record_without_files_removes_nothing(tmp_path: Path) -> None:
    bare = make(tmp_path)
    push(bare, {MAIN: YAML})
    GitHubActions().delete(
        github(), Resource("x", {"workflowDir": "/repos/me/app"}), call(tmp_path)
    )
    assert list_files(bare) == {"README.md", MAIN}


@pytest.mark.parametrize(
    "attributes", [{MAIN: {"localSHA": "1", "scm": []}}, {"files": {MAIN: "?"}}]
)
def test_devstream_record_owns_the_files_it_names(
    attributes: dict[str, Any], tmp_path: Path
) -> None:
    push(make(tmp_path), {MAIN: "on: what DevStream wrote\n"})
    provider = GitHubActions()
    live = provider.read(github(), Resource("x", attributes), call(tmp_path))
    assert live is not None and live.outputs["repoURL"] == "./repos/me/app.git"
    made = provider.update(github(), live, call(tmp_path))
    assert provider.read(github(), made, call(tmp_path)) == made
