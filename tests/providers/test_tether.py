"""Programs that providers start must not go on working when dtm is killed: the next run would do the same work again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from providers import _process, _tether

ROOT = Path(__file__).parents[2]
COMMAND = """
from pathlib import Path
from engine.address import Address
from engine.ports import Call
from providers.command import CommandOptions, CommandTool
script = "echo $$ > pid; sleep 1; echo made >> made"
CommandTool().create(CommandOptions(create=script), Call(Address("command", "a"), Path(".")))
"""
GIT = """
from pathlib import Path
from engine.address import Address
from engine.ports import Call
from providers._gitcmd import Git
Git(Call(Address("git", "a"), Path(".")))("push")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
@pytest.mark.parametrize("victim", [COMMAND, GIT], ids=["command", "git"])
def test_a_program_dies_with_the_process_that_started_it(victim: str, tmp_path: Path) -> None:
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho $$ > pid; sleep 1; echo made >> made\n", "utf-8")
    fake.chmod(0o755)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{fake.parent}{os.pathsep}{os.environ['PATH']}"}
    with subprocess.Popen([sys.executable, "-c", victim], cwd=tmp_path, env=env) as process:
        until = time.monotonic() + 20
        while not (pid := tmp_path / "pid").exists() or not pid.read_text("utf-8"):
            assert time.monotonic() < until
            time.sleep(0.02)
        process.kill()
    time.sleep(1.5)
    assert not (tmp_path / "made").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_program_whose_parent_is_gone_before_it_begins_never_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: real + 1)
    assert _run(tmp_path) == 128 + signal.SIGKILL
    assert not (tmp_path / "made").exists()


def test_where_the_kernel_offers_nothing_programs_run_untied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tether, "_prctl", lambda: None)
    assert _tether.tether() is None
    assert _run(tmp_path) == 0
    assert (tmp_path / "made").exists()


def _run(directory: Path) -> int | None:
    return _process.run(
        ["touch", "made"], cwd=directory, env=os.environ, stdin=b"", out=len, err=len, stop=lambda: False
    )  # fmt: skip
