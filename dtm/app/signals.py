"""Ctrl-C, SIGTERM and the hang-up of a terminal: once means finish what runs, twice means stop now."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

HANG_UP = getattr(signal, "SIGHUP", None)


def leave_by_the_door() -> None:
    """Let every request to end be a KeyboardInterrupt: what is locked is released on the way out."""

    def leave() -> None:
        raise KeyboardInterrupt

    _call(leave)


@contextmanager
def stopping(request: Callable[[], object]) -> Generator[None]:
    """While the body runs, each signal calls this instead; outside the main thread nobody sends any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = _call(request)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _call(answer: Callable[[], object]) -> dict[int, Any]:
    """At each request to end; returns what was called so far."""
    terminals = [output for output in (1, 2) if os.isatty(output)]

    def handle(number: int, _frame: FrameType | None) -> None:
        if number == HANG_UP:
            _fall_silent(terminals)
        answer()

    return {number: signal.signal(number, handle) for number in _heeded()}


def _heeded() -> list[int]:
    """Not those that whoever started dtm told it to ignore: `nohup`, a script's job in the background."""
    known = [number for number in (signal.SIGINT, signal.SIGTERM, HANG_UP) if number is not None]
    return [number for number in known if signal.getsignal(number) != signal.SIG_IGN]


def _fall_silent(terminals: list[int]) -> None:
    """The terminal is gone: what is still told goes nowhere, instead of ending the work with an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in terminals:
        os.dup2(nowhere, output)
    os.close(nowhere)
