"""The guard ends the programs that dtm started when dtm is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from providers._process import guard
from providers._process.guard import GATE_SCRIPT, SHELL, Guard, GuardedProcess
from providers._process.program import Program, run

ROOT = Path(__file__).parents[3]
PRELUDE = """
import os, time
from pathlib import Path
from engine.address import Address
from engine.ports import Call
from providers._git.command import Git
from providers.command import CommandOptions, CommandProvider
def create(script):
    call = Call(Address("command", "a"), Path("."))
    CommandProvider().create(CommandOptions(create=script), call)
"""
WORK = "exec 9> alive; echo ready >&9; sleep 20; echo made >> made"
DAEMON = (
    "(exec 9> alive; echo ready >&9; until [ -e go ]; do sleep 0.05; done; echo made >> made)"
    " > /dev/null 2>&1 &"
)
VICTIMS = {
    "itself": f"create({WORK!r})",
    "its child": "create('sh work && true')",
    "after a daemon": "create('sleep 20 > /dev/null 2>&1 &'); create('sh work && true')",
    "git": 'Git(Call(Address("git", "a"), Path(".")))("push")',
}


@pytest.mark.parametrize("end", [os.kill, os.killpg])
@pytest.mark.parametrize("victim", VICTIMS.values(), ids=VICTIMS)
def test_guard_ends_program_and_children_when_dtm_is_killed(
    victim: str, end: Callable[[int, int], None], tmp_path: Path
) -> None:
    with _start_victim(victim, tmp_path) as (process, alive):
        end(process.pid, signal.SIGKILL)
        _wait_until(lambda: _read_pipe(alive) == b"")
    assert not (tmp_path / "made").exists()


def test_daemon_of_ended_command_survives_dtm(tmp_path: Path) -> None:
    with _start_victim(f"create({DAEMON!r}); Path('ended').touch(); time.sleep(20)", tmp_path) as (
        process,
        _,
    ):
        _wait_until((tmp_path / "ended").exists)
        process.kill()
        process.wait()
        time.sleep(0.3)
        (tmp_path / "go").touch()
        _wait_until((tmp_path / "made").exists)


FORK = "create('true')\nif bool(os.fork()) is {parent}: {work}\nelse: {wait}"


@pytest.mark.parametrize(
    ("parent", "wait"), [(False, "time.sleep(20)"), (True, "create('true'); time.sleep(20)")]
)
def test_forked_process_starts_its_own_guard(parent: bool, wait: str, tmp_path: Path) -> None:
    """The other process continues. It must not keep the pipe of the killed process open."""
    work = (
        "Path('pid').write_text(str(os.getpid())); "
        + ("time.sleep(1); " if parent else "")
        + VICTIMS["its child"]
    )
    script = FORK.format(parent=parent, work=work, wait=wait)
    with _start_victim(script, tmp_path) as (_, alive):
        os.kill(int((tmp_path / "pid").read_text("utf-8")), signal.SIGKILL)
        _wait_until(lambda: _read_pipe(alive) == b"")
    assert not (tmp_path / "made").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_guard_ignores_signals_and_inherits_no_files() -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    guard = Guard()
    assert guard.ensure_running() is not None
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)
    shell = guard._shell
    assert shell is not None
    assert os.getsid(shell.pid) == shell.pid
    ended = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    status = Path(f"/proc/{shell.pid}/status")
    mask = sum(1 << number - 1 for number in ended)
    _wait_until(
        lambda: int(status.read_text("utf-8").partition("SigIgn:")[2].split()[0], 16) & mask == mask
    )
    for number in ended:
        os.kill(shell.pid, number)
    guard._stop_shell(os.getpid())
    assert shell.returncode == 0


def test_killed_guard_is_replaced() -> None:
    guard = Guard()
    assert guard.ensure_running() is not None
    first = guard._shell
    assert first is not None
    first.kill()
    first.wait()
    assert guard.ensure_running() is not None
    assert guard._shell is not first
    guard._stop_shell(os.getpid())


def test_program_never_starts_if_dtm_dies_before_the_gate_opens(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        [SHELL, "-c", GATE_SCRIPT, SHELL, "touch", "made"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        start_new_session=True,
    ) as gate:
        assert gate.stdin is not None
        assert gate.poll() is None
        gate.stdin.close()
        assert gate.wait() != 0
    assert not (tmp_path / "made").exists()


def test_program_runs_unguarded_without_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "SHELL", str(tmp_path / "sh"))
    monkeypatch.setattr(GuardedProcess, "_guard", Guard())
    assert _run_program(tmp_path) == 0
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("words", [["$HOME", "a  b"], ["*", "'", '"', "\\n"], ["-e", "--", ""]])
def test_gate_passes_arguments_and_input_unchanged(words: list[str], tmp_path: Path) -> None:
    output = bytearray()
    argv = [
        sys.executable,
        "-c",
        "import sys; print(sys.argv[1:]); print(sys.stdin.read(), end='')",
        *words,
    ]
    job = Program(argv, tmp_path, os.environ, stdin=b"one\ntwo\n" * 50_000)
    assert run(job, out=output.extend, err=len, stop=lambda: False) == 0
    assert output.decode() == f"{words}\n" + "one\ntwo\n" * 50_000


def test_program_that_ignores_its_input_does_not_block(tmp_path: Path) -> None:
    assert _run_program(tmp_path, stdin=b"x" * 1_000_000) == 0


@pytest.mark.parametrize("name", ["nowhere", "./nowhere", "sub/nowhere"])
def test_missing_program_raises_before_anything_starts(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        _run_program(tmp_path, name)


@pytest.mark.parametrize("content", ["", "touch made\n", "a line\n"])
def test_text_file_without_shebang_is_not_run_as_a_script(content: str, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text(content, "utf-8")
    tool.chmod(0o755)
    with pytest.raises(OSError, match="Exec format error"):
        _run_program(tmp_path, "./tool")
    assert not (tmp_path / "made").exists()


def test_missing_working_directory_is_named_first(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        _run_program(tmp_path / "gone", "./tool")


def test_relative_path_entry_starts_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub" / "bin").mkdir(parents=True)
    tool = tmp_path / "sub" / "bin" / "tool"
    tool.write_text("#!/bin/sh\ntouch made\n", "utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"bin{os.pathsep}{os.environ['PATH']}")
    assert _run_program(tmp_path / "sub", "tool") == 0
    assert (tmp_path / "sub" / "made").exists()


@pytest.mark.parametrize(
    "more",
    [
        {"go": "1.22"},
        {"a.b": "x"},
        {"OPTIND": "abc"},
        {"PPID": "7"},
        {"IFS": ":"},
        {"DTM_STATE": "a b\n"},
    ],
    ids=str,
)
def test_environment_reaches_the_program_unchanged(more: dict[str, str], tmp_path: Path) -> None:
    output = bytearray()
    argv = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **more}
    assert run(Program(argv, tmp_path, env), out=output.extend, err=len, stop=lambda: False) == 0
    found = json.loads(output)
    assert {
        name: value
        for name, value in found.items()
        if name not in ("PWD", "SHLVL", "_", "LC_CTYPE")
    } == env


def test_relative_program_must_exist_and_be_executable(
    tmp_path: Path,
) -> None:
    script = tmp_path / "make"
    script.write_text("#!/bin/sh\ntouch made\n", "utf-8")
    with pytest.raises(PermissionError):
        _run_program(tmp_path, "./make")
    script.chmod(0o755)
    assert _run_program(tmp_path, "./make") == 0
    assert (tmp_path / "made").exists()


def _run_program(directory: Path, name: str = "touch", stdin: bytes = b"") -> int | None:
    job = Program([name, "made"], directory, os.environ, stdin)
    return run(job, out=len, err=len, stop=lambda: False)


@contextmanager
def _start_victim(victim: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start the victim in its own process group.

    Yields the victim and the reading end of the pipe that its program keeps open.
    """
    fake = folder / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nsh work && true\n", "utf-8")
    fake.chmod(0o755)
    (folder / "work").write_text(WORK, "utf-8")
    os.mkfifo(folder / "alive")
    alive = os.open(folder / "alive", os.O_RDONLY | os.O_NONBLOCK)
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{fake.parent}{os.pathsep}{os.environ['PATH']}",
    }
    try:
        with subprocess.Popen(
            [sys.executable, "-c", PRELUDE + victim], cwd=folder, env=env, start_new_session=True
        ) as process:
            try:
                _wait_until(lambda: _read_pipe(alive) == b"ready\n")
                yield process, alive
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
    finally:
        os.close(alive)


def _read_pipe(alive: int) -> bytes | None:
    """Read from the pipe: b"" if the program has ended, None if it runs and wrote nothing."""
    try:
        return os.read(alive, 100)
    except BlockingIOError:
        return None


def _wait_until(condition: Callable[[], object]) -> None:
    """Wait up to ten seconds, which is less than the twenty seconds that the program sleeps."""
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
