"""Reading and writing files in repositories on disk and over smart HTTP."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.address import Address
from engine.errors import (
    AuthError,
    CancelledError,
    NotFoundError,
    OutcomeUnknownError,
    ProviderError,
)
from engine.ports import Call
from providers._git.local import LocalRepository
from providers._git.objects import GitFile, TreeEntry, hash_blob
from providers._git.repository import GitRepository
from providers._git.urls import normalize_url, strip_credentials
from providers.scaffolding.removal import remove_repository
from tests.providers._git.git_http import GitServer, serve


def git(*args: str | Path, cwd: Path | None = None, stdin: str = "") -> str:
    done = subprocess.run(
        ["git", *map(str, args)], cwd=cwd, input=stdin, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


pytestmark = pytest.mark.usefixtures("bare_machine")


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return Call(Address("repo", "a"), base_dir=tmp_path, token="t-1", lineage="line-1")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    root = tmp_path / "served"
    root.mkdir()
    with serve(root) as running:
        yield running


@pytest.fixture(params=["disk", "http"])
def repository(
    request: pytest.FixtureRequest, tmp_path: Path, call: Call
) -> Iterator[GitRepository]:
    """Create an empty repository, on disk or behind smart HTTP."""
    bare = tmp_path / "served" / "me" / "app.git"
    GitRepository(str(bare), call=call).init_bare()
    if request.param == "disk":
        yield GitRepository(str(bare), call=call)
        return
    git("--git-dir", bare, "config", "uploadpack.allowFilter", "true")  # as GitHub and GitLab do
    with serve(tmp_path / "served") as running:
        yield GitRepository(running.with_password("me/app.git"), call=call)


def bare_path(tmp_path: Path) -> Path:
    return tmp_path / "served" / "me" / "app.git"


def install_pre_receive_hook(bare: Path, script: str) -> None:
    """Install a hook that runs this script on every push."""
    hook = bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{script}")
    hook.chmod(0o755)


def local_repository(repository: GitRepository) -> LocalRepository:
    assert repository.local is not None
    return repository.local


def test_empty_repository_has_no_branch(repository: GitRepository) -> None:
    assert repository.list_branches() == {}
    assert repository.read() is None
    assert repository.read_tip() is None


def test_committed_files_are_read_back(repository: GitRepository) -> None:
    sha = repository.commit(
        {"a.txt": b"one\n", "bin/run": GitFile(b"#!/bin/sh\n", "100755"), "ü x/b": b"\x00\xff"},
        "first",
    )
    assert repository.read() == {"a.txt": b"one\n", "bin/run": b"#!/bin/sh\n", "ü x/b": b"\x00\xff"}
    assert repository.read(["a.txt", "none"]) == {"a.txt": b"one\n"}
    tip = repository.read_tip()
    assert tip is not None
    assert tip.sha == sha
    assert tip.entries["bin/run"] == TreeEntry("100755", hash_blob(b"#!/bin/sh\n"))


def test_commit_changes_only_the_named_files(repository: GitRepository) -> None:
    repository.commit({"a": b"1", "run": GitFile(b"1", "100755"), "old": b"1"}, "first")
    repository.commit({"run": b"2", "old": None, "gone already": None}, "second")
    tip = repository.read_tip()
    assert tip is not None
    assert {path: entry.mode for path, entry in tip.entries.items()} == {
        "a": "100644",
        "run": "100755",
    }
    assert repository.read(["run"]) == {"run": b"2"}


def test_commit_without_changes_returns_the_tip(repository: GitRepository, tmp_path: Path) -> None:
    sha = repository.commit({"a": b"1"}, "first")
    assert repository.commit({"a": b"1", "b": None}, "again") == sha
    assert git("--git-dir", bare_path(tmp_path), "rev-list", "--count", "main") == "1"


def test_commit_has_author_and_marks(
    repository: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def author() -> str:
        return git(
            "--git-dir", bare_path(tmp_path), "log", "-1", "--format=%an <%ae>|%cn <%ce>", "main"
        )

    repository.commit({"a": b"1"}, "first")
    assert author() == "dtm <dtm@localhost>|dtm <dtm@localhost>"
    (tmp_path / "home" / ".gitconfig").write_text("[user]\nname = Ann\nemail = ann@x\n")
    repository.commit({"a": b"2"}, "second")
    assert author() == "Ann <ann@x>|Ann <ann@x>"
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Env")
    repository.commit({"a": b"3"}, "third", author="Bob <bob@x>")
    assert author() == "Bob <bob@x>|Bob <bob@x>"
    body = git("--git-dir", bare_path(tmp_path), "log", "-1", "--format=%B", "main")
    assert body == "third\n\nDtm-Address: repo/a\nDtm-Lineage: line-1\nDtm-Token: t-1"


def test_root_marks_are_those_of_the_first_commit(
    repository: GitRepository, tmp_path: Path
) -> None:
    repository.commit({"a": b"1"}, "first")
    later = GitRepository(repository.url, call=replace(repository.call, token="t-2"))
    later.commit({"a": b"2"}, "second")
    tip = later.read_tip(history=True)
    assert tip is not None
    assert tip.root_marks == {"address": "repo/a", "lineage": "line-1", "token": "t-1"}


def test_concurrent_commits_lose_nothing(repository: GitRepository, tmp_path: Path) -> None:
    failures: list[Exception] = []

    def write(n: int) -> None:
        try:
            repository.commit({f"file-{n}": b"x"}, f"writer {n}")
        except Exception as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(repository.read() or {}) == {f"file-{n}" for n in range(4)}
    assert git("--git-dir", bare_path(tmp_path), "rev-list", "--count", "main") == "4"


def test_new_branch_can_start_at_another_branch(repository: GitRepository) -> None:
    sha = repository.commit({"a": b"1"}, "first")
    side, same = (
        GitRepository(repository.url, name, call=repository.call) for name in ("side", "same")
    )
    side.commit({"b": b"1"}, "on a branch", start_branch="main")
    assert side.read() == {"a": b"1", "b": b"1"}
    assert same.commit({"a": b"1"}, "nothing new", start_branch="main") == sha
    assert same.list_branches() == {
        "main": sha,
        "same": sha,
        "side": (side.list_branches() or {})["side"],
    }


def test_first_commit_is_refused_on_an_existing_branch(repository: GitRepository) -> None:
    repository.commit({"a": b"1"}, "first", must_be_first=True)
    with pytest.raises(ProviderError, match="another client has just created the branch"):
        repository.commit({"b": b"1"}, "first", must_be_first=True)
    assert repository.read() == {"a": b"1"}


@pytest.mark.parametrize("path", ["../up", "/root", ".git/config", "a//b", "a/.GIT/x", ""])
def test_paths_outside_the_tree_are_refused(repository: GitRepository, path: str) -> None:
    with pytest.raises(ProviderError, match="is not a valid path for a file"):
        repository.commit({path: b""}, "bad")


@pytest.mark.parametrize("path", ["dir", "a/b"])
def test_path_that_conflicts_with_a_file_or_directory_is_refused(
    repository: GitRepository, path: str
) -> None:
    repository.commit({"dir/x": b"1", "a": b"1"}, "first")
    with pytest.raises(ProviderError, match=f'cannot write "{path}"'):
        repository.commit({path: b""}, "bad")


def test_repository_is_created_at_a_free_path(tmp_path: Path, call: Call) -> None:
    repository = GitRepository("new/app.git", "trunk", call=call)
    assert repository.read() is None
    assert repository.list_branches() is None
    with pytest.raises(NotFoundError, match="there is no repository"):
        repository.commit({"a": b""}, "first")
    repository.init_bare({"lineage": "line-1"})
    assert repository.list_branches() == {}
    assert local_repository(repository).read_marks() == {"lineage": "line-1"}
    repository.commit({"a": b"1"}, "first")
    repository.init_bare({"lineage": "other"})
    assert local_repository(repository).read_marks() == {"lineage": "line-1"}
    git("clone", tmp_path / "new" / "app.git", tmp_path / "clone")
    assert git("branch", "--show-current", cwd=tmp_path / "clone") == "trunk"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["app.git"]


def test_removal_can_be_repeated(tmp_path: Path, call: Call) -> None:
    repository = GitRepository(f"file://{tmp_path}/x%20y.git", call=call)
    repository.init_bare()
    assert (tmp_path / "x y.git" / "HEAD").is_file()
    remove_repository(local_repository(repository), lambda _marks: True)
    remove_repository(local_repository(repository), lambda _marks: True)
    assert [p.name for p in tmp_path.iterdir()] == ["home"]


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path, call: Call) -> None:
    repository = GitRepository("new/app.git", call=call)
    local = local_repository(repository)
    removal = partial(remove_repository, local, lambda _marks: True)
    for step, left in (
        (repository.init_bare, local.sibling_path("new")),
        (removal, local.sibling_path("gone")),
    ):
        left.mkdir(parents=True)
        (left / "half").write_text("made")
        step()
    assert list((tmp_path / "new").iterdir()) == []


def test_failed_creation_names_the_path(tmp_path: Path, call: Call) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProviderError, match=r"^cannot create .*/file/app\.git: "):
        GitRepository("file/app.git", call=call).init_bare()


def test_directory_with_other_content_is_refused(tmp_path: Path, call: Call) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("years")
    repository = GitRepository("work", call=call)
    for attempt in (repository.read, repository.init_bare):
        with pytest.raises(ProviderError, match="not a git repository"):
            attempt()
    assert (tmp_path / "work" / "thesis.txt").read_text() == "years"


def test_repository_of_a_parent_directory_is_ignored(tmp_path: Path, call: Call) -> None:
    git("init", "-q", tmp_path)
    assert GitRepository("inside", call=call).list_branches() is None


def test_push_to_a_checked_out_branch_is_refused(tmp_path: Path, call: Call) -> None:
    git("init", "-q", "--initial-branch=main", tmp_path / "work")
    git(
        "-c",
        "user.name=x",
        "-c",
        "user.email=x",
        "commit",
        "--allow-empty",
        "-qm",
        "x",
        cwd=tmp_path / "work",
    )
    with pytest.raises(ProviderError, match="checked out"):
        GitRepository("work", call=call).commit({"a": b""}, "first")
    GitRepository("work", "side", call=call).commit({"a": b""}, "first")
    assert GitRepository("work", "side", call=call).read() == {"a": b""}


def test_error_quotes_a_hook_that_refuses(tmp_path: Path, call: Call) -> None:
    repository = GitRepository("app.git", call=call)
    repository.init_bare()
    install_pre_receive_hook(tmp_path / "app.git", "echo we are closed >&2\nexit 1\n")
    with pytest.raises(ProviderError, match="we are closed"):
        repository.commit({"a": b""}, "first")


def test_git_variables_of_an_outer_hook_are_ignored(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    repository = GitRepository("app.git", call=call)
    repository.init_bare()
    repository.commit({"a": b"1"}, "first")
    assert repository.read() == {"a": b"1"}


def test_server_without_partial_clone_works(call: Call, server: GitServer) -> None:
    GitRepository(str(server.root / "app.git"), call=call).init_bare()
    repository = GitRepository(server.with_password("app.git"), call=call)
    repository.commit({"a": b"1", "b": b"1"}, "first")
    repository.commit({"b": b"2"}, "second")
    assert repository.read(["b"]) == {"b": b"2"}
    assert repository.read_default_branch() == "main"


def test_git_setting_instead_of_works(tmp_path: Path, call: Call, server: GitServer) -> None:
    GitRepository(str(server.root / "me" / "app.git"), call=call).init_bare()
    (tmp_path / "home" / ".gitconfig").write_text(
        f'[url "{server.with_password("")}"]\ninsteadOf = "forge:"\n'
    )
    repository = GitRepository("forge:me/app.git", call=call)
    repository.commit({"a": b"1"}, "first")
    assert repository.read() == {"a": b"1"}


def test_token_gives_access_and_is_not_shown(call: Call, server: GitServer) -> None:
    GitRepository(str(server.root / "app.git"), call=call).init_bare()
    server.private = True
    repository = GitRepository(f"{server.url}/app.git", call=call, token="s3cret-token")
    repository.commit({"a": b"1"}, "first")
    assert repository.read() == {"a": b"1"}
    with pytest.raises(AuthError) as caught:
        GitRepository(f"{server.url}/app.git", call=call, token="wrong-token").read()
    assert "wrong-token" not in str(caught.value) + caught.value.hint


def test_denied_access_names_the_next_step(call: Call, server: GitServer) -> None:
    GitRepository(str(server.root / "app.git"), call=call).init_bare()
    server.private = True
    url = server.url.replace("http://", "http://u:hunter2@") + "/app.git"
    for attempt in (
        GitRepository(server.url + "/app.git", call=call),
        GitRepository(url, call=call),
    ):
        with pytest.raises(AuthError) as caught:
            attempt.list_branches()
        assert "credential helper" in caught.value.hint
        assert "hunter2" not in str(caught.value) + attempt.location


def test_unreachable_host_is_retryable_and_not_absence(call: Call) -> None:
    with pytest.raises(ProviderError) as caught:
        GitRepository("http://127.0.0.1:1/me/app.git", call=call).read()
    assert caught.value.retryable
    assert not isinstance(caught.value, NotFoundError)


def test_not_found_by_the_host_means_absent(call: Call, server: GitServer) -> None:
    repository = GitRepository(f"{server.url}/none.git", call=call)
    assert repository.list_branches() is None
    assert repository.read() is None
    with pytest.raises(NotFoundError, match="cannot create repositories"):
        repository.init_bare()


def test_push_without_an_answer_is_looked_up(call: Call, server: GitServer) -> None:
    GitRepository(str(server.root / "app.git"), call=call).init_bare()
    repository = GitRepository(server.with_password("app.git"), call=call)
    server.cut_pushes = 1
    sha = repository.commit({"a": b"1"}, "first")
    assert repository.list_branches() == {"main": sha}


def test_deadline_and_cancellation_end_git_and_its_children(tmp_path: Path, call: Call) -> None:
    repository = GitRepository("app.git", call=call)
    repository.init_bare()
    install_pre_receive_hook(tmp_path / "app.git", "sleep 60\n")
    begin = time.monotonic()
    slow = replace(call, deadline=begin + 0.5)
    with pytest.raises(OutcomeUnknownError, match="may or may not"):
        GitRepository("app.git", call=slow).commit({"a": b""}, "first")
    assert time.monotonic() - begin < 5
    stopped = replace(call, cancelled=lambda: True)
    # A command that ends within one poll is not stopped.
    assert GitRepository("app.git", call=stopped).list_branches() == {}
    with pytest.raises((OutcomeUnknownError, CancelledError)):
        GitRepository("app.git", call=stopped).commit({"a": b""}, "first")


@pytest.mark.parametrize(
    ("url", "identity"),
    [
        ("https://GitHub.com/Me/App.git", "github.com/me/app"),
        ("git@github.com:Me/App.git", "github.com/me/app"),
        ("ssh://git@github.com/me/app", "github.com/me/app"),
        ("https://u:p@git.Example.com/Me/App/", "git.example.com/Me/App"),
        ("http://127.0.0.1:8080/me/app.git", "127.0.0.1:8080/me/app"),
        ("file:///srv/git/../Me%20x.git", "/srv/Me x.git"),
        ("./repos//app.git", "repos/app.git"),
        ("[::1]:me/app", "[::1]/me/app"),
    ],
)
def test_all_urls_of_a_repository_have_one_identity(url: str, identity: str) -> None:
    assert normalize_url(url) == identity


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h/x", "https://h/x"),
        ("ssh://git:p@h/x", "ssh://git@h/x"),
        ("git@h:x", "git@h:x"),
        ("/a/b@c", "/a/b@c"),
    ],
)
def test_urls_are_shown_without_credentials(url: str, shown: str) -> None:
    assert strip_credentials(url) == shown


def test_blob_ids_are_those_of_git() -> None:
    assert hash_blob(b"test Content") == "d9c012c6ecfcc8ce04a6538cc43490b1d5401241"


def test_malformed_author_is_refused(call: Call) -> None:
    repository = GitRepository("app.git", call=call)
    repository.init_bare()
    with pytest.raises(ProviderError, match='invalid author "Ann"') as caught:
        repository.commit({"a": b""}, "x", author="Ann")
    assert "Name <mail@example.com>" in caught.value.hint


def test_missing_git_program_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ProviderError, match="git is not installed"):
        GitRepository("http://127.0.0.1:1/x", call=call).list_branches()
