"""Reading and writing files in repositories on disk and over real smart HTTP."""

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
    """Make an empty repository, on disk or behind smart HTTP."""
    bare = tmp_path / "served" / "me" / "app.git"
    GitRepository(str(bare), call=call).init_bare()
    if request.param == "disk":
        yield GitRepository(str(bare), call=call)
        return
    git("--git-dir", bare, "config", "uploadpack.allowFilter", "true")  # as the large hosts do
    with serve(tmp_path / "served") as running:
        yield GitRepository(running.with_password("me/app.git"), call=call)


def bare_of(tmp_path: Path) -> Path:
    return tmp_path / "served" / "me" / "app.git"


def pre_receive(bare: Path, script: str) -> None:
    """Have every push run this script."""
    hook = bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{script}")
    hook.chmod(0o755)


def on_disk(repository: GitRepository) -> LocalRepository:
    assert repository.local is not None
    return repository.local


def test_an_empty_repository_exists_and_has_no_branch(repository: GitRepository) -> None:
    assert repository.list_branches() == {}
    assert repository.read() is None
    assert repository.read_tip() is None


def test_what_was_committed_is_read_back(repository: GitRepository) -> None:
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


def test_a_commit_changes_only_what_it_names(repository: GitRepository) -> None:
    repository.commit({"a": b"1", "run": GitFile(b"1", "100755"), "old": b"1"}, "first")
    repository.commit({"run": b"2", "old": None, "gone already": None}, "second")
    tip = repository.read_tip()
    assert tip is not None
    assert {path: entry.mode for path, entry in tip.entries.items()} == {
        "a": "100644",
        "run": "100755",
    }
    assert repository.read(["run"]) == {"run": b"2"}


def test_a_commit_that_changes_nothing_is_none(repository: GitRepository, tmp_path: Path) -> None:
    sha = repository.commit({"a": b"1"}, "first")
    assert repository.commit({"a": b"1", "b": None}, "again") == sha
    assert git("--git-dir", bare_of(tmp_path), "rev-list", "--count", "main") == "1"


def test_a_commit_carries_author_and_trailers(
    repository: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def author() -> str:
        return git(
            "--git-dir", bare_of(tmp_path), "log", "-1", "--format=%an <%ae>|%cn <%ce>", "main"
        )

    repository.commit({"a": b"1"}, "first")
    assert author() == "dtm <dtm@localhost>|dtm <dtm@localhost>"
    (tmp_path / "home" / ".gitconfig").write_text("[user]\nname = Ann\nemail = ann@x\n")
    repository.commit({"a": b"2"}, "second")
    assert author() == "Ann <ann@x>|Ann <ann@x>"
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Env")
    repository.commit({"a": b"3"}, "third", author="Bob <bob@x>")
    assert author() == "Bob <bob@x>|Bob <bob@x>"
    body = git("--git-dir", bare_of(tmp_path), "log", "-1", "--format=%B", "main")
    assert body == "third\n\nDtm-Address: repo/a\nDtm-Lineage: line-1\nDtm-Token: t-1"


def test_the_first_commit_tells_whose_it_is(repository: GitRepository, tmp_path: Path) -> None:
    repository.commit({"a": b"1"}, "first")
    later = GitRepository(repository.url, call=replace(repository.call, token="t-2"))
    later.commit({"a": b"2"}, "second")
    tip = later.read_tip(history=True)
    assert tip is not None
    assert tip.root_marks == {"address": "repo/a", "lineage": "line-1", "token": "t-1"}


def test_many_writers_lose_nothing(repository: GitRepository, tmp_path: Path) -> None:
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
    assert git("--git-dir", bare_of(tmp_path), "rev-list", "--count", "main") == "4"


def test_a_new_branch_may_begin_at_another_one(repository: GitRepository) -> None:
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


def test_a_first_commit_is_not_put_on_top_of_somebody_elses(repository: GitRepository) -> None:
    repository.commit({"a": b"1"}, "first", must_be_first=True)
    with pytest.raises(ProviderError, match="another client has just created the branch"):
        repository.commit({"b": b"1"}, "first", must_be_first=True)
    assert repository.read() == {"a": b"1"}


@pytest.mark.parametrize("path", ["../up", "/root", ".git/config", "a//b", "a/.GIT/x", ""])
def test_paths_outside_the_tree_are_refused(repository: GitRepository, path: str) -> None:
    with pytest.raises(ProviderError, match="is not a valid path for a file"):
        repository.commit({path: b""}, "bad")


@pytest.mark.parametrize("path", ["dir", "a/b"])
def test_a_file_never_replaces_a_directory_nor_hides_below_a_file(
    repository: GitRepository, path: str
) -> None:
    repository.commit({"dir/x": b"1", "a": b"1"}, "first")
    with pytest.raises(ProviderError, match=f'cannot write "{path}"'):
        repository.commit({path: b""}, "bad")


def test_an_absent_path_is_no_repository_and_can_become_one(tmp_path: Path, call: Call) -> None:
    repository = GitRepository("new/app.git", "trunk", call=call)
    assert repository.read() is None
    assert repository.list_branches() is None
    with pytest.raises(NotFoundError, match="there is no repository"):
        repository.commit({"a": b""}, "first")
    repository.init_bare({"lineage": "line-1"})
    assert repository.list_branches() == {}
    assert on_disk(repository).read_marks() == {"lineage": "line-1"}
    repository.commit({"a": b"1"}, "first")
    repository.init_bare({"lineage": "other"})
    assert on_disk(repository).read_marks() == {"lineage": "line-1"}
    git("clone", tmp_path / "new" / "app.git", tmp_path / "clone")
    assert git("branch", "--show-current", cwd=tmp_path / "clone") == "trunk"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["app.git"]


def test_delete_removes_the_repository_and_once_more_is_fine(tmp_path: Path, call: Call) -> None:
    repository = GitRepository(f"file://{tmp_path}/x%20y.git", call=call)
    repository.init_bare()
    assert (tmp_path / "x y.git" / "HEAD").is_file()
    remove_repository(on_disk(repository), lambda _marks: True)
    remove_repository(on_disk(repository), lambda _marks: True)
    assert [p.name for p in tmp_path.iterdir()] == ["home"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path, call: Call) -> None:
    repository = GitRepository("new/app.git", call=call)
    local = on_disk(repository)
    removal = partial(remove_repository, local, lambda _marks: True)
    for step, left in (
        (repository.init_bare, local.sibling_path("new")),
        (removal, local.sibling_path("gone")),
    ):
        left.mkdir(parents=True)
        (left / "half").write_text("made")
        step()
    assert list((tmp_path / "new").iterdir()) == []


def test_a_directory_that_cannot_be_made_is_an_error_with_its_path(
    tmp_path: Path, call: Call
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProviderError, match=r"^cannot create .*/file/app\.git: "):
        GitRepository("file/app.git", call=call).init_bare()


def test_a_directory_that_is_no_repository_is_not_taken_for_absence(
    tmp_path: Path, call: Call
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("years")
    repository = GitRepository("work", call=call)
    for attempt in (repository.read, repository.init_bare):
        with pytest.raises(ProviderError, match="not a git repository"):
            attempt()
    assert (tmp_path / "work" / "thesis.txt").read_text() == "years"


def test_a_repository_around_an_absent_path_is_not_mistaken_for_it(
    tmp_path: Path, call: Call
) -> None:
    git("init", "-q", tmp_path)
    assert GitRepository("inside", call=call).list_branches() is None


def test_a_checked_out_branch_is_not_pulled_from_under_its_owner(
    tmp_path: Path, call: Call
) -> None:
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


def test_a_hook_that_refuses_is_an_error_with_its_words(tmp_path: Path, call: Call) -> None:
    repository = GitRepository("app.git", call=call)
    repository.init_bare()
    pre_receive(tmp_path / "app.git", "echo we are closed >&2\nexit 1\n")
    with pytest.raises(ProviderError, match="we are closed"):
        repository.commit({"a": b""}, "first")


def test_git_settings_of_an_outer_hook_do_not_mislead(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    repository = GitRepository("app.git", call=call)
    repository.init_bare()
    repository.commit({"a": b"1"}, "first")
    assert repository.read() == {"a": b"1"}


def test_a_server_that_cannot_leave_out_contents_will_do(call: Call, server: GitServer) -> None:
    GitRepository(str(server.root / "app.git"), call=call).init_bare()
    repository = GitRepository(server.with_password("app.git"), call=call)
    repository.commit({"a": b"1", "b": b"1"}, "first")
    repository.commit({"b": b"2"}, "second")
    assert repository.read(["b"]) == {"b": b"2"}
    assert repository.read_default_branch() == "main"


def test_instead_of_works(tmp_path: Path, call: Call, server: GitServer) -> None:
    GitRepository(str(server.root / "me" / "app.git"), call=call).init_bare()
    (tmp_path / "home" / ".gitconfig").write_text(
        f'[url "{server.with_password("")}"]\ninsteadOf = "forge:"\n'
    )
    repository = GitRepository("forge:me/app.git", call=call)
    repository.commit({"a": b"1"}, "first")
    assert repository.read() == {"a": b"1"}


def test_a_token_opens_a_private_repository_and_is_shown_nowhere(
    call: Call, server: GitServer
) -> None:
    GitRepository(str(server.root / "app.git"), call=call).init_bare()
    server.private = True
    repository = GitRepository(f"{server.url}/app.git", call=call, token="s3cret-token")
    repository.commit({"a": b"1"}, "first")
    assert repository.read() == {"a": b"1"}
    with pytest.raises(AuthError) as caught:
        GitRepository(f"{server.url}/app.git", call=call, token="wrong-token").read()
    assert "wrong-token" not in str(caught.value) + caught.value.hint


def test_denied_is_an_error_with_a_next_step(call: Call, server: GitServer) -> None:
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


def test_unreachable_is_an_error_that_may_pass_never_absence(call: Call) -> None:
    with pytest.raises(ProviderError) as caught:
        GitRepository("http://127.0.0.1:1/me/app.git", call=call).read()
    assert caught.value.retryable
    assert not isinstance(caught.value, NotFoundError)


def test_a_host_that_answers_not_found_says_absent(call: Call, server: GitServer) -> None:
    repository = GitRepository(f"{server.url}/none.git", call=call)
    assert repository.list_branches() is None
    assert repository.read() is None
    with pytest.raises(NotFoundError, match="cannot create repositories"):
        repository.init_bare()


def test_a_lost_answer_to_a_push_is_looked_up(call: Call, server: GitServer) -> None:
    GitRepository(str(server.root / "app.git"), call=call).init_bare()
    repository = GitRepository(server.with_password("app.git"), call=call)
    server.cut_pushes = 1
    sha = repository.commit({"a": b"1"}, "first")
    assert repository.list_branches() == {"main": sha}


def test_time_and_cancellation_end_git_and_its_children(tmp_path: Path, call: Call) -> None:
    repository = GitRepository("app.git", call=call)
    repository.init_bare()
    pre_receive(tmp_path / "app.git", "sleep 60\n")
    begin = time.monotonic()
    slow = replace(call, deadline=begin + 0.5)
    with pytest.raises(OutcomeUnknownError, match="may or may not"):
        GitRepository("app.git", call=slow).commit({"a": b""}, "first")
    assert time.monotonic() - begin < 5
    stopped = replace(call, cancelled=lambda: True)
    # What ends by itself within the poll is let finish.
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
def test_one_identity_for_every_spelling(url: str, identity: str) -> None:
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


def test_a_malformed_author_is_refused(call: Call) -> None:
    repository = GitRepository("app.git", call=call)
    repository.init_bare()
    with pytest.raises(ProviderError, match='invalid author "Ann"') as caught:
        repository.commit({"a": b""}, "x", author="Ann")
    assert "Name <mail@example.com>" in caught.value.hint


def test_a_missing_git_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ProviderError, match="git is not installed"):
        GitRepository("http://127.0.0.1:1/x", call=call).list_branches()
