"""Ties a program to dtm: what dtm started does not go on working when dtm itself is killed."""

from __future__ import annotations

import atexit
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Final, Self

PR_SET_PDEATHSIG: Final = 1
SHELL: Final = "/bin/sh"
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
for group in $groups; do kill -9 "-${group#*:}"; done
"""
"""Keeps the process groups at work, `+ NUMBER GROUP` and `- NUMBER` a line, until nobody can write any more, or a dot."""


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
            if self._shell is None or self._shell.poll() is not None:  # somebody killed it: what it knew is lost
                self._start()
            return self._pipe[1] if self._shell else None

    def _own(self) -> None:
        if self._owner:  # forked: the pipe must end with the process that made it
            for end in self._pipe:
                os.close(end)
        if self._shell:
            self._shell.returncode = 0  # not a child of this process
        self._owner, self._shell = os.getpid(), None
        self._pipe = os.pipe()  # not inheritable. The reading end stays open here, too: no write ever fails
        atexit.register(self._close, self._owner)

    def _start(self) -> None:
        self._shell = None
        with suppress(OSError):
            self._shell = subprocess.Popen(
                [SHELL, "-c", GUARD], stdin=self._pipe[0], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                cwd="/", env={}, start_new_session=True,
            )  # fmt: skip

    def _close(self, owner: int) -> None:
        if owner == os.getpid() and self._shell:
            os.write(self._pipe[1], b".\n")
            self._shell.wait()  # in a container whose first process reaps nothing, each would stay for ever


class Tether:
    """Ties one program, and what it starts, to dtm until `release`, or the end of the `with` block.

    The program must be started with `start_new_session=True` and `preexec_fn=tether.tie`, and the caller must stay in its
    thread until the program has ended. The guard reaches the program's process group. Before that, on Linux, the kernel
    kills the program itself as soon as the calling thread is gone. Neither reaches what has made a session or a process
    group of its own, or runs as another user.
    """

    _guard: Final = Guard()
    _numbers: Final = itertools.count()

    def __init__(self) -> None:
        self._parent, self._prctl = os.getpid(), _prctl()
        self._pipe, self._number = self._guard.pipe(), next(self._numbers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def tie(self) -> None:
        """Between fork and exec, in the process that becomes the program."""
        if self._prctl:
            self._prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != self._parent:  # it died before the kernel knew what to do then
                os._exit(128 + signal.SIGKILL)
        if self._pipe is not None:  # its end comes after the exec at the earliest: the guard always gets to know
            os.write(self._pipe, f"+ {self._number} {os.getpid()}\n".encode())

    def release(self) -> None:
        """The program has ended: what it left behind may stay, and its number may soon be another's. Twice is harmless."""
        if self._pipe is not None:
            os.write(self._pipe, f"- {self._number}\n".encode())
            self._pipe = None


@cache
def _prctl() -> Callable[..., int] | None:
    """The C function, looked up before the fork: between fork and exec, a lock held by another thread never opens."""
    if sys.platform != "linux":
        return None
    import ctypes

    found: Callable[..., int] | None = getattr(
        ctypes.PyDLL(None), "prctl", None
    )  # PyDLL: keeps the GIL, so nothing is waited for
    return found
