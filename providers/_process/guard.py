"""Ties between dtm and its programs: no program goes on working when dtm itself is killed."""

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
"""Seconds between asking a process group to end and killing it."""
CHILD_GRACE: Final = 0.5
"""Seconds that the children of a program may take longer than the program itself.

Not more: where the first process of a container reaps late, even an empty group looks alive.
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
"""Keeps a list of the process groups at work, and ends them when its input ends.

Lines are `+ NUMBER GROUP`, `- NUMBER`, and a dot for a dtm that ended well. The input ends when no
process can write to it any more. `ask-GROUP` is asked to end before it is killed; all groups of
this kind have one second together.
"""


class Guard:
    """A shell that outlives dtm, however it died, and kills the process groups still at work.

    It starts with the first program and belongs to one process: a fork of that process gets a guard
    of its own. It has a session of its own, so a signal to dtm's process group does not reach it,
    and it holds no file of dtm's open.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner_pid, self._pipe = 0, (-1, -1)
        self._shell: subprocess.Popen[bytes] | None = None

    def ensure_running(self) -> int | None:
        """Return the descriptor to write to a guard at work; None on a machine without a shell."""
        with self._lock:
            if self._owner_pid != os.getpid():
                self._open_pipe()
            # A guard that was killed is replaced; the groups that it knew are lost.
            if self._shell is None or self._shell.poll() is not None:
                self._start_shell()
            return self._pipe[1] if self._shell else None

    def _open_pipe(self) -> None:
        if self._owner_pid:  # forked: the pipe must end with the process that made it
            for end in self._pipe:
                os.close(end)
        if self._shell:
            self._shell.returncode = 0  # not a child of this process
        self._owner_pid, self._shell = os.getpid(), None
        # Not inheritable. The reading end stays open here too, so that no write ever fails.
        self._pipe = os.pipe()
        # Checked against the owner at exit: a fork inherits the registration, but not the guard.
        atexit.register(self._stop_shell, self._owner_pid)

    def _start_shell(self) -> None:
        self._shell = None
        with suppress(OSError):
            self._shell = subprocess.Popen(
                [SHELL, "-c", GUARD_SCRIPT],
                stdin=self._pipe[0],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Nothing of dtm's: no secret in the environment, no directory kept busy.
                cwd="/",
                env={},
                start_new_session=True,
            )

    def _stop_shell(self, owner: int) -> None:
        if owner == os.getpid() and self._shell:
            os.write(self._pipe[1], b".\n")
            self._shell.wait()  # or it would stay for ever where the first process reaps nothing


GATE_SCRIPT: Final = 'IFS= read -r DTM_GATE && exec "$@"'
"""Becomes the program once it reads a line; where dtm is gone before that, nothing ever begins."""
SHELL_SAFE_NAME: Final = "[A-Za-z_][A-Za-z0-9_]*"
"""Names of environment variables that a shell hands on."""
SHELL_OWN_NAMES: Final = frozenset(
    ("BASHOPTS", "EUID", "IFS", "OPTIND", "PPID", "SHELLOPTS", "UID")
)
"""Environment variables that a shell sets itself instead of handing them on."""


class GuardedProcess:
    """A tie of one program, and all that it starts, to dtm until `release` or the end of `with`.

    The guard reaches the program's process group: not a child that made a session or a process
    group of its own, or runs as another user. It kills the group at once, since another run may
    soon look at the resources. `asked`: it asks the group to end first, for a program that leaves
    locks behind if killed, and that does no harm while another run is at work.
    """

    _guard: Final = Guard()
    # A number of our own: the system may give a process group's number away again.
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
        """Start the program in a session of its own, with a pipe to each of its streams.

        It waits behind the gate until the guard knows of it. An environment that a shell would
        change does not pass the gate: then the guard learns of the program a moment after its
        start. Raises OSError if it is not a program.
        """
        # `preexec_fn` would do without a shell, but it copies the whole process for each program,
        # and may stop for ever where other threads run.
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
            # A group of its own: it can be ended as a whole, and a Ctrl-C at the terminal reaches
            # dtm only.
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if self._pipe is not None:
            # Before the gate opens: whenever dtm is killed, the guard knows of a program that runs.
            os.write(self._pipe, f"+ {self._number} {self._prefix}{process.pid}\n".encode())
        if is_gated:
            with suppress(BrokenPipeError):  # it was killed already
                os.write(_stdin_descriptor(process), b"\n")
        return process

    def release(self) -> None:
        """Tell the guard that the program has ended. Safe to repeat.

        A daemon that it left behind may stay; its process group's number may soon be reused.
        """
        if self._pipe is not None:
            os.write(self._pipe, f"- {self._number}\n".encode())
            self._pipe = None


def end_process_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the group of a program that `Tether` started to end, then kill the rest of it.

    A git that is asked removes its locks. The program's children get a moment more than the
    program itself.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(TERMINATE_GRACE)
            until = time.monotonic() + CHILD_GRACE
            while time.monotonic() < until:
                # Raises once the group is empty, which ends the wait.
                os.killpg(process.pid, 0)
                time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _find_program(program: str, env: Mapping[str, str], cwd: Path) -> str:
    """Find the file that exec would start there.

    Raises OSError as exec would: behind the gate, the shell would fail instead and hide it.
    """
    if not cwd.is_dir():
        return program  # starting it in that directory will fail, and says why
    here = cwd.absolute()
    search = os.pathsep.join(
        str(here / part) for part in env.get("PATH", os.defpath).split(os.pathsep)
    )
    found = shutil.which(here / program if os.sep in program else program, path=search)
    if found is None:
        number = errno.EACCES if os.sep in program and (here / program).exists() else errno.ENOENT
        raise OSError(number, os.strerror(number), program)
    if _is_plain_text(Path(found)):
        raise OSError(errno.ENOEXEC, os.strerror(errno.ENOEXEC), program)
    return found


def _is_plain_text(file: Path) -> bool:
    """Tell if this is a text or an empty file, which a shell would run as lines of its own."""
    try:
        with file.open("rb") as opened:
            start = opened.read(256)
    except OSError:
        return False  # a program may be executable without being readable
    return not start.startswith(b"#!") and b"\0" not in start


def _stdin_descriptor(process: subprocess.Popen[bytes]) -> int:
    assert process.stdin is not None
    return process.stdin.fileno()
