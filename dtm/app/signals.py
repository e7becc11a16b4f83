"""Ctrl-C, SIGTERM, a terminal that goes away: once means finish what runs, twice means stop now."""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

HANG_UP = getattr(signal, "SIGHUP", None)
ENDING = tuple(number for number in (signal.SIGINT, signal.SIGTERM, HANG_UP) if number is not None)
OUTPUTS = (1, 2)


def _leave() -> None:
    raise KeyboardInterrupt


class _Requests:
    """The function that a request to end calls, and a note that there was one."""

    def __init__(self) -> None:
        self.answer: Callable[[], object] = _leave
        self.made = False


_requests = _Requests()


def leave_by_the_door() -> None:
    """Make every request to end a KeyboardInterrupt: a lock is released on the way out."""
    _requests.made = False
    for number in ENDING:
        if (
            signal.getsignal(number) != signal.SIG_IGN
        ):  # whoever started dtm may mean it to go on: nohup, a script's job
            signal.signal(number, _handle)


@contextmanager
def stopping(request: Callable[[], object]) -> Generator[None]:
    """Let each signal call `request` instead while the body runs.

    Outside the main thread no signal arrives.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _requests.answer = request
    try:
        yield
    finally:
        _requests.answer = _leave


def unheard() -> bool:
    """End a run, once, because the reader of its output has gone.

    Running operations are finished, and further output goes nowhere.

    Returns whether that is so; elsewhere there is nothing to finish.
    """
    if _requests.answer is _leave:
        return False
    # A regular file has no reader that can go away.
    _fall_silent(lambda mode: not stat.S_ISREG(mode))
    _ask_once()
    return True


def mute() -> None:
    """Send nowhere what is still in buffers, and all further output."""
    _fall_silent(lambda _mode: True)


def deaf() -> None:
    """The process is as good as gone: a request to end it now would only disturb its last steps."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def _handle(number: int, _frame: FrameType | None) -> None:
    if (
        number == HANG_UP
    ):  # it may come twice, from a shell and from the kernel, and behind a SIGTERM
        # Only terminals are gone; a file or pipe still takes the rest of the output.
        _fall_silent(stat.S_ISCHR)
        _ask_once()
    else:
        _requests.made = True
        _requests.answer()


def _ask_once() -> None:
    if not _requests.made:
        _requests.made = True
        _requests.answer()


def _fall_silent(gone: Callable[[int], bool]) -> None:
    """Send further output nowhere: it must not end the work with an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in OUTPUTS:
        if gone(os.fstat(output).st_mode):
            os.dup2(nowhere, output)
    os.close(nowhere)
