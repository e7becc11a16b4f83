"""The standard streams as a command finds them: open, buffered, and with errors that name them."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

OUTPUT, ERROR = "standard output", "standard error"


class _Output(io.FileIO):
    """A standard stream whose errors name it.

    A full disk under the output, and a reader that left, are thereby told apart from those that the
    work meets.
    """

    def write(self, data: Any) -> int:
        """As its class does."""
        try:
            return super().write(data)
        except OSError as error:
            raise OSError(
                error.errno, error.strerror, OUTPUT if self.fileno() == 1 else ERROR
            ) from None


def open_streams() -> None:
    """Open the three standard streams, those that the caller has closed, too.

    What goes to a closed stream goes nowhere, and no file that is opened later gets its number.
    Output always has a buffer, also with PYTHONUNBUFFERED: without one, Python silently drops what
    a disk does not take.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is given, which is the closed stream's own.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as we run
    sys.stdout = _wrap_output(1, sys.stdout, at_once=os.isatty(1))
    # Errors appear at once; results may wait for a full buffer unless a person reads them.
    sys.stderr = _wrap_output(2, sys.stderr, at_once=True)


def _wrap_output(number: int, found: TextIO | None, *, at_once: bool) -> io.TextIOWrapper:
    encoding, errors = (found.encoding, found.errors) if found else ("utf-8", "backslashreplace")
    raw = io.BufferedWriter(_Output(number, "w", closefd=False))
    return io.TextIOWrapper(raw, encoding, errors, line_buffering=at_once)


def is_output_error(error: Exception) -> bool:
    """Tell whether an error is about the output, and not about the work."""
    return isinstance(error, OSError) and error.filename in (OUTPUT, ERROR)
