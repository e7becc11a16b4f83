"""One program run to its end: output passed on as it comes, its process group ended in time."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from io import IOBase
from pathlib import Path
from typing import TypeAlias

import msgspec

from providers._process.guard import Tether, end

TICK = 0.1
"""Seconds between two looks at `stop`."""
LINGER = 0.5
"""Seconds for output still on its way when the program has ended.

Not until the pipe ends: a daemon that the program started may hold it for ever.
"""

Sink: TypeAlias = Callable[[bytes], object]
Move: TypeAlias = Callable[[int], bool]
"""Moves bytes through the pipe of that descriptor; True if there may be more."""


class Program(msgspec.Struct, frozen=True):
    """A program to run: its arguments, directory, whole environment and standard input."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    stdin: bytes = b""


class Lines(msgspec.Struct):
    """Cuts a stream of bytes into lines of text."""

    emit: Callable[[str], object]
    rest: bytes = b""

    def feed(self, data: bytes) -> None:
        """Emit each line that is complete now."""
        *whole, self.rest = (self.rest + data).split(b"\n")
        for line in whole:
            self.emit(line.decode(errors="replace").rstrip("\r"))

    def close(self) -> None:
        """Emit the unfinished last line."""
        if self.rest:
            self.feed(b"\n")


def run(program: Program, *, out: Sink, err: Sink, stop: Callable[[], bool]) -> int | None:
    """Run a program to its end; its output goes to `out` and `err` in pieces.

    Returns the exit code, negative for a signal; None if `stop` said so first, and the process
    group was ended. The program dies with dtm, as `Tether` says. Raises OSError if the program
    cannot be started.

        run(Program(["ls"], Path(), os.environ), out=print, err=print, stop=call.cancelled)
    """
    with (
        Tether() as tether,
        tether.start(program.argv, env=program.env, cwd=program.cwd) as process,
    ):
        assert process.stdin and process.stdout and process.stderr
        with selectors.DefaultSelector() as pipes:
            # A program that never reads must not block dtm.
            os.set_blocking(process.stdin.fileno(), False)
            pipes.register(process.stdin, selectors.EVENT_WRITE, _giving(program.stdin))
            pipes.register(process.stdout, selectors.EVENT_READ, _taking(out))
            pipes.register(process.stderr, selectors.EVENT_READ, _taking(err))
            try:
                return _follow(process, pipes, stop, tether)
            # At a Ctrl-C too: no program may outlive its call.
            except BaseException:
                end(process)
                raise


def _follow(
    process: subprocess.Popen[bytes],
    pipes: selectors.BaseSelector,
    stop: Callable[[], bool],
    tether: Tether,
) -> int | None:
    while (code := process.poll()) is None:
        if stop():
            end(process)
            return None
        # A program may close its streams and go on: then only its end is waited for.
        if pipes.get_map():
            _pump(pipes, TICK)
        else:
            with suppress(subprocess.TimeoutExpired):
                process.wait(TICK)
    tether.release()  # a daemon that it left behind is there on purpose
    until = time.monotonic() + LINGER
    while pipes.get_map() and (left := until - time.monotonic()) > 0:
        _pump(pipes, left)
    return code


def _pump(pipes: selectors.BaseSelector, timeout: float) -> None:
    """Pass on the bytes that come, or are taken, within that time; close a pipe at its end."""
    for key, _ in pipes.select(timeout):
        if not key.data(key.fd):
            stream = pipes.unregister(key.fileobj).fileobj
            assert isinstance(stream, IOBase)
            stream.close()


def _taking(sink: Sink) -> Move:
    def take(pipe: int) -> bool:
        data = os.read(pipe, 1 << 16)
        if data:
            sink(data)
        return bool(data)

    return take


def _giving(data: bytes) -> Move:
    left = memoryview(data)

    def give(pipe: int) -> bool:
        nonlocal left
        try:
            left = left[os.write(pipe, left) :]
        except BrokenPipeError:  # a program need not read its input
            return False
        return bool(left)

    return give
