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

from providers._process.guard import GuardedProcess, end_process_group

POLL_INTERVAL = 0.1
"""Seconds between two looks at `stop`."""
DRAIN_TIME = 0.5
"""Seconds for output still on its way when the program has ended.

Not until the pipe ends: a daemon that the program started may hold it for ever.
"""

OutputHandler: TypeAlias = Callable[[bytes], object]
PipeHandler: TypeAlias = Callable[[int], bool]
"""Moves bytes through the pipe of that descriptor; True if there may be more."""


class Program(msgspec.Struct, frozen=True):
    """A program to run: its arguments, directory, whole environment and standard input."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    stdin: bytes = b""


class LineSplitter(msgspec.Struct):
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


def run(
    program: Program, *, out: OutputHandler, err: OutputHandler, stop: Callable[[], bool]
) -> int | None:
    """Run a program to its end; its output goes to `out` and `err` in pieces.

    Returns the exit code, negative for a signal; None if `stop` said so first, and the process
    group was ended. The program dies with dtm, as `Tether` says. Raises OSError if the program
    cannot be started.

        run(Program(["ls"], Path(), os.environ), out=print, err=print, stop=call.cancelled)
    """
    with (
        GuardedProcess() as guarded,
        guarded.start(program.argv, env=program.env, cwd=program.cwd) as process,
    ):
        assert process.stdin and process.stdout and process.stderr
        with selectors.DefaultSelector() as pipes:
            # A program that never reads must not block dtm.
            os.set_blocking(process.stdin.fileno(), False)
            pipes.register(process.stdin, selectors.EVENT_WRITE, _make_writer(program.stdin))
            pipes.register(process.stdout, selectors.EVENT_READ, _make_reader(out))
            pipes.register(process.stderr, selectors.EVENT_READ, _make_reader(err))
            try:
                return _wait_for_exit(process, pipes, stop, guarded)
            # At a Ctrl-C too: no program may outlive its call.
            except BaseException:
                end_process_group(process)
                raise


def _wait_for_exit(
    process: subprocess.Popen[bytes],
    pipes: selectors.BaseSelector,
    stop: Callable[[], bool],
    guarded: GuardedProcess,
) -> int | None:
    while (code := process.poll()) is None:
        if stop():
            end_process_group(process)
            return None
        # A program may close its streams and go on: then only its end is waited for.
        if pipes.get_map():
            _transfer(pipes, POLL_INTERVAL)
        else:
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_INTERVAL)
    guarded.release()  # a daemon that it left behind is there on purpose
    until = time.monotonic() + DRAIN_TIME
    while pipes.get_map() and (left := until - time.monotonic()) > 0:
        _transfer(pipes, left)
    return code


def _transfer(pipes: selectors.BaseSelector, timeout: float) -> None:
    """Pass on the bytes that come, or are taken, within that time; close a pipe at its end."""
    for key, _ in pipes.select(timeout):
        if not key.data(key.fd):
            stream = pipes.unregister(key.fileobj).fileobj
            assert isinstance(stream, IOBase)
            stream.close()


def _make_reader(sink: OutputHandler) -> PipeHandler:
    def read(pipe: int) -> bool:
        data = os.read(pipe, 1 << 16)
        if data:
            sink(data)
        return bool(data)

    return read


def _make_writer(data: bytes) -> PipeHandler:
    left = memoryview(data)

    def write(pipe: int) -> bool:
        nonlocal left
        try:
            left = left[os.write(pipe, left) :]
        except BrokenPipeError:  # a program need not read its input
            return False
        return bool(left)

    return write
