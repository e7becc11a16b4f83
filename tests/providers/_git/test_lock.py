"""Locks of a branch: a git that is ended removes its own, an error names a foreign one."""

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
from tests.providers._git.repos import git, log

ROOT = Path(__file__).parents[3]
VICTIM = """
from pathlib import Path
from engine.address import Address
from engine.ports import Call
from providers._git.repository import GitRepository
call = Call(Address("repo", "a"), base_dir=Path(BASE))
GitRepository("app.git", call=call).commit({"a": b"1"}, "first")
"""

STUBBORN = """
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


def holding(bare: Path) -> None:
    """Have the next push stop while it holds the locks."""
    hook = bare / "hooks" / "reference-transaction"
    hook.write_text(
        '#!/bin/sh\n[ "$1" = prepared ] || exit 0\n'
        f'mv "$0" "$0.done"\ntouch {bare}/held\nsleep 60\n'
    )
    hook.chmod(0o755)


def locks(bare: Path) -> set[str]:
    return {str(file.relative_to(bare)) for file in bare.rglob("*.lock")}


def until_free(bare: Path) -> None:
    deadline = time.monotonic() + 10
    while locks(bare) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not locks(bare)


def test_a_git_whose_dtm_is_killed_takes_its_locks_along(
    bare: Path, repository: GitRepository
) -> None:
    holding(bare)
    with subprocess.Popen(
        [sys.executable, "-c", VICTIM.replace("BASE", repr(str(bare.parent)))], cwd=ROOT
    ) as victim:
        while not (bare / "held").exists():
            assert victim.poll() is None
            time.sleep(0.01)
        assert locks(bare) == {"HEAD.lock", "refs/heads/main.lock"}
        victim.send_signal(signal.SIGKILL)
    until_free(bare)
    repository.commit({"a": b"2"}, "second")
    assert [message.partition("\n")[0] for message in log(bare)] == ["second"]


def test_several_that_do_not_end_when_asked_are_killed_after_one_second_in_all(
    tmp_path: Path,
) -> None:
    stubborn = tmp_path / "git"
    stubborn.write_text(
        "#!/bin/sh\ntrap '' TERM\necho $$ >> pids\nexec 9>> alive; sleep 60; sleep 60\n"
    )
    stubborn.chmod(0o755)
    os.mkfifo(tmp_path / "alive")
    reader = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    script = STUBBORN.replace("BASE", repr(str(tmp_path)))
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
    assert os.read(reader, 1) == b""  # nobody of them is left
    os.close(reader)
    assert time.monotonic() - killed < 4, "they were waited for one after the other"


def test_a_push_that_is_cancelled_takes_its_locks_along(
    bare: Path, repository: GitRepository
) -> None:
    holding(bare)
    call = replace(repository.call, cancelled=(bare / "held").exists)
    with pytest.raises(OutcomeUnknownError, match="git push was cancelled"):
        GitRepository("app.git", call=call).commit({"a": b"1"}, "first")
    assert (bare / "held").exists()
    until_free(bare)
    repository.commit({"a": b"2"}, "second")


def test_a_lock_that_stays_is_named_with_what_to_do(
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
    assert locks(bare) == {"refs/heads/main.lock"}


def test_a_commit_that_is_kept_from_being_written_ends_in_its_time(
    bare: Path, repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine may make a single push slower than a poll, which is another error.
    monkeypatch.setattr(command, "POLL_INTERVAL", 10)
    (bare / "refs" / "heads" / "main.lock").touch()
    call = replace(repository.call, deadline=time.monotonic() + 1)
    with pytest.raises(
        ProviderError,
        match=r"cannot push to branch main of .* before the timeout: .*main\.lock': File exists",
    ):
        GitRepository("app.git", call=call).commit({"a": b"1"}, "first")
    assert time.monotonic() < call.deadline + 5


def test_what_can_never_be_written_is_not_tried_again(
    repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        GitRepository, "_wait_before_retry", lambda *_: pytest.fail("it is tried again")
    )
    with pytest.raises(ProviderError, match=r"Unable to create .*: File name too long"):
        repository.with_branch("x" * 252).commit({"a": b"1"}, "first")


def test_a_push_leaves_no_tidying_up_to_the_other_end(
    bare: Path, repository: GitRepository
) -> None:
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
