"""Ties a program to dtm: what dtm started does not go on working when dtm itself is killed."""

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
GRACE: Final = 2.0
"""Seconds between asking a process group to end and killing it."""
TIDYING: Final = 0.5
"""Seconds that what a program has started may take longer than itself. Not more: where the first process of a container
reaps late, even an empty group looks as if somebody were in it."""
GUARD: Final = """
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
"""Keeps the process groups at work, `+ NUMBER GROUP` and `- NUMBER` a line, until nobody can write any more, or a dot.

`ask-GROUP` is one that is asked to end; all of those have one second for that.
"""


class Guard:
    """A shell that lives on when dtm is gone, however it went, and then kills the process groups still at work.

    It starts with the first program and belongs to one process: a fork of that process gets a guard of its own. It has a
    session of its own, so what is sent to dtm's process group does not reach it, and it holds nothing of dtm's open.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner, self._pipe = 0, (-1, -1)
        self._shell: subprocess.Popen[bytes] | None = None

    def pipe(self) -> int | None:
        """Where to write to a guard at work; None where there is no shell to be one."""
        with self._lock:
            if self._owner != os.getpid():
                self._own()
            if (
                self._shell is None or self._shell.poll() is not None
            ):  # somebody killed it: what it knew is lost
                self._start()
            return self._pipe[1] if self._shell else None

    def _own(self) -> None:
        if self._owner:  # forked: the pipe must end with the process that made it
            for end in self._pipe:
                os.close(end)
        if self._shell:
            self._shell.returncode = 0  # not a child of this process
        self._owner, self._shell = os.getpid(), None
        self._pipe = (
            os.pipe()
        )  # not inheritable. The reading end stays open here, too: no write ever fails
        atexit.register(self._close, self._owner)

    def _start(self) -> None:
        self._shell = None
        with suppress(OSError):
            self._shell = subprocess.Popen(
                [SHELL, "-c", GUARD],
                stdin=self._pipe[0],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,
            )

    def _close(self, owner: int) -> None:
        if owner == os.getpid() and self._shell:
            os.write(self._pipe[1], b".\n")
            self._shell.wait()  # in a container whose first process reaps nothing, each would stay for ever


GATE: Final = 'IFS= read -r DTM_GATE && exec "$@"'
"""Becomes the program once it hears a line; where dtm is gone before that, it ends and nothing ever began."""
PASSES: Final = "[A-Za-z_][A-Za-z0-9_]*"
STOPPED: Final = frozenset(("BASHOPTS", "EUID", "IFS", "OPTIND", "PPID", "SHELLOPTS", "UID"))
"""What a shell does not hand on as it is: names that no variable of its can have, and its own variables."""


class Tether:
    """Ties one program, and what it starts, to dtm until `release`, or the end of the `with` block.

    The guard reaches the program's process group: not what has made a session or a process group of its own, or runs as
    another user. It kills the group at once, for a next run may soon look at what there is. `asked`: it asks the group to
    end first, for a program that leaves locks behind if killed, and that does no harm while another run is at work.
    """

    _guard: Final = Guard()
    _numbers: Final = itertools.count()

    def __init__(self, *, asked: bool = False) -> None:
        self._pipe, self._number = self._guard.pipe(), next(self._numbers)
        self._asked = "ask-" if asked else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def start(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start the program in a session of its own, with a pipe to each of its streams. Raises OSError if it is none.

        It begins when the guard knows of it, but for an environment that does not pass the gate: then the guard knows a
        moment later. (A function to call between fork and exec would do without a shell, but copies a whole process for
        each program, and may stop for ever where other threads run.)
        """
        gated = self._pipe is not None and all(
            re.fullmatch(PASSES, name) and name not in STOPPED for name in env
        )
        process = subprocess.Popen(
            [SHELL, "-c", GATE, SHELL, _found(argv[0], env, cwd or Path()), *argv[1:]]
            if gated
            else argv,
            cwd=cwd,
            env=env,
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if self._pipe is not None:
            os.write(self._pipe, f"+ {self._number} {self._asked}{process.pid}\n".encode())
        if gated:
            with suppress(BrokenPipeError):  # it was killed already
                os.write(_input(process), b"\n")
        return process

    def release(self) -> None:
        """The program has ended: what it left behind may stay, and its number may soon be another's. Twice is harmless."""
        if self._pipe is not None:
            os.write(self._pipe, f"- {self._number}\n".encode())
            self._pipe = None


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the group of a program that `Tether` started to end, then kill what is left of it.

    Asked, git takes away its locks. What the program started has a moment more than the program itself.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            until = time.monotonic() + TIDYING
            while time.monotonic() < until:
                os.killpg(process.pid, 0)
                time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _found(program: str, env: Mapping[str, str], cwd: Path) -> str:
    """The file that exec would start there. Raises OSError, as exec would: behind the gate nobody would hear of it."""
    if not cwd.is_dir():
        return program  # that is what will be told
    here = cwd.absolute()
    search = os.pathsep.join(
        str(here / part) for part in env.get("PATH", os.defpath).split(os.pathsep)
    )
    found = shutil.which(here / program if os.sep in program else program, path=search)
    if found is None:
        number = errno.EACCES if os.sep in program and (here / program).exists() else errno.ENOENT
        raise OSError(number, os.strerror(number), program)
    if _is_text(Path(found)):
        raise OSError(errno.ENOEXEC, os.strerror(errno.ENOEXEC), program)
    return found


def _is_text(file: Path) -> bool:
    """Whether this is no program, but what a shell would take for lines of its own: a text, an empty file."""
    try:
        with file.open("rb") as opened:
            start = opened.read(256)
    except OSError:
        return False  # it may be run, but not be read
    return not start.startswith(b"#!") and b"\0" not in start


def _input(process: subprocess.Popen[bytes]) -> int:
    assert process.stdin is not None
    return process.stdin.fileno()
