"""The standard streams of a command: open, buffered, and with errors that name the stream."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

OUTPUT, ERROR = "standard output", "standard error"


class _Output(io.FileIO):
    """A standard stream whose errors have its name as their file name.

    A full disk or closed pipe under the output is thereby distinct from an error of the work
    itself.
    """

    def write(self, data: Any) -> int:
        """See `io.FileIO.write`."""
        try:
            return super().write(data)
        except OSError as error:
            raise OSError(
                error.errno, error.strerror, OUTPUT if self.fileno() == 1 else ERROR
            ) from None


def open_streams() -> None:
    """Open the three standard streams, even if the caller has closed them.

    What is written to a closed stream is discarded, and no file that is opened later gets its
    number. Output is always buffered, also with PYTHONUNBUFFERED: without a buffer, Python silently
    drops what a full disk does not take.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The system assigns the lowest free number, which is the number of the closed stream.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as we run
    sys.stdout = _wrap_output(1, sys.stdout, at_once=os.isatty(1))
    # Messages appear at once. Results may wait for a full buffer unless a terminal shows them.
    sys.stderr = _wrap_output(2, sys.stderr, at_once=True)


def _wrap_output(number: int, found: TextIO | None, *, at_once: bool) -> io.TextIOWrapper:
    encoding, errors = (found.encoding, found.errors) if found else ("utf-8", "backslashreplace")
    raw = io.BufferedWriter(_Output(number, "w", closefd=False))
    return io.TextIOWrapper(raw, encoding, errors, line_buffering=at_once)


def is_output_error(error: Exception) -> bool:
    """Return whether an error is about a standard stream, not about the work."""
    return isinstance(error, OSError) and error.filename in (OUTPUT, ERROR)
