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
END_SIGNALS = tuple(
    number for number in (signal.SIGINT, signal.SIGTERM, HANG_UP) if number is not None
)
OUTPUT_DESCRIPTORS = (1, 2)


def _raise_interrupt() -> None:
    raise KeyboardInterrupt


class _StopRequests:
    """The function that a request to end calls, and a note that there was one."""

    def __init__(self) -> None:
        self.handler: Callable[[], object] = _raise_interrupt
        self.received = False


_stop_requests = _StopRequests()


def install_signal_handlers() -> None:
    """Make every request to end a KeyboardInterrupt: a lock is released on the way out."""
    _stop_requests.received = False
    for number in END_SIGNALS:
        if (
            signal.getsignal(number) != signal.SIG_IGN
        ):  # whoever started dtm may mean it to go on: nohup, a script's job
            signal.signal(number, _handle)


@contextmanager
def handling_stop_requests(request: Callable[[], object]) -> Generator[None]:
    """Let each signal call `request` instead while the body runs.

    Outside the main thread no signal arrives.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _stop_requests.handler = request
    try:
        yield
    finally:
        _stop_requests.handler = _raise_interrupt


def on_reader_gone() -> bool:
    """End a run, once, because the reader of its output has gone.

    Running operations are finished, and further output goes nowhere.

    Returns whether that is so; elsewhere there is nothing to finish.
    """
    if _stop_requests.handler is _raise_interrupt:
        return False
    # A regular file has no reader that can go away.
    _redirect_outputs(lambda mode: not stat.S_ISREG(mode))
    _request_once()
    return True


def silence_output() -> None:
    """Send nowhere what is still in buffers, and all further output."""
    _redirect_outputs(lambda _mode: True)


def ignore_signals() -> None:
    """The process is as good as gone: a request to end it now would only disturb its last steps."""
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _handle(number: int, _frame: FrameType | None) -> None:
    if (
        number == HANG_UP
    ):  # it may come twice, from a shell and from the kernel, and behind a SIGTERM
        # Only terminals are gone; a file or pipe still takes the rest of the output.
        _redirect_outputs(stat.S_ISCHR)
        _request_once()
    else:
        _stop_requests.received = True
        _stop_requests.handler()


def _request_once() -> None:
    if not _stop_requests.received:
        _stop_requests.received = True
        _stop_requests.handler()


def _redirect_outputs(is_gone: Callable[[int], bool]) -> None:
    """Send further output nowhere: it must not end the work with an error."""
    null = os.open(os.devnull, os.O_WRONLY)
    for output in OUTPUT_DESCRIPTORS:
        if is_gone(os.fstat(output).st_mode):
            os.dup2(null, output)
    os.close(null)
