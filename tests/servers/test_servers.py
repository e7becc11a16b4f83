"""Servers end with the test run. An absent server is reported, and fails a run that requires it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.__main__ import all_excused, start_servers
from tests.servers.install import MissingError
from tests.servers.processes import Program, StartError, free_ports, run, started
from tests.servers.real import Real, Terraform

OWNER = """
import sys, time
from pathlib import Path
from tests.servers.processes import Program
program = Program(Path(sys.argv[1]), "sleep", "60")
print(program.pid, flush=True)
time.sleep(60)
"""


def ps(*options: str) -> str:
    return subprocess.run(["ps", *options], capture_output=True, text=True, check=False).stdout


def gone(pid: int) -> bool:
    """Return whether a process has ended, or is a zombie."""
    return ps("-o", "stat=", "-p", str(pid)).strip()[:1] in ("", "Z")


def children(pid: int) -> list[int]:
    pairs = (line.split() for line in ps("-A", "-o", "pid=,ppid=").splitlines())
    return [int(child) for child, parent in pairs if int(parent) == pid]


def eventually(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def test_failing_block_ends_its_program_and_children(tmp_path: Path) -> None:
    def work() -> Iterator[Program]:
        with started(
            tmp_path / "x.out", sys.executable, "-c", "import os; os.system('sleep 60')"
        ) as program:
            yield program
            raise KeyboardInterrupt

    working = work()
    program = next(working)
    # The process that waits for the end of the test run, and the shell.
    assert eventually(lambda: len(children(program.pid)) == 2)
    family = [program.pid, *children(program.pid)]
    with pytest.raises(KeyboardInterrupt):
        next(working)
    assert all(eventually(lambda pid=pid: gone(pid)) for pid in family)  # type: ignore[misc] # the default has no annotation


def test_program_ends_with_its_killed_owner(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path / "x.out")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert not gone(pid)
        os.kill(owner.pid, signal.SIGKILL)
    assert eventually(lambda: gone(pid))


def test_program_that_ends_early_shows_its_last_output(tmp_path: Path) -> None:
    with (
        started(tmp_path / "speaker.out", "sh", "-c", "echo no such option >&2; exit 3") as program,
        pytest.raises(StartError, match=r"speaker ended at once with status 3: .*no such option"),
    ):
        program.until(lambda: False)


def test_program_that_never_answers_is_an_error(tmp_path: Path) -> None:
    with (
        started(tmp_path / "mute.out", "sleep", "60") as program,
        pytest.raises(StartError, match=r"does not answer after 0\.1 s"),
    ):
        program.until(lambda: False, patience=0.1)


def test_failing_command_is_explained_and_logged(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"failed with status 1, .*: oh no"):
        run(["sh", "-c", "echo oh no >&2; exit 1"], tmp_path / "log")
    assert "oh no" in (tmp_path / "log").read_text()


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(20))) == 20


@contextmanager
def here(folder: Path) -> Iterator[Terraform]:
    folder.mkdir()
    (folder / "open").touch()
    try:
        yield Terraform("terraform 0", "/nowhere")
    finally:
        (folder / "open").unlink()


@contextmanager
def absent(_folder: Path) -> Iterator[object]:
    raise MissingError("it is\nnot on the PATH")
    yield


@contextmanager
def wrong(_folder: Path) -> Iterator[object]:
    raise ZeroDivisionError
    yield


def test_absent_server_is_reported_and_others_run(tmp_path: Path) -> None:
    with start_servers(tmp_path, {"terraform": here, "rgw": absent}) as real:
        assert (
            real.missing == {"rgw": "it is not on the PATH"}
            and real.why_not("rgw") == "it is not on the PATH"
        )
        assert real.terraform is not None and real.rgw is None
        assert (tmp_path / "terraform" / "open").exists()
    assert not (tmp_path / "terraform" / "open").exists()


def test_programming_error_is_not_an_absent_server(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        start_servers(tmp_path, {"terraform": here, "rgw": wrong}),
    ):
        pass
    assert not (tmp_path / "terraform" / "open").exists()


@pytest.mark.parametrize(
    ("excuses", "fine"),
    [
        ("", False),
        ("rgw: no apt here", False),
        ("rgw: no apt here; terraform: none", True),
        ("rgw; terraform", True),
    ],
)
def test_absent_server_must_be_excused_by_name(
    excuses: str, fine: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert all_excused(Real(missing={"rgw": "gone", "terraform": "gone"}), excuses) is fine
    assert ("DTM_EXCUSE=" in capsys.readouterr().err) is not fine
