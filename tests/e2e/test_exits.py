"""The end of a run: one summary, and success is reported only if everything was done."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Runner, Write, accept_signals
from tests.e2e.test_commands import wait_for

FAILING = """
tools:
- {name: command, instanceID: a, options: {create: "true"}}
- name: command
  instanceID: b
  dependsOn: [command.a]
  options: {create: "echo no such account >&2; exit 3"}
- {name: command, instanceID: c, dependsOn: [command.b], options: {create: "true"}}
"""
SLOW = """
tools:
- name: command
  instanceID: a
  options: {create: "touch begun; sleep 1; touch a", read: "[ ! -e a ] || echo {}"}
"""
UNREAD = """
tools:
- name: command
  instanceID: a
  options: {create: "touch begun; [ -e a ] || sleep 20; touch a", delete: "rm a"}
"""
AFTER = """\
- name: command
  instanceID: b
  dependsOn: [command.a]
  options: {create: touch b, read: '[ ! -e b ] || echo {}'}
"""


def test_failed_run_ends_with_a_summary(dtm: Runner, config: Write) -> None:
    config(FAILING)
    done = dtm.run("apply", "-y")
    assert done.returncode == 1
    *_, end = done.stderr.partition("!! [ERROR]  Apply failed => ")
    first, *rest = end.splitlines()
    assert first.startswith("1 created, 1 failed, 1 skipped in ")
    assert rest == [
        "  Failed:",
        "    command/b create: create ended with exit code 3:",
        "      no such account",
        "  Skipped:",
        "    command/c create, because command/b failed",
        "  → remove the cause, then run the same command again: it continues with what is left",
    ]
    assert "SUCCESS" not in end
    assert "All plugins applied" not in done.stderr and "Apply finished" not in done.stderr


def test_failed_run_ends_with_a_json_summary(dtm: Runner, config: Write) -> None:
    config(FAILING)
    done = dtm.run("apply", "-y", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    (summary,) = [
        line for line in lines if line["type"] == "change_summary" and line["operation"] == "apply"
    ]
    assert done.returncode == 1
    assert summary["message"].startswith("Apply failed => 1 created, 1 failed, 1 skipped")
    assert (summary["failed"], summary["skipped"], summary["cancelled"]) == (
        ["command/b"],
        ["command/c"],
        [],
    )
    assert [line["error"] for line in lines if line["type"] == "apply_errored"] == [
        "create ended with exit code 3:\nno such account"
    ]
    assert not [
        line for line in lines if line["type"] == "diagnostic" and line["severity"] == "error"
    ]


def test_failed_output_fails_the_run(dtm: Runner, config: Write) -> None:
    config(
        "tools:\n- {name: command, instanceID: a, options: {create: 'true'}}\n"
        "outputs: {x: '${{ command.a.outputs.y }}'}"
    )
    printed = dtm("apply", "-y", code=1)
    assert printed.count("[ERROR]  output x: ") == 1
    assert "Apply failed => 1 created, 1 output could not be evaluated in" in printed
    assert "successfully" not in printed


def test_ctrl_c_before_the_first_change_stops_at_once(dtm: Runner, config: Write) -> None:
    config(
        "tools:\n- name: command\n  instanceID: a\n"
        "  options: {create: 'true', read: 'touch begun; sleep 20; touch ended'}"
    )
    run = dtm.start("apply", "-y")
    while not (dtm.folder / "begun").exists():
        assert run.poll() is None
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    assert run.wait(10) == 130
    assert (
        dtm.background_output()
        .splitlines()[-1]
        .endswith("⚠ [WARN]  Interrupted, nothing was changed.")
    )
    dtm("lock")


def assert_orderly_end(dtm: Runner) -> None:
    assert dtm("lock") == "The state is not locked.\n"
    assert (
        "UNFINISHED" in (listed := dtm("state", "list"))
        and "command/a  command.a\n" in listed
        and "command/b" not in listed
    )
    assert "Plan: 1 to create, 0 to update, 0 to replace, 0 to delete, 1 unchanged." in dtm("plan")


@pytest.mark.parametrize(
    "hang_ups", [0, 1, 2], ids=["terminal", "terminal and shell", "terminal and shell twice"]
)
def test_closed_terminal_acts_like_one_ctrl_c(hang_ups: int, dtm: Runner, config: Write) -> None:
    config(SLOW + AFTER)
    child, terminal = pty.fork()
    if child == 0:
        accept_signals()
        os.chdir(dtm.folder)
        os.execve(sys.executable, [sys.executable, "-m", "dtm", "apply", "-y"], dtm.env)
    wait_for(dtm.folder / "begun")
    os.close(terminal)
    for _ in range(hang_ups):
        time.sleep(0.1)
        os.kill(child, signal.SIGHUP)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
    assert_orderly_end(dtm)


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_closed_pipe_acts_like_one_ctrl_c(flags: list[str], dtm: Runner, config: Write) -> None:
    config(SLOW + AFTER)
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "dtm", "apply", "-y", *flags]
    with subprocess.Popen(
        command, cwd=dtm.folder, env=dtm.env, stdout=writing, stderr=writing
    ) as run:
        os.close(writing)
        wait_for(dtm.folder / "begun")
        os.close(reading)
        assert run.wait(30) == 130
    assert_orderly_end(dtm)


def test_closed_pipe_leaves_no_lock(dtm: Runner, config: Write) -> None:
    config(SLOW + AFTER)
    shell = f"{sys.executable} -m dtm apply -y --json 2>&1 | head -1"
    subprocess.run(
        ["sh", "-c", shell], cwd=dtm.folder, env=dtm.env, check=True, capture_output=True
    )
    assert dtm("lock") == "The state is not locked.\n"
    assert list(dtm.folder.glob(".*.lock*")) == []


def test_ignored_ctrl_c_stays_ignored(dtm: Runner, config: Write) -> None:
    config(SLOW)
    job = f"trap '' INT; {sys.executable} -m dtm apply -y >output 2>&1 & echo $! >pid; wait $!"
    with subprocess.Popen(["sh", "-c", job], cwd=dtm.folder, env=dtm.env) as shell:
        wait_for(dtm.folder / "begun")
        os.kill(int((dtm.folder / "pid").read_text()), signal.SIGINT)
        shell.wait(30)
    assert "Stopping" not in (dtm.folder / "output").read_text("utf-8")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_apply_works_with_closed_streams(closed: str, dtm: Runner, config: Write) -> None:
    config(SLOW)
    shell = f"{sys.executable} -m dtm apply -y {closed}"
    done = subprocess.run(
        ["sh", "-c", shell],
        cwd=dtm.folder,
        env=dtm.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "No changes" in dtm("plan")


BUFFERS = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
TOO_SMALL = "ulimit -f 1; trap '' XFSZ; exec"  # a disk of half a kilobyte


@BUFFERS
@pytest.mark.parametrize(
    "command", ["apply -y", "apply -y --json", "plan", "plan --json", "--help", "nosuch --json"]
)
@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="this system has no device that is always full"
)
def test_unwritable_output_is_an_error_before_any_change(
    command: str, unbuffered: str, dtm: Runner, config: Write
) -> None:
    config(SLOW)
    env = {**dtm.env, "PYTHONUNBUFFERED": unbuffered}
    for where, printed in (
        (">/dev/full", "dtm: cannot write to standard output: No space left on device"),
        (">/dev/full 2>&1", ""),
    ):
        shell = f"{sys.executable} -m dtm {command} {where}"
        done = subprocess.run(
            ["sh", "-c", shell],
            cwd=dtm.folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (
            done.returncode == 1
            and printed in done.stderr
            and "bug" not in done.stderr
            and "Traceback" not in done.stderr
        )
    assert not (dtm.folder / "begun").exists()
    assert dtm("lock") == "The state is not locked.\n"


@BUFFERS
def test_truncated_state_pull_is_an_error(unbuffered: str, dtm: Runner, config: Write) -> None:
    config(SLOW)
    dtm("apply", "-y")
    env = {**dtm.env, "PYTHONUNBUFFERED": unbuffered}
    shell = f"{TOO_SMALL} {sys.executable} -m dtm state pull > copy"
    done = subprocess.run(
        ["sh", "-c", shell], cwd=dtm.folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "File too large" in done.stderr
    assert (dtm.folder / "copy").stat().st_size < len(dtm("state", "pull"))


@pytest.mark.parametrize(
    "command", [["plan", "--lock"], ["drift", "--lock"], ["apply", "-y"]], ids=" ".join
)
def test_killed_holder_is_not_waited_for(command: list[str], dtm: Runner, config: Write) -> None:
    """Try twice to get the lock of a killed run on the same machine.

    The kernel frees the lock. Without a record of the dead holder, only the first run would know
    that it need not wait for the lease.
    """
    config(UNREAD)
    killed = dtm.start("apply", "-y")
    wait_for(dtm.folder / "begun")
    killed.kill()
    killed.wait()
    (dtm.folder / "a").touch()
    before = {
        path: path.read_bytes() for path in dtm.folder.rglob("devstream.state*") if path.is_file()
    }
    for _ in range(2):
        assert "see whether it is still running" not in dtm(
            *command, code=1 if command[0] == "apply" else 0
        )
    assert before == {
        path: path.read_bytes() for path in dtm.folder.rglob("devstream.state*") if path.is_file()
    }
    assert "see whether it is still running" not in dtm(
        "apply", "-y", "--resolve", "command.a=retry"
    )
    assert list(dtm.folder.glob(".*.lock*")) == []
