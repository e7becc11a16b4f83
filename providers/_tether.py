"""Ties a program to dtm: what dtm started does not go on working when dtm itself is killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import cache
from typing import Final

PR_SET_PDEATHSIG: Final = 1


def tether() -> Callable[[], None] | None:
    """What `subprocess.Popen` takes as `preexec_fn`: the kernel kills the program as soon as the calling thread is gone.

    The caller must stay in its thread until the program has ended. What the program itself started is not reached, nor a
    program that runs as another user, and on anything but Linux there is no such thing: None. There, a program outlives a
    dtm that is killed outright, and the next run may find it still at work.
    """
    prctl, parent = _prctl(), os.getpid()
    if prctl is None:
        return None

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel knew what to do then
            os._exit(128 + signal.SIGKILL)

    return tie


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
