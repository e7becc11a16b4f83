"""Lock files of a branch: a git that is ended removes its own, an error names any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.address import Address
from engine.errors import OutcomeUnknownError, ProviderError
from engine.ports import Call
from providers._git import command
from providers._git import repository as repositories
from providers._git.repository import GitRepository
from tests.providers._git.repos import git, list_messages

ROOT = Path(__file__).parents[3]
COMMIT_ONCE = """
from pathlib import Path
from engine.address import Address
from engine.ports import Call
from providers._git.repository import GitRepository
call = Call(Address("repo", "a"), base_dir=Path(BASE))
GitRepository("app.git", call=call).commit({"a": b"1"}, "first")
"""

RUN_FIVE_GITS = """
import threading
from pathlib import Path
from engine.address import Address
from engine.ports import Call
from providers._git.command import Git
git = Git(Call(Address("repo", "a"), base_dir=Path(BASE)))
for _ in range(5): threading.Thread(target=git, args=("fetch",)).start()
"""


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    repository = GitRepository("app.git", call=Call(Address("repo", "a"), base_dir=tmp_path))
    repository.init_bare()
    (tmp_path / "app.git" / "hooks").mkdir()
    return repository


@pytest.fixture
def bare(repository: GitRepository) -> Path:
    assert repository.local is not None
    return repository.local.path


def stop_next_push(bare: Path) -> None:
    """Install a hook that stops the next push while it holds its lock files."""
    hook = bare / "hooks" / "reference-transaction"
    hook.write_text(
        '#!/bin/sh\n[ "$1" = prepared ] || exit 0\n'
        f'mv "$0" "$0.done"\ntouch {bare}/held\nsleep 60\n'
    )
    hook.chmod(0o755)


def find_locks(bare: Path) -> set[str]:
    return {str(file.relative_to(bare)) for file in bare.rglob("*.lock")}


def wait_until_unlocked(bare: Path) -> None:
    deadline = time.monotonic() + 10
    while find_locks(bare) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not find_locks(bare)


def test_git_removes_its_locks_when_dtm_is_killed(bare: Path, repository: GitRepository) -> None:
    stop_next_push(bare)
    with subprocess.Popen(
        [sys.executable, "-c", COMMIT_ONCE.replace("BASE", repr(str(bare.parent)))], cwd=ROOT
    ) as victim:
        while not (bare / "held").exists():
            assert victim.poll() is None
            time.sleep(0.01)
        assert find_locks(bare) == {"HEAD.lock", "refs/heads/main.lock"}
        victim.send_signal(signal.SIGKILL)
    wait_until_unlocked(bare)
    repository.commit({"a": b"2"}, "second")
    assert [message.partition("\n")[0] for message in list_messages(bare)] == ["second"]


def test_stubborn_programs_are_killed_after_one_second_in_total(
    tmp_path: Path,
) -> None:
    stubborn = tmp_path / "git"
    stubborn.write_text(
        "#!/bin/sh\ntrap '' TERM\necho $$ >> pids\nexec 9>> alive; sleep 60; sleep 60\n"
    )
    stubborn.chmod(0o755)
    os.mkfifo(tmp_path / "alive")
    reader = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    script = RUN_FIVE_GITS.replace("BASE", repr(str(tmp_path)))
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=env) as victim:
        while (
            not (tmp_path / "pids").exists()
            or len((tmp_path / "pids").read_text("utf-8").split()) < 5
        ):
            assert victim.poll() is None
            time.sleep(0.01)
        victim.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # all writers have ended
    os.close(reader)
    assert time.monotonic() - killed < 4, "they were waited for one after the other"


def test_cancelled_push_removes_its_locks(bare: Path, repository: GitRepository) -> None:
    stop_next_push(bare)
    call = replace(repository.call, cancelled=(bare / "held").exists)
    with pytest.raises(OutcomeUnknownError, match="git push was cancelled"):
        GitRepository("app.git", call=call).commit({"a": b"1"}, "first")
    assert (bare / "held").exists()
    wait_until_unlocked(bare)
    repository.commit({"a": b"2"}, "second")


def test_leftover_lock_file_is_named_with_the_next_step(
    bare: Path, repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "MAX_TRIES", 3)
    (bare / "refs" / "heads" / "main.lock").touch()
    with pytest.raises(
        ProviderError,
        match=r"cannot push to branch main of .* in 3 attempts: .*/main\.lock': File exists",
    ) as found:
        repository.commit({"a": b"1"}, "first")
    assert not found.value.retryable
    assert found.value.hint == (
        "if no git process uses the repository, a killed one has left this lock file: "
        f"run rm {bare}/refs/heads/main.lock"
    )
    assert find_locks(bare) == {"refs/heads/main.lock"}


def test_commit_blocked_by_a_lock_ends_at_the_deadline(
    bare: Path, repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine one push may take longer than a poll. That would raise another error.
    monkeypatch.setattr(command, "POLL_INTERVAL", 10)
    (bare / "refs" / "heads" / "main.lock").touch()
    call = replace(repository.call, deadline=time.monotonic() + 1)
    with pytest.raises(
        ProviderError,
        match=r"cannot push to branch main of .* before the timeout: .*main\.lock': File exists",
    ):
        GitRepository("app.git", call=call).commit({"a": b"1"}, "first")
    assert time.monotonic() < call.deadline + 5


def test_impossible_branch_name_is_not_retried(
    repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        GitRepository, "_wait_before_retry", lambda *_: pytest.fail("it is tried again")
    )
    with pytest.raises(ProviderError, match=r"Unable to create .*: File name too long"):
        repository.with_branch("x" * 252).commit({"a": b"1"}, "first")


def test_push_starts_no_garbage_collection(bare: Path, repository: GitRepository) -> None:
    for setting in ("receive.unpackLimit=1", "gc.autoPackLimit=1", "gc.autoDetach=false"):
        git(bare, "config", *setting.split("="))
    hook = bare / "hooks" / "pre-auto-gc"
    hook.write_text(f"#!/bin/sh\ntouch {bare}/tidied\n")
    hook.chmod(0o755)
    for number in range(3):
        repository.commit({"a": str(number).encode()}, f"number {number}")
    assert len(list((bare / "objects" / "pack").glob("*.pack"))) == 3
    assert not (bare / "tidied").exists()
    git(bare, "gc", "--auto", "--quiet")
    assert (bare / "tidied").exists()
