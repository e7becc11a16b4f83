"""Running of one program: its output is passed on at once, and it can be stopped at any time."""

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
"""Seconds between two calls of `stop`."""
DRAIN_TIME = 0.5
"""Seconds to read the remaining output after the program has ended.

Reading until the end of the pipe could block forever: a daemon that the program started may keep
the pipe open.
"""

OutputHandler: TypeAlias = Callable[[bytes], object]
"""Receives output in pieces, as the program writes it."""
PipeHandler: TypeAlias = Callable[[int], bool]
"""Reads from or writes to the pipe with this descriptor; returns False at its end."""


class Program(msgspec.Struct, frozen=True):
    """A program to run: arguments, working directory, complete environment, standard input."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    stdin: bytes = b""


class LineSplitter(msgspec.Struct):
    """A splitter of a byte stream into lines of text."""

    emit: Callable[[str], object]
    rest: bytes = b""

    def feed(self, data: bytes) -> None:
        """Add bytes; emit each line that is complete."""
        *whole, self.rest = (self.rest + data).split(b"\n")
        for line in whole:
            self.emit(line.decode(errors="replace").rstrip("\r"))

    def close(self) -> None:
        """Emit the last line, which has no line break."""
        if self.rest:
            self.feed(b"\n")


def run(
    program: Program, *, out: OutputHandler, err: OutputHandler, stop: Callable[[], bool]
) -> int | None:
    """Run a program until it ends or `stop` returns True; pass its output to `out` and `err`.

    Returns the exit code, negative for a signal. Returns None if the program was stopped: then its
    whole process group has ended. If dtm is killed, the guard ends the program. Raises OSError if
    the program cannot be started.

        run(Program(["ls"], Path(), os.environ), out=print, err=print, stop=call.cancelled)
    """
    with (
        GuardedProcess() as guarded,
        guarded.start(program.argv, env=program.env, cwd=program.cwd) as process,
    ):
        assert process.stdin and process.stdout and process.stderr
        with selectors.DefaultSelector() as pipes:
            # Otherwise a program that never reads its input would block dtm in a write.
            os.set_blocking(process.stdin.fileno(), False)
            pipes.register(process.stdin, selectors.EVENT_WRITE, _make_writer(program.stdin))
            pipes.register(process.stdout, selectors.EVENT_READ, _make_reader(out))
            pipes.register(process.stderr, selectors.EVENT_READ, _make_reader(err))
            try:
                return _wait_for_exit(process, pipes, stop, guarded)
            # BaseException, since Ctrl-C must end the program too: no program outlives its call.
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
        # A program may close all its streams and continue. select would return at once then, so
        # the loop would use a whole CPU.
        if pipes.get_map():
            _transfer(pipes, POLL_INTERVAL)
        else:
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_INTERVAL)
    # From here on the guard must not kill the group: a daemon in it was started on purpose.
    guarded.release()
    until = time.monotonic() + DRAIN_TIME
    while pipes.get_map() and (left := until - time.monotonic()) > 0:
        _transfer(pipes, left)
    return code


def _transfer(pipes: selectors.BaseSelector, timeout: float) -> None:
    """Move the bytes that are ready within `timeout` seconds; close each pipe at its end."""
    for key, _ in pipes.select(timeout):
        if not key.data(key.fd):
            stream = pipes.unregister(key.fileobj).fileobj
            assert isinstance(stream, IOBase)
            stream.close()


def _make_reader(handler: OutputHandler) -> PipeHandler:
    def read(pipe: int) -> bool:
        data = os.read(pipe, 1 << 16)
        if data:
            handler(data)
        return bool(data)

    return read


def _make_writer(data: bytes) -> PipeHandler:
    left = memoryview(data)

    def write(pipe: int) -> bool:
        nonlocal left
        try:
            left = left[os.write(pipe, left) :]
        except BrokenPipeError:  # a program may end without reading its input
            return False
        return bool(left)

    return write
