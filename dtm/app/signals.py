"""Requests to stop: Ctrl-C, SIGTERM, and a terminal or reader that goes away.

The first request lets running operations finish. The second one stops the run at once.
"""

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
    """The function that handles a request to stop, and whether there was a request."""

    def __init__(self) -> None:
        self.handler: Callable[[], object] = _raise_interrupt
        self.received = False


_stop_requests = _StopRequests()


def install_signal_handlers() -> None:
    """Turn each stop signal into a KeyboardInterrupt, so that a lock is released on the way out."""
    _stop_requests.received = False
    for number in END_SIGNALS:
        # An ignored signal was ignored on purpose, by nohup or by a shell for a background job.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _handle)


@contextmanager
def handling_stop_requests(request: Callable[[], object]) -> Generator[None]:
    """Call `request` for each stop signal while the body runs.

    Outside the main thread this does nothing, because no signal arrives there.
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
    """Request a stop, once, because the reader of the output has gone.

    Running operations finish, and further output is discarded. Return False if no run handles
    requests: then there is nothing to finish.
    """
    if _stop_requests.handler is _raise_interrupt:
        return False
    # A regular file has no reader, so it still takes the rest of the output.
    _redirect_outputs(lambda mode: not stat.S_ISREG(mode))
    _request_once()
    return True


def silence_output() -> None:
    """Discard what is still in the output buffers, and all further output."""
    _redirect_outputs(lambda _mode: True)


def ignore_signals() -> None:
    """Ignore further stop signals while the process exits.

    A signal now would only interrupt the last steps and print a traceback.
    """
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _handle(number: int, _frame: FrameType | None) -> None:
    if number == HANG_UP:
        # Only terminals are gone. A file or pipe still takes the rest of the output.
        _redirect_outputs(stat.S_ISCHR)
        # A hang-up may come from the shell and again from the kernel, and may follow a SIGTERM.
        # Counting each as a request would turn "finish what runs" into "stop at once".
        _request_once()
    else:
        _stop_requests.received = True
        _stop_requests.handler()


def _request_once() -> None:
    if not _stop_requests.received:
        _stop_requests.received = True
        _stop_requests.handler()


def _redirect_outputs(is_gone: Callable[[int], bool]) -> None:
    """Discard further output to each descriptor whose mode satisfies `is_gone`.

    A write to a closed pipe or terminal would otherwise end the run with an error.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    for output in OUTPUT_DESCRIPTORS:
        if is_gone(os.fstat(output).st_mode):
            os.dup2(null, output)
    os.close(null)
