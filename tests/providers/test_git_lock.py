"""A git that dies while it changes a branch leaves the branch's lock: nobody is to be called for that."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.address import Address
from engine.errors import OutcomeUnknownError, ProviderError
from engine.ports import Call
from providers import _gitlock
from providers._git import Repository
from tests.providers.repos import log

STALE = 0.4


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_gitlock, "STALE", STALE)
    Repository("app.git", call=Call(Address("repo", "a"), base_dir=tmp_path)).init_bare()
    (tmp_path / "app.git" / "hooks").mkdir()
    return tmp_path / "app.git"


@pytest.fixture
def warned() -> list[str]:
    return []


@pytest.fixture
def repository(bare: Path, warned: list[str]) -> Repository:
    return Repository("app.git", call=Call(Address("repo", "a"), base_dir=bare.parent, warn=warned.append))


def holding(bare: Path, then: str) -> None:
    """Once only, have git do this while it holds the lock."""
    hook = bare / "hooks" / "reference-transaction"
    hook.write_text(f'#!/bin/sh\n[ "$1" = prepared ] || exit 0\nmv "$0" "$0.done"\n{then}\n')
    hook.chmod(0o755)


@pytest.mark.parametrize("branch", ["main", "team/next"])
def test_what_a_killed_git_left_is_taken_away(bare: Path, repository: Repository, warned: list[str], branch: str) -> None:
    lock = bare / "refs" / "heads" / f"{branch}.lock"
    holding(bare, 'kill -9 "$PPID"')
    with pytest.raises(OutcomeUnknownError):
        repository.on(branch).commit({"a": b"1"}, "first")
    assert lock.exists(), "the git that was killed left no lock: this shows nothing"
    repository.on(branch).commit({"a": b"2"}, "second")
    assert log(bare, branch)[0].startswith("second")
    assert not lock.exists()
    left = [lock, bare / "HEAD.lock"] if branch == "main" else [lock]
    assert warned == [f"removed {file}: a git that was killed had left it" for file in left]


def test_a_lock_that_is_alive_is_waited_for(bare: Path, repository: Repository, warned: list[str]) -> None:
    lock, done = bare / "refs" / "heads" / "main.lock", threading.Event()
    lock.touch()

    def others() -> None:
        """One git after the other: each makes a lock of its own."""
        for _ in range(12):
            (bare / "next").touch()
            (bare / "next").replace(lock)
            done.wait(STALE / 4)
        lock.unlink()

    thread = threading.Thread(target=others)
    thread.start()
    repository.commit({"a": b"1"}, "first")
    assert not thread.is_alive(), "the lock was taken from a living git"
    thread.join()
    assert not warned


def test_a_lock_that_cannot_be_removed_is_named(bare: Path, repository: Repository) -> None:
    (bare / "refs" / "heads" / "main.lock").mkdir()
    with pytest.raises(ProviderError, match=r"left .*/refs/heads/main\.lock: it cannot be removed: Is a directory"):
        repository.commit({"a": b"1"}, "first")


def test_a_push_that_is_cancelled_takes_its_lock_along(bare: Path, repository: Repository) -> None:
    holding(bare, f"touch {bare}/held; sleep 60")
    call = replace(repository.call, cancelled=(bare / "held").exists)
    with pytest.raises(OutcomeUnknownError, match="git push was cancelled"):
        Repository("app.git", call=call).commit({"a": b"1"}, "first")
    assert (bare / "held").exists()
    assert not (bare / "refs" / "heads" / "main.lock").exists()
    repository.commit({"a": b"2"}, "second")
