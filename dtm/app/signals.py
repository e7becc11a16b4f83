"""Ctrl-C and SIGTERM during an apply: once means finish what runs, twice means stop now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from engine.execution import Stop


@contextmanager
def stoppable() -> Generator[Stop]:
    """While the body runs, each signal is one request to stop; outside the main thread nobody sends any."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(_number: int, _frame: FrameType | None) -> None:
        stop.request()

    previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
