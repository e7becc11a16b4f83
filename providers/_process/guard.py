"""The guard, which ends the programs that dtm started if dtm itself is killed.

Without it, a program would continue after a `kill -9` of dtm, and the next run would start a second
one that works on the same resource.
"""

from __future__ import annotations

import atexit
import errno
import itertools
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

SHELL: Final = "/bin/sh"
TERMINATE_GRACE: Final = 2.0
"""Seconds between SIGTERM and SIGKILL for a process group."""
CHILD_GRACE: Final = 0.5
"""Seconds that the children of a program may run after the program itself has ended.

The time is short, because in a container whose init process reaps zombies late, an empty group
looks as if it were still running.
"""
GUARD_SCRIPT: Final = """
trap '' HUP INT QUIT TERM
groups=' '
while read -r sign number group; do
    case $sign$groups in
        +*) groups="$groups$number:$group " ;;
        -*" $number:"*)
            after=${groups#*" $number:"}
            groups="${groups%%" $number:"*} ${after#* }" ;;
        .*) break ;;
    esac
done
asked=
for group in $groups; do
    case $group in
        *:ask-*) asked="$asked ${group#*:ask-}"; kill -TERM "-${group#*:ask-}" ;;
        *) kill -9 "-${group#*:}" ;;
    esac
done
for turn in 1 2 3 4 5 6 7 8 9 10; do
    left=
    for group in $asked; do kill -0 "-$group" && left="$left $group"; done
    asked=$left
    [ "$asked" ] || break
    sleep 0.1
done
for group in $asked; do kill -9 "-$group"; done
"""
"""A shell script that keeps a list of running process groups and ends them at the end of its input.

The input ends when dtm is gone, since no other process can write to the pipe. It consists of lines:
`+ NUMBER GROUP` adds a group, `- NUMBER` removes it, `.` says that dtm ended normally. A group is
killed with SIGKILL. A group that is written as `ask-GROUP` gets SIGTERM first, and SIGKILL after at
most one second. The groups wait for this second together, not one after the other.
"""


class Guard:
    """A shell that survives dtm and then ends the process groups that still run.

    It is started together with the first program. It belongs to one process: a fork of dtm starts
    its own guard. It runs in its own session, so a signal to the process group of dtm does not
    reach it. It keeps no file of dtm open.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner_pid, self._pipe = 0, (-1, -1)
        self._shell: subprocess.Popen[bytes] | None = None

    def ensure_running(self) -> int | None:
        """Start the guard if needed; return the descriptor to write to, None without a shell."""
        with self._lock:
            # In a forked child, the pipe and the shell are those of the parent.
            if self._owner_pid != os.getpid():
                self._open_pipe()
            # A killed guard is replaced. The new one does not know the groups of the old one.
            if self._shell is None or self._shell.poll() is not None:
                self._start_shell()
            return self._pipe[1] if self._shell else None

    def _open_pipe(self) -> None:
        # If a forked child kept the pipe open, the guard of the parent would never see its end.
        if self._owner_pid:
            for end in self._pipe:
                os.close(end)
        if self._shell:
            # The shell is a child of the parent process: waiting for it here would fail.
            self._shell.returncode = 0
        self._owner_pid, self._shell = os.getpid(), None
        # os.pipe makes both ends close-on-exec, so no program inherits them. The reading end stays
        # open in dtm, so that a write does not fail after the guard was killed.
        self._pipe = os.pipe()
        # A forked child inherits this registration, but not the guard. _stop_shell checks the pid.
        atexit.register(self._stop_shell, self._owner_pid)

    def _start_shell(self) -> None:
        self._shell = None
        with suppress(OSError):
            self._shell = subprocess.Popen(
                [SHELL, "-c", GUARD_SCRIPT],
                stdin=self._pipe[0],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # The guard outlives dtm: it must not hold a secret in its environment, nor keep a
                # directory from being unmounted.
                cwd="/",
                env={},
                start_new_session=True,
            )

    def _stop_shell(self, owner: int) -> None:
        if owner == os.getpid() and self._shell:
            os.write(self._pipe[1], b".\n")
            # Without the wait a zombie would remain in a container whose init process reaps none.
            self._shell.wait()


GATE_SCRIPT: Final = 'IFS= read -r DTM_GATE && exec "$@"'
"""A shell script that reads one line and then becomes the program.

If dtm is killed before it writes the line, the program never starts.
"""
SHELL_SAFE_NAME: Final = "[A-Za-z_][A-Za-z0-9_]*"
"""Pattern of environment variables that a shell passes on unchanged."""
SHELL_OWN_NAMES: Final = frozenset(
    ("BASHOPTS", "EUID", "IFS", "OPTIND", "PPID", "SHELLOPTS", "UID")
)
"""Environment variables that a shell sets itself instead of passing them on."""


class GuardedProcess:
    """A program that the guard ends if dtm is killed, until `release` or the end of `with`.

    The guard ends the process group of the program. It does not reach a child that created its own
    session or process group, or that runs as another user. By default it sends SIGKILL at once,
    because the next run of dtm may soon read the resources. With `terminate_first` it sends SIGTERM
    first. Use that for a program that leaves lock files behind when killed and that does no harm
    while another run works.

        with GuardedProcess() as guarded, guarded.start(["ls"], env=os.environ) as process:
            process.wait()
    """

    _guard: Final = Guard()
    # Lines to the guard use this counter, because the system may reuse the number of a group.
    _numbers: Final = itertools.count()

    def __init__(self, *, terminate_first: bool = False) -> None:
        self._pipe, self._number = self._guard.ensure_running(), next(self._numbers)
        self._prefix = "ask-" if terminate_first else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def start(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program in a new session, with pipes as its standard streams.

        The gate holds the program back until the guard knows it. Raises OSError if the file does
        not exist or is not executable.
        """
        # The gate is skipped if a shell would change the environment: a program that gets wrong
        # variables is worse than one that the guard learns of a moment late.
        # `preexec_fn` could hold the program back without a shell. But it needs a fork of the whole
        # process for each program, and it can deadlock if other threads run.
        is_gated = self._pipe is not None and all(
            re.fullmatch(SHELL_SAFE_NAME, name) and name not in SHELL_OWN_NAMES for name in env
        )
        if is_gated:
            program = _find_program(argv[0], env, cwd or Path())
            argv = [SHELL, "-c", GATE_SCRIPT, SHELL, program, *argv[1:]]
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            # Its own process group can be ended as a whole. And Ctrl-C at the terminal reaches only
            # dtm, which decides what happens to the program.
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if self._pipe is not None:
            # Before the gate opens, so that the guard knows the program whenever dtm is killed.
            os.write(self._pipe, f"+ {self._number} {self._prefix}{process.pid}\n".encode())
        if is_gated:
            with suppress(BrokenPipeError):  # the program was killed already
                os.write(_stdin_descriptor(process), b"\n")
        return process

    def release(self) -> None:
        """Remove the program from the guard's list, because it has ended. Safe to repeat.

        A daemon that the program started may continue. The entry must go, because the system may
        soon give the number of the process group to another program.
        """
        if self._pipe is not None:
            os.write(self._pipe, f"- {self._number}\n".encode())
            self._pipe = None


def end_process_group(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the group of a guarded process, wait, then send SIGKILL to the rest.

    A git that gets SIGTERM removes its lock files. The children of the program may run for up to
    CHILD_GRACE seconds after the program itself.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(TERMINATE_GRACE)
            until = time.monotonic() + CHILD_GRACE
            while time.monotonic() < until:
                # Raises ProcessLookupError as soon as the group is empty, which ends the function.
                os.killpg(process.pid, 0)
                time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _find_program(program: str, env: Mapping[str, str], cwd: Path) -> str:
    """Return the file that exec would start. Raises OSError as exec would.

    The gate would report a missing program only as exit code 127 of a shell.
    """
    if not cwd.is_dir():
        return program  # Popen will fail and name the missing directory
    here = cwd.absolute()
    search = os.pathsep.join(
        str(here / part) for part in env.get("PATH", os.defpath).split(os.pathsep)
    )
    found = shutil.which(here / program if os.sep in program else program, path=search)
    if found is None:
        # shutil.which also skips a file that is not executable.
        number = errno.EACCES if os.sep in program and (here / program).exists() else errno.ENOENT
        raise OSError(number, os.strerror(number), program)
    if _is_plain_text(Path(found)):
        raise OSError(errno.ENOEXEC, os.strerror(errno.ENOEXEC), program)
    return found


def _is_plain_text(file: Path) -> bool:
    """Return whether a file is empty or text without `#!`: a shell would run it as a script."""
    try:
        with file.open("rb") as opened:
            start = opened.read(256)
    except OSError:
        return False  # a file may be executable without being readable
    return not start.startswith(b"#!") and b"\0" not in start


def _stdin_descriptor(process: subprocess.Popen[bytes]) -> int:
    assert process.stdin is not None
    return process.stdin.fileno()
